-- Run it with: provium test
--
-- A file makes its VMs; VMs that are left when it ends are killed. Each test() is reported by itself.

local vm = provium.create()
vm:boot({ memory = "512M" })

test("the kernel is Linux", function()
    assert_eq(vm:sh("uname -s"):trim(), "Linux")
end)

test("a file keeps its content", function()
    vm:write_file("/tmp/greeting", "hello\n")
    local r = vm:exec("cat /tmp/greeting")
    assert(r.ok, r.stderr)
    assert_eq(r.stdout, "hello\n")
end)

-- The fixture tests/fixtures/ready.lua is built once; from then on this resumes it in an instant.
test("a fixture is there at once", function()
    local ready = provium.fixture("ready")
    assert_eq(ready:read_file("/etc/motd"), "prepared\n")
end)
