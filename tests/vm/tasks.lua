-- Several VMs at once in one file.

local vms = {}
for i = 1, 3 do
    vms[i] = provium.create("minimal")
end
provium.all {
    function() vms[1]:boot { memory = "192M", timeout = "200s" } end,
    function() vms[2]:boot { memory = "192M", timeout = "200s" } end,
    function() vms[3]:boot { memory = "192M", timeout = "200s", transport = "serial" } end,
}

test("three VMs that booted at once", function()
    local r = provium.all {
        function() return vms[1]:exec("echo one").stdout:trim() end,
        function() return vms[2]:exec("echo two").stdout:trim() end,
        function() return vms[3]:exec("echo three").stdout:trim() end,
    }
    assert_eq({ "one", "two", "three" }, r)
end)

test("a VM that dies fails the calls to it and no others", function()
    local first = provium.async(function() return vms[1]:exec("sleep 600") end)
    local also = provium.async(function() return vms[1]:syscall("pause") end)
    local other = provium.async(function() return vms[2]:exec("sleep 1; echo alive").stdout:trim() end)
    provium.sleep(0.2)
    vms[1]:kill()
    assert_error(function() first:wait() end, "was killed meanwhile")
    assert_error(function() also:wait() end, "was killed meanwhile")
    assert_eq("alive", other:wait(120))
end)

test("a VM is killed while it boots", function()
    local vm = provium.create("minimal")
    local boot = provium.async(function() vm:boot { memory = "192M", timeout = "200s" } end)
    assert_error(function() vm:boot() end, "another task is in its boot")
    provium.sleep(0.2)
    vm:kill()
    assert_error(function() boot:wait() end, "killed meanwhile")
end)

test("a snapshot, a clone and a restore beside calls", function()
    local vm = vms[3]
    local run = provium.async(function() return vm:exec("sleep 1; echo whole").stdout:trim() end)
    local snapshot = provium.async(function() return vm:snapshot() end)
    assert_error(function() vm:snapshot() end, "another task is in its snapshot")
    local s = snapshot:wait()
    assert_eq("whole", run:wait(120))
    local hangs = provium.async(function() vm:exec("sleep 600") end)
    provium.sleep(0.2)
    vm:restore(s)
    assert_error(function() hangs:wait() end, "was restored meanwhile")
    assert_eq("x\n", vm:exec("echo x").stdout.value)
end)

test("one fixture, requested by several tasks at once", function()
    local fns = {}
    for i = 1, 5 do
        fns[i] = function()
            local vm <close> = provium.fixture("prepared")
            vm:write_file("/tmp/number", tostring(i))
            provium.sleep(0.1)
            return vm:read_file("/tmp/number")
        end
    end
    assert_eq({ "1", "2", "3", "4", "5" }, provium.all(fns))
end)
