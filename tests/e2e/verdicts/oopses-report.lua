-- options: --guest-oopses report --guest-warnings ignore
local vm <close> = provium.create("small")
vm:boot({memory = "128M"})
test("told", function()
    vm:exec("echo '<1>kernel BUG at mm/none.c:2!' >/dev/kmsg")
    vm:exec("echo '<4>WARNING: CPU: 0 PID: 1 at mm/none.c:3 none+0x1/0x2' >/dev/kmsg")
    assert_eq(2, #vm:reports())
end)
