-- provium.fixture("prepared") returns a VM in the state that examples/fixtures/prepared.lua prepared.

local function count_up(vm)
    vm:write_file("/srv/data/count", vm:read_file("/srv/data/count") + 1 .. "\n")
    return vm:read_file("/srv/data/count")
end

test("every VM of a fixture starts from the same state", function()
    local a, b = provium.fixture("prepared"), provium.fixture("prepared")
    assert_eq("1\n", count_up(a))
    assert_eq("2\n", count_up(a))
    assert_eq("1\n", count_up(b))
end)

test("a VM can be put back", function()
    local vm = provium.fixture("prepared")
    local before = vm:snapshot()
    vm:exec("rm -rf /srv/data/* /etc")
    vm:restore(before)
    assert_eq("1\n", count_up(vm))
end)

test("a clone shares nothing", function()
    local vm = provium.fixture("prepared")
    count_up(vm)
    local clone = vm:clone()
    assert_eq("2\n", count_up(clone))
    assert_eq("2\n", count_up(vm))
end)
