-- Under KVM: a fixture is built, resumed and resumed from the standby pool; cached boots. Run by `make check-kvm`.

local clocks = dofile("tests/lib/clocks.lua")
local long = { timeout = "600s" }

for i, name in ipairs({ "built or cached", "resumed", "from the standby pool" }) do
    test(name, function()
        local vm <close> = provium.fixture("up", long)
        assert_eq("from the fixture\n", vm:read_file("/tmp/mark"))
        assert_eq(false, vm:exists("/tmp/mine"))
        vm:write_file("/tmp/mine", tostring(i))
        clocks.is_right(vm)
        clocks.is_steady(vm, 5)
        -- The pool makes a VM ready while its file waits.
        provium.sleep("8s")
        clocks.is_right(vm)
    end)
end

test("a cached boot", function()
    local function boot()
        local vm <close> = provium.create()
        local how = vm:boot({ memory = "256M", cached = true, timeout = "300s", files = { ["/clocks"] = clocks.program } })
        clocks.is_right(vm)
        return how
    end
    boot()
    assert_eq("cached", boot())
end)
