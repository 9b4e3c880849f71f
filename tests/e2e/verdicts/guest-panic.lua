-- A panic during a call, whose error the test does not catch.
local vm <close> = provium.create("small")
vm:boot({memory = "128M"})
vm:mount_vfs()
test("in a call", function() vm:exec("echo c >/proc/sysrq-trigger; sleep 100") end)
test("the next call", function() vm:exec("true") end)
