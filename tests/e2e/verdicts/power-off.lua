local vm <close> = provium.create("small")
vm:boot({memory = "128M"})
test("by itself", function() vm:exec("poweroff -f; sleep 100") end)
