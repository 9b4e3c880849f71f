-- Console output that comes while the test computes: it waits in a pipe, and what may be lost is told.

local vm = provium.create("minimal")
vm:boot({ timeout = "2m" })

local function compute(seconds)
    local ends = os.time() + seconds
    while os.time() < ends do end
end

-- Prints n lines of 77 bytes on the console, as the kernel, after a second.
local function print_later(n)
    return vm:start([[sleep 1; i=0; while [ $i -lt ]] .. n .. [[ ]; do
        echo "<3>line $i of much output, which a program has printed over /dev/kmsg" >/dev/kmsg; i=$((i + 1)); done]])
end

test("is complete", function()
    local p = print_later(1000)
    compute(6)
    p:wait("2m")
    local log = vm:console():log()
    for i = 0, 999 do assert_contains(log, "line " .. i .. " of much output, which a program has printed over /dev/kmsg") end
end)

test("may be lost when it is too much", function()
    local report = vm:expect_report("of console output waited", function()
        local p = vm:start("sleep 1; cat /dev/zero | tr '\\0' x >/dev/ttyS0") -- ends with the VM
        compute(20)
        p:kill()
    end, { timeout = "60s" })
    assert_eq("console-lost", report.kind)
    assert_eq("guest-warning", report.class)
end)
