-- A panic while no call is in progress.
local vm = provium.create("small")
vm:boot({memory = "128M"})
vm:mount_vfs()
test("behind its back", function()
    vm:exec("(sleep 0.2; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &")
    provium.sleep(3)
end)
