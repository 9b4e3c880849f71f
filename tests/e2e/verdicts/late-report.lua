-- A kernel report that comes when its test has ended and the next has not begun: it is no test's, and fails the file.
provium.reset_between_tests = true
local vm = provium.create("small")
vm:boot({ memory = "128M", timeout = "2m" })
vm:mount_vfs()
test("before it", function()
    vm:exec("(sleep 0.5; echo '<1>BUG: a late one, address: 0000000000000008' >/dev/kmsg) >/dev/null 2>&1 &")
end)
os.execute("sleep 3") -- meanwhile this process reads no console
test("after it", function() assert(vm:exec("true").ok) end)
test("and one more", function() assert(vm:exec("true").ok) end)
