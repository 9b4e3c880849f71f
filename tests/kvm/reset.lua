-- Under KVM: provium.reset_between_tests. Run by `make check-kvm`.

provium.reset_between_tests = true
local clocks = dofile("tests/lib/clocks.lua")
local vm = provium.create()
vm:boot({ memory = "256M", files = { ["/clocks"] = clocks.program } })
vm:write_file("/n", "0")
clocks.watch(vm)

local function check()
    assert_eq("0", vm:read_file("/n"))
    clocks.is_right(vm)
    clocks.is_steady(vm, 5)
    vm:write_file("/n", "changed")
end

test("the first", check)
test("the second", check)
test("one that kills the VM", function()
    check()
    vm:kill()
end)
test("the one after it", check)
