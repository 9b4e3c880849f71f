-- Cached boots: the second boot of a kind is a resume of the first one, and nothing in it is stale.
local mark = ("provium.test=%d"):format(math.floor(provium.now() * 1e6) + math.random(1000000))
local options = { cached = true, append = mark, timeout = "120s", files = { ["/etc/mark"] = { content = "first" } } }
local function with(more)
    local o = {}
    for k, v in pairs(options) do o[k] = v end
    for k, v in pairs(more) do o[k] = v end
    return o
end

local cold <close> = provium.create()
assert_eq(cold:boot(options), "cold")
local cold_random = cold:sh("head -c 16 /dev/urandom | md5sum")

test("the next one is cached, and like a fixture's", function()
    local vm <close> = provium.create()
    assert_eq(vm:boot(options), "cached")
    assert_eq(vm:read_file("/etc/mark"), "first")
    assert_contains(vm:read_file("/proc/cmdline"), mark)
    assert_ne(vm:sh("hostname"), cold:sh("hostname"), "its host name is its own")
    assert_ne(vm:sh("head -c 16 /dev/urandom | md5sum"), cold_random, "its random pool is its own")
    local now = os.time()
    assert(math.abs(tonumber(vm:sh("date +%s")) - now) <= 20, "its clock is the host's")
    vm:write_file("/tmp/made", "here")
    local other = vm:clone()
    assert_eq(other:read_file("/tmp/made"), "here")
    vm:reboot("120s")
    assert_eq(vm:read_file("/etc/mark"), "first", "it reboots as a booted one does")
    vm:kill()
    vm:boot()
    assert_eq(vm:read_file("/etc/mark"), "first", "and boots again")
end)

test("another option, or another content, is another boot", function()
    for name, o in pairs({ memory = { memory = "256M" }, files = { files = { ["/etc/mark"] = { content = "second" } } } }) do
        local vm <close> = provium.create()
        assert_eq(vm:boot(with(o)), "cold", name)
        if o.files then assert_eq(vm:read_file("/etc/mark"), "second") end
    end
end)

test("disks are as at the boot", function()
    local o = with({ disks = { { name = "scratch", size = "8M" } } })
    for _, how in ipairs({ "cold", "cached" }) do
        local vm <close> = provium.create()
        assert_eq(vm:boot(o), how)
        assert_eq(vm:sh("head -c 5 /dev/vda | od -An -tx1"):trim(), "00 00 00 00 00")
        vm:sh("printf later >/dev/vda; sync")
        assert_eq(vm:disk("scratch"):read(0, 5), "later")
    end
end)

test("false is a boot, and an option of another type an error", function()
    local vm <close> = provium.create()
    assert_error(function() vm:boot({ cached = "yes" }) end, "'cached' must be true or false")
    assert_error(function() vm:boot({ cache = true }) end, "did you mean 'cached'?")
    assert_eq(vm:boot(with({ cached = false })), "cold")
end)
