-- A small scenario of a boot that fails. Those with systemd are on docs/testing-an-init-system.md (pages.lua).

test("a rescue shell is driven over the console while and after a boot that must fail", function()
    -- The agent's channel is missing, so the boot fails; the shell that is PID 1 answers on the console meanwhile.
    local vm = provium.create("never-ready", { name = "rescue" })
    local c = vm:console()
    local boot = provium.async(function()
        return assert_error(function() vm:boot({ append = "provium.init=/bin/sh", timeout = "20s" }) end)
    end)
    c:expect("# ", 60)
    c:write("echo pid $$ of $(cat /etc/hostname /proc/sys/kernel/hostname 2>/dev/null | head -n 1)\n")
    assert_eq("1", select(2, c:expect("pid (%d+) of", { pattern = true, timeout = 60 })))
    assert_contains(boot:wait(240), "rescue")
    assert_contains(c:log(), "pid 1 of")
    c:drain()
    assert_eq(true, c:eof())

    -- The same with an init that is not there: the reason is on the console, and a boot with another init works.
    local broken = provium.create("init-missing", { name = "broken" })
    local why = assert_error(function() broken:boot({ timeout = "120s" }) end)
    assert_contains(why, "/no/such/init")
    broken:boot({ append = "provium.init=/bin/sh", timeout = "120s" })
    local shell = broken:console()
    shell:drain("500ms")
    shell:write("echo $((6 * 7)) is the sum, $$ the pid\n")
    assert_eq("1", select(2, shell:expect("42 is the sum, (%d+) the pid", 60, { pattern = true })))
    assert_contains(broken:sh("cat /proc/1/cmdline"), "sh")
    assert_contains(shell:log(), "/no/such/init") -- of the first boot
    broken:kill()
end)
