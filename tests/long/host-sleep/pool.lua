local lib = require("lib")

test("one of two that have room for one", function()
    local vm = provium.create()
    vm:boot()
    lib.mark()
    local r = vm:exec("sleep 20; echo slept", {timeout = "50s"})
    assert_eq("slept\n", r.stdout)
end)
