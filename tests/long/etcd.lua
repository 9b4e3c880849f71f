-- Three Debian VMs with etcd: a write survives each partition of one node, which refuses writes; after healing all agree.
--
-- Not part of `make check`: minutes long, and it needs etcd from Debian's packages.  From the project's root:
--   mkdir -p build/etcd && cd build/etcd && apt-get download etcd-server etcd-client && for d in *.deb; do dpkg -x $d .; done
--   SEED=1 build/provium test --config tests/provium.toml --timeout 20m tests/long/etcd.lua
-- tests/long/etcd-seeds runs it with 20 seeds, twice each.

local seed = assert(math.tointeger(os.getenv("SEED") or 1), "SEED is no integer")
local lan = provium.network("lan", { subnet = "10.7.0.0/24", seed = seed, hosts = true })

-- Scripted traffic beside etcd's: what is lost of it depends on the seed alone.
local from, to = lan:port({ ip = false, name = "from" }), lan:port({ ip = false, name = "to" })
lan:impair({ from = from, to = to, loss = 0.1, duplicate = 0.05 })

-- A third of the frames before each partition, so that they are carried beside etcd's.
local sent = 0
local function scripted(n)
    local frame = provium.net.build({ eth = { dst = to:mac(), src = from:mac(), type = 0x88b5 }, payload = "count" })
    for _ = 1, n do from:send(frame) end
    sent = sent + n
end

-- The members run already, each by itself, when their VMs are resumed.
local nodes, resumes = {}, {}
for i = 1, 3 do
    resumes[i] = function()
        local nic = { net = lan, ip = "10.7.0.1" .. i }
        nodes[i] = provium.fixture("etcd-" .. i, { name = "n" .. i, nets = { nic }, timeout = "15m" })
    end
end
provium.all(resumes)

-- Runs etcdctl on node i, which talks to its own server.
local function ctl(i, command, seconds)
    return nodes[i]:exec(("ETCDCTL_API=3 etcdctl --command-timeout %ds %s"):format(seconds or 20, command),
        { timeout = "3m" })
end

local function put(i, key)
    nodes[i]:wait_until(function() return ctl(i, ("put %s seed%d"):format(key, seed)).ok end,
        { timeout = "5m", desc = ("n%d takes %s"):format(i, key) })
end

-- Waits until node i has the write, and returns all that it has.
local function wait_for(i, key)
    local all
    nodes[i]:wait_until(function()
        all = ctl(i, "get --prefix ''").stdout
        return all:find(("%s\nseed%d\n"):format(key, seed), 1, true)
    end, { timeout = "5m", desc = ("n%d has %s"):format(i, key) })
    return all
end

test("all three serve", { timeout = "10m" }, function()
    put(1, "first")
    for i = 1, 3 do wait_for(i, "first") end
end)

for cut = 1, 3 do
    test("n" .. cut .. " alone", { timeout = "15m" }, function()
        local one, other = cut % 3 + 1, (cut + 1) % 3 + 1
        scripted(333)
        lan:isolate(nodes[cut])
        defer(function() lan:heal() end)
        put(one, "kept" .. cut)
        -- Until it knows, it would send the write to its old leader, by TCP, which brings it after the partition.
        nodes[cut]:wait_until(function() return ctl(cut, "endpoint status -w json").stdout:find("no leader", 1, true) end,
            { timeout = "3m", desc = ("n%d has no leader"):format(cut) })
        local refused = ctl(cut, "put lost yes", 5)
        assert(not refused.ok, "the minority took a write")
        assert(refused.stderr:find("deadline exceeded") or refused.stderr:find("no leader"), refused.stderr)
        wait_for(other, "kept" .. cut)
        lan:heal()
        for i = 1, 3 do
            local all = wait_for(i, "kept" .. cut)
            assert(not all:find("lost", 1, true), all)
        end
    end)
end

test("scripted frames", function()
    for _, direction in ipairs(lan:stats()) do
        if direction.from == "from" and direction.to == "to" then
            assert_eq(sent, direction.sent)
            log(("seed %d: of %d frames %d lost, %d duplicated"):format(seed, sent, direction.lost, direction.duplicated))
        end
    end
end)
