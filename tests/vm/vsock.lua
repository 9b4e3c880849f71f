-- AF_VSOCK in saved and resumed VMs: the boot option vsock.

local AF_VSOCK, SOCK_STREAM, HOST, GET_LOCAL_CID = 40, 1, 2, 0x7b9
local ECONNRESET, ENODEV = 104, 19

local function cid(vm)
    local fd = vm:syscall_buf("open", 0, "/dev/vsock\0", 2, 0)
    assert(fd >= 0, "/dev/vsock: " .. fd)
    local r, out = vm:syscall_bufs("ioctl", { [2] = ("\0"):rep(4) }, fd, GET_LOCAL_CID)
    assert_eq(0, r)
    assert_eq(0, vm:syscall("close", fd))
    return (provium.unpack("u32", out))
end

local function connect_host(vm)
    local sock = vm:syscall("socket", AF_VSOCK, SOCK_STREAM, 0)
    assert(sock >= 0, "socket: " .. sock)
    local addr = provium.pack("u16 u16 u32 u32 u32", AF_VSOCK, 0, 1234, HOST, 0)
    local r = vm:syscall_buf("connect", 1, addr, sock, 0, #addr, { timeout = "5s" })
    assert_eq(0, vm:syscall("close", sock))
    return r
end

-- Asserts that the VM's vsock device works, with a CID that none of `others` has; returns the CID.
local function check(vm, ...)
    local c = cid(vm)
    assert(c > HOST and c < 0xffffffff, "CID " .. c)
    for _, other in ipairs({ ... }) do assert_ne(other, c) end
    assert_eq(-ECONNRESET, connect_host(vm))
    return c
end

-- The checksum of the fixture's memory in the cache.
local function sum_of_memory()
    local cache = os.getenv("XDG_CACHE_HOME") or os.getenv("HOME") .. "/.cache"
    local p <close> = assert(io.popen(([[
        for m in $(grep -l "$PWD/tests/vm/fixtures/vsock.lua" %s/provium/fixtures/entries/*/manifest.json); do
            sha256sum <${m%%/*}/memory
        done]]):format(cache)))
    return p:read("a")
end

local vm = provium.fixture("vsock")
local before = sum_of_memory()
local first = check(vm)

test("two VMs of a fixture", function()
    local other <close> = provium.fixture("vsock")
    check(other, first)
    for i, v in ipairs({ vm, other }) do
        assert_eq("from the fixture\n", v:read_file("/tmp/mark"))
        v:write_file("/tmp/mark", i .. "\n")
        assert(v:exec("head -c 30000000 /dev/urandom >/tmp/big").ok)
    end
    assert_eq("1\n", vm:read_file("/tmp/mark"))
    assert_eq("2\n", other:read_file("/tmp/mark"))
    assert_eq(first, cid(vm))
    check(other, first)
end)

test("the fixture is unchanged", function()
    assert_ne("", before)
    assert_eq(before, sum_of_memory())
    local third <close> = provium.fixture("vsock")
    assert_eq("from the fixture\n", third:read_file("/tmp/mark"))
end)

test("snapshots, clones and restores", function()
    vm:write_file("/tmp/mark", "snapshot\n")
    local s <close> = vm:snapshot()
    assert_eq(first, check(vm)) -- it keeps its CID
    local clone <close> = vm:clone(s)
    local second = check(clone, first)
    clone:write_file("/tmp/mark", "clone\n")
    local of_clone <close> = clone:clone()
    assert_eq("clone\n", of_clone:read_file("/tmp/mark"))
    check(of_clone, first, second)
    vm:write_file("/tmp/mark", "gone\n")
    local last = first
    for _ = 1, 4 do
        vm:restore(s)
        assert_eq("snapshot\n", vm:read_file("/tmp/mark"))
        last = check(vm, last, second)
    end
end)

test("a guest that removes its device", function()
    local v <close> = provium.fixture("vsock")
    assert(v:exec([[for s in /sys/bus/pci/slots/*; do
        if [ "$(cat $s/address)" = 0000:01:00 ]; then echo 0 >$s/power; fi; done]]).ok)
    assert_eq(-ENODEV, connect_host(v))
    local again <close> = v:clone()
    check(again, check(v))
end)

test("a socket that listens", function()
    local v <close> = provium.fixture("vsock")
    local sock = v:syscall("socket", AF_VSOCK, SOCK_STREAM, 0)
    local addr = provium.pack("u16 u16 u32 u32 u32", AF_VSOCK, 0, 4000, cid(v), 0)
    assert_eq(0, v:syscall_buf("bind", 1, addr, sock, 0, #addr))
    assert_eq(0, v:syscall("listen", sock, 1))
    v:snapshot()
    check(v)
    local r, is = v:syscall_bufs("getsockopt", { [3] = "\0\0\0\0", [4] = "\4\0\0\0" }, sock, 1, 30) -- SO_ACCEPTCONN
    assert_eq(0, r)
    assert_eq("\1\0\0\0", is)
end)

test("without the option there is no device", function()
    local v <close> = provium.fixture("prepared")
    assert_eq(false, v:exec("grep -q 1af41053 /proc/bus/pci/devices").ok)
end)

test("the option changes nothing on the transport vsock", function()
    local v <close> = provium.create("minimal")
    v:boot({ memory = "256M", transport = "vsock", vsock = true })
    v:mount_vfs()
    assert(cid(v) > HOST)
    assert_error(function() v:snapshot() end, 'boot it with transport = "serial"')
end)

test("wrong uses", function()
    local v = provium.create("pc")
    assert_error(function() v:boot({ vsock = 1 }) end, "boot option 'vsock' must be true or false, got number 1")
    assert_error(function() v:boot({ transport = "serial", vsock = true }) end,
        "vsock = true needs a q35 machine; profile 'pc' has machine = \"pc\"")
end)

test("a guest without the driver", function()
    local v = provium.create("minimal")
    local why = assert_error(function()
        v:boot({ memory = "256M", transport = "serial", vsock = true, timeout = "6s",
            append = "module_blacklist=vmw_vsock_virtio_transport" })
    end, "its kernel has no driver for it (CONFIG_VIRTIO_VSOCKETS; module vmw_vsock_virtio_transport)")
    assert_contains(why, "--- console of")
    assert_contains(tostring(v), "killed")
end)
