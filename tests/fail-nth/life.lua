-- A VM on the fake QEMU is booted, saved and resumed; tests/fail-nth/sweep.py lets one call of the program fail meanwhile.
local vm = provium.create("fake")
vm:boot({ memory = "64M", files = { ["/x"] = { content = "x" }, ["/y"] = "fake.lua" } })

test("calls", { timeout = 20 }, function()
    assert_eq("ok\n", vm:exec("x").stdout.value)
    vm:write_file("/x", "content")
    assert_eq("content", vm:read_file("/x"))
end)

test("snapshot", { timeout = 30 }, function()
    local s = vm:snapshot()
    local c = vm:clone(s)
    assert_eq("ok\n", c:exec("x").stdout.value)
    vm:restore(s)
    assert_eq("ok\n", vm:exec("x").stdout.value)
    c:kill()
end)

test("fixture", { timeout = 30 }, function()
    for _ = 1, 2 do
        local f = provium.fixture("prepared")
        assert_eq("ok\n", f:exec("x").stdout.value)
        f:kill()
    end
end)

test("end", { timeout = 20 }, function() vm:shutdown() end)
