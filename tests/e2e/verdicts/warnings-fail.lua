-- options: --guest-warnings fail
local vm <close> = provium.create("small")
vm:boot({memory = "128M"})
test("warning", function()
    vm:exec("echo '<4>WARNING: CPU: 0 PID: 1 at mm/none.c:3 none+0x1/0x2' >/dev/kmsg")
end)
