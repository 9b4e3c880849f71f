-- A VM on the fake QEMU is reset between tests; tests/fail-nth/kills.py kills or stops one of the processes meanwhile.
provium.reset_between_tests = true
local vm = provium.create("fake")
vm:boot({ memory = "64M" })
for i = 1, 3 do
    test("t" .. i, { timeout = 20 }, function()
        assert_eq("ok\n", vm:exec("x").stdout.value)
        provium.sleep(0.05) -- a standby VM is made meanwhile
    end)
end
