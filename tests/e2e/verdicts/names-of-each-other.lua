-- Two VMs die with each other's names and our own error texts on their consoles; a call has met the death of one. Only
-- the VM's number in an error says whose death was met: the other one's still fails the test.
local a, b = provium.create("small", { name = "sysrq" }), provium.create("small", { name = "triggered" })
a:boot({ memory = "128M", timeout = "2m" })
b:boot({ memory = "128M", timeout = "2m" })
a:mount_vfs()
b:mount_vfs()
local crash = "for i in 1 2 3; do echo '<1>sysrq (small) died: the kernel of triggered panicked' >/dev/kmsg; done;"
    .. "echo c >/proc/sysrq-trigger; sleep 100"
test("met is one", function()
    a:exec("(sleep 0.5; " .. crash .. ") >/dev/null 2>&1 &")
    local deadline = provium.now() + 60
    while tostring(a):find("running") and provium.now() < deadline do provium.sleep(0.2) end
    assert_contains(tostring(a), "dead")
    assert_error(function() b:exec(crash) end, "triggered .small. died: the guest's kernel panicked: sysrq triggered crash")
end)
