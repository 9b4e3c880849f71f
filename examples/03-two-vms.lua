-- Two isolated VMs side by side. A call to a VM that panics raises at once.

local vm1 = provium.create("minimal")
local vm2 = provium.create("minimal")
vm1:boot()
vm2:boot()

test("isolated", function()
    vm1:write_file("/tmp/id", "vm1")
    vm2:write_file("/tmp/id", "vm2")
    assert_eq(vm1:read_file("/tmp/id"), "vm1")
    assert_eq(vm2:read_file("/tmp/id"), "vm2")
end)

test("a panic raises at once", function()
    vm1:mount_vfs()
    local why = assert_error(function()
        vm1:exec("echo c > /proc/sysrq-trigger; sleep 100")
    end)
    assert_contains(why, "panicked: sysrq triggered crash")
end)

vm2:kill()
provium.shutdown_all()
