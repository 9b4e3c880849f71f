-- Creates a VM from the profile "minimal" of provium.toml, boots it, runs commands, shuts it down.

local vm = provium.create("minimal")
vm:boot({
    memory = "1G",
    cpus = 2,
})

test("kernel boots", function()
    local r = vm:exec("uname -sr")
    assert_eq(0, r.exit_code)
    assert(r.stdout:starts_with("Linux 6."), "not a Linux 6: " .. r.stdout)
end)

test("two CPUs came up", function()
    assert_eq("2", vm:exec("nproc").stdout:trim())
end)

test("files go in and out", function()
    vm:write_file("/tmp/greeting", "hello\n")
    assert_eq("hello\n", vm:read_file("/tmp/greeting"))
end)

test("later", function()
    todo("waiting on feature X")
end)

vm:shutdown()
