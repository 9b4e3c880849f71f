-- Three Debian VMs with etcd: a write survives each partition of one node, which refuses writes; after healing all agree.
--
-- Not part of `make check`: minutes long, and it needs etcd from Debian's packages. From the project's root:
--   mkdir -p build/etcd && cd build/etcd && apt-get download etcd-server etcd-client && for d in *.deb; do dpkg -x $d .; done
--   SEED=1 build/provium test --config tests/provium.toml tests/long/etcd.lua

local seed = assert(math.tointeger(os.getenv("SEED") or 1), "SEED is no integer")
local lan = provium.network("lan", { subnet = "10.7.0.0/24", seed = seed, hosts = true })

local function url(i, port) return ("http://10.7.0.1%d:%d"):format(i, port) end

-- Scripted traffic beside etcd's: what is lost of it depends on the seed alone.
local from, to = lan:port({ ip = false, name = "from" }), lan:port({ ip = false, name = "to" })
lan:impair({ from = from, to = to, loss = 0.1 })

local nodes, members = {}, {}
for i = 1, 3 do
    nodes[i] = provium.fixture("etcd-node", { nets = { { net = lan, ip = "10.7.0.1" .. i } }, timeout = "10m" })
    members[i] = ("n%d=%s"):format(i, url(i, 2380))
end
for i, node in ipairs(nodes) do
    node:start(table.concat({
        "exec etcd --name n" .. i,
        "--data-dir /run/etcd --heartbeat-interval 500 --election-timeout 5000 --log-level error",
        "--listen-peer-urls", url(i, 2380), "--initial-advertise-peer-urls", url(i, 2380),
        "--listen-client-urls", url(i, 2379), "--advertise-client-urls", url(i, 2379),
        "--initial-cluster", table.concat(members, ","),
    }, " "))
end

-- Runs etcdctl on node i, which talks to its own server.
local function ctl(i, command, seconds)
    return nodes[i]:exec(("ETCDCTL_API=3 etcdctl --endpoints %s --command-timeout %ds %s"):format(url(i, 2379),
        seconds or 30, command), { timeout = "3m" })
end

local function put(i, key, value)
    nodes[i]:wait_until(function() return ctl(i, ("put %s %s"):format(key, value)).ok end,
        { timeout = "5m", desc = ("n%d takes %s"):format(i, key) })
end

test("all three serve", { timeout = "10m" }, function()
    for i = 1, 3 do put(i, "from" .. i, "seed" .. seed) end
end)

for cut = 1, 3 do
    test("n" .. cut .. " alone", { timeout = "15m" }, function()
        local one, other = cut % 3 + 1, (cut + 1) % 3 + 1
        lan:isolate(nodes[cut])
        defer(function() lan:heal() end)
        put(one, "kept" .. cut, "seed" .. seed)
        local refused = ctl(cut, "put lost yes", 6)
        assert(not refused.ok, "the minority took a write")
        assert_contains(refused.stderr, "deadline exceeded")
        assert_contains(ctl(other, "get kept" .. cut).stdout, "seed" .. seed)
        lan:heal()
        for i = 1, 3 do
            nodes[i]:wait_until(function() return ctl(i, "get kept" .. cut).stdout:find("seed" .. seed, 1, true) end,
                { timeout = "5m", desc = ("n%d has the write"):format(i) })
            assert_eq("", ctl(i, "get lost"):assert_ok().stdout)
        end
    end)
end

test("scripted frames", function()
    local frame = provium.net.build({ eth = { dst = to:mac(), src = from:mac(), type = 0x88b5 }, payload = "count" })
    for _ = 1, 1000 do from:send(frame) end
    for _, direction in ipairs(lan:stats()) do
        if direction.from == "from" and direction.to == "to" then
            assert_eq(1000, direction.sent)
            log(("seed %d lost %d of 1000"):format(seed, direction.lost))
        end
    end
end)
