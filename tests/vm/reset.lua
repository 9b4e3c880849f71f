-- provium.reset_between_tests

provium.reset_between_tests = true
local vm = provium.create("minimal")
vm:boot({ memory = "256M" })
vm:mount_vfs()
vm:write_file("/tmp/n", "0")
local made, runs = nil, 0

local function check()
    assert_eq("0", vm:read_file("/tmp/n"))
    vm:write_file("/tmp/n", "changed")
    runs = runs + 1
end

test("the first one", function()
    check()
    made = provium.create("minimal")
    made:boot({ memory = "128M" })
    assert_contains(tostring(made), "running")
end)

test("its VMs have ended, and the file's is as it was", function()
    check()
    assert_contains(tostring(made), "killed")
    test("tests in tests go on with what there is", function() assert_eq("changed", vm:read_file("/tmp/n")) end)
    vm:kill()
end)

test("after a VM that was killed", check)
test("a VM that crashes", function()
    check()
    assert_error(function() vm:exec("echo c >/proc/sysrq-trigger") end)
    assert_error(function() vm:exec("true") end, "dead")
end)
test("after a VM that crashed", check)

test("clones and snapshots work in it", function()
    check()
    local c = vm:clone()
    assert_eq("changed", c:read_file("/tmp/n"))
end)

assert_eq(6, runs)
assert_eq(true, provium.reset_between_tests)
assert_error(function() provium.reset_between_test = true end, "did you mean provium.reset_between_tests")
assert_error(function() provium.reset_between_tests = 1 end, "must be true or false, got number 1")
provium.of_the_test = 1
assert_eq(1, provium.of_the_test)
provium.reset_between_tests = false
test("without reset_between_tests again", function() assert_eq("changed", vm:read_file("/tmp/n")) end)
assert_error(function() provium.reset_between_tests = true end, "in front of the first test")
