-- The guest on the fake QEMU floods its console as fast as it is read; tests/fail-nth/flood.py measures the host.
local mib = tonumber(os.getenv("MIB"))
local vm = provium.create("fake")
vm:boot({ memory = "64M" })
test("console", function()
    local begin = provium.now()
    assert_eq("ok\n", vm:exec("flood " .. mib, { timeout = "50m" }).stdout.value)
    local took = provium.now() - begin
    log(("%d MiB in %.1f s, %.1f MiB a second"):format(mib, took, mib / took))
end)
test("the VM serves", function() assert_eq("ok\n", vm:exec("x").stdout.value) end)
vm:shutdown()
