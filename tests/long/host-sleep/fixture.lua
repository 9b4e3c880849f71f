test("a fixture", function()
    for _ = 1, 2 do
        local vm = provium.fixture("big", {timeout = "300s"})
        assert(vm:exec("sha1sum -c /sum", {timeout = "100s"}).ok)
        assert(math.abs(vm:time() - os.time()) < 5)
        vm:shutdown()
    end
end)
