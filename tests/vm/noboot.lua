-- A boot that cannot succeed fails with its reason and the console, long before the boot limit.

local function uptime()
    local f = io.open("/proc/uptime")
    local s = f:read("n")
    f:close()
    return s
end

-- The error of fn, which has these texts, and the seconds until it came.
local function raises(fn, ...)
    local start = uptime()
    local why = assert_error(fn)
    for _, want in ipairs({ ... }) do
        assert_contains(why, want)
    end
    return why, uptime() - start
end

local function fails(profile, opts, ...)
    local vm = provium.create(profile)
    local why, took = raises(function() vm:boot(opts) end, ...)
    return why, took, vm
end

local far = { timeout = "5m" } -- never reached

test("init missing", function()
    local _, took, vm = fails("init-missing", far, "/no/such/init", "No such file", "--- console of vm")
    assert(took < 60)
    assert_error(function() vm:exec("true") end, "dead")
end)

test("init that cannot be run", function()
    local bad = { timeout = far.timeout, append = "provium.init=/bad", files = { ["/bad"] = { content = "\1\2\3", mode = "0755" } } }
    local _, took = fails("minimal", bad, "cannot run init '/bad': Exec format error", "--- console of vm")
    assert(took < 60)
end)

-- An init that exits at once may live until READY: the boot is over then, and the next call says it.
test("init that exits", function()
    local vm = provium.create("init-exits")
    local _, took = raises(function()
        vm:boot(far)
        vm:exec("sleep 1000")
    end, "Attempted to kill init", "--- console of vm")
    assert(took < 60)
end)

test("kernel panic at boot", function()
    local _, took = fails("no-rdinit", far, "panic", "--- console of vm")
    assert(took < 60)
end)

test("initrd that is not an archive", function()
    fails("initrd-is-text", far, "provium.toml", "archive")
end)

test("initrd that is cut off", function()
    local _, took = fails("initrd-is-cut", far, "--- console of vm")
    assert(took < 60)
end)

test("kernel file that is not a kernel", function()
    fails("kernel-is-text", far, "provium.toml", "kernel")
end)

test("QEMU refuses an argument", function()
    local _, took = fails("qemu-refuses", far, "no-such-option", "QEMU")
    assert(took < 60)
end)

test("no root file system with that label", function()
    local _, took = fails("root-no-such-label", far, "nobody")
    assert(took < 60)
end)

test("the boot limit ends the boot, and the message names it", function()
    local _, took = fails("never-ready", nil, "within 6 s", "--- console of vm")
    assert(took >= 5 and took < 30, "took " .. took)
end)

test("bad options", function()
    local vm = provium.create("minimal")
    assert_error(function() vm:boot({ memroy = "1G" }) end, "memroy.*memory")
    assert_error(function() vm:boot({ memory = "12Q" }) end, "12Q")
    assert_error(function() vm:boot({ memory = 512 }) end, "memory.*string")
    assert_error(function() vm:boot({ memory = "1M" }) end, "too small")
    assert_error(function() vm:boot({ cpus = 0 }) end, "cpus")
    assert_error(function() vm:boot({ cpus = "two" }) end, "cpus")
    assert_error(function() vm:boot({ cpus = 1.5 }) end, "cpus")
    assert_error(function() vm:boot({ files = "x" }) end, "files.*table")
    assert_error(function() vm:boot({ timeout = "soon" }) end, "soon")
    assert_error(function() vm:boot("1G") end, "table")
    -- The handle can still boot.
    vm:boot()
    assert_eq("ok", vm:exec("echo ok").stdout.trim())
end)
