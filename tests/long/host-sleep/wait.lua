local lib = require("lib")

local vm = provium.create()
vm:boot()

test("waits of 20 s with limits of 50 s", {timeout = "100s"}, function()
    local begin = provium.now()
    local p = vm:start("cat", {stdin = true})
    vm:write_file("/file", "")
    local n = 0
    lib.mark()
    provium.all({
        function() provium.sleep("20s") end,
        function() vm:wait_until(function() n = n + 1; return provium.now() - begin > 20 end, {timeout = "50s"}) end,
        function()
            local log = vm:follow("/file")
            provium.sleep("20s")
            vm:exec("echo line >>/file")
            log:expect("line", "50s")
        end,
    }, "50s")
    p:write("a\n")
    assert(p.stdout:read_line("10s") == "a")
    p:kill()
    lib.clocks(vm)
end)
