-- A file of 256 MiB keeps its SHA-256 through push and pull, and neither side's memory grows by it.

local SIZE = 256 << 20
local dir = os.tmpname()
os.remove(dir)

local function sh(cmd)
    local p = io.popen(cmd .. " 2>&1")
    local out = p:read("a")
    assert(p:close(), cmd .. ": " .. out)
    return out
end

-- The peak of this process's mapped memory, in MiB. Not its resident memory, which grows as the guest uses its own
-- memory: that is mapped here from the boot on.
local function peak()
    for line in io.lines("/proc/self/status") do
        local kb = line:match("^VmPeak:%s+(%d+)")
        if kb then return tonumber(kb) // 1024 end
    end
end

sh("mkdir " .. dir)
local function sum(path) return sh("sha256sum <" .. path):match("^%x+") end

test("256 MiB through push and pull", function()
    -- Real data: no zeros, no repeats, no holes.
    sh("head -c " .. SIZE .. " /dev/urandom >" .. dir .. "/up")
    local vm = provium.create("minimal")
    vm:boot({ memory = "1G" })
    vm:mount_vfs()
    assert(vm:exec("mkdir -p /tmp/big && mount -t tmpfs -o size=300m none /tmp/big").ok)
    local before = peak()
    vm:push(dir .. "/up", "/tmp/big/file", { timeout = "120s" })
    assert_eq(tostring(SIZE), vm:exec("stat -c %s /tmp/big/file").stdout.trim())
    vm:pull("/tmp/big/file", dir .. "/down", { timeout = "120s" })
    local grown = peak() - before
    assert(grown < 64, "this process grew by " .. grown .. " MiB")
    assert_eq(sum(dir .. "/up"), sum(dir .. "/down"))
    -- The largest peak of the agent's processes.
    local agent = vm:exec("cat /proc/[0-9]*/status 2>/dev/null | grep -A 30 '^Name:.provium-agent' | grep VmHWM").stdout.value
    local processes = 0
    for kb in agent:gmatch("(%d+) kB") do
        assert(tonumber(kb) < 64 * 1024, "an agent process had " .. kb .. " KiB")
        processes = processes + 1
    end
    assert(processes >= 2, "of the agent's processes " .. processes .. " were found, expected its supervisor and a session")
    vm:shutdown()
end)

sh("rm -rf " .. dir)
