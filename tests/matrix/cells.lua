-- One QEMU with one guest kernel: what scripts/matrix makes a row of docs/matrix.md of. The names of the tests are the
-- columns.
local AF_VSOCK, SOCK_STREAM, HOST, ECONNRESET = 40, 1, 2, 104
local release = os.getenv("MATRIX_RELEASE")
local from_fixture

-- Nothing listens on the host's port: the reset tells that a packet went to the host and that one came back.
local function reaches_host(vm)
    local sock = vm:syscall("socket", AF_VSOCK, SOCK_STREAM, 0)
    assert(sock >= 0, "socket: " .. sock)
    local addr = provium.pack("u16 u16 u32 u32 u32", AF_VSOCK, 0, 1234, HOST, 0)
    local r = vm:syscall_buf("connect", 1, addr, sock, 0, #addr, { timeout = "20s" })
    assert_eq(0, vm:syscall("close", sock))
    assert_eq(-ECONNRESET, r)
end

test("boot", function()
    local vm = provium.create("matrix")
    vm:boot({ memory = "256M", cpus = 2, transport = "vsock", timeout = "120s" })
    assert_eq(release, vm:exec({ "uname", "-r" }):assert_ok().stdout:trim())
    vm:write_file("/tmp/bytes", ("x"):rep(1 << 20))
    assert_eq(1 << 20, vm:stat("/tmp/bytes").size)
    vm:shutdown()
end)

test("fixture", function()
    from_fixture = provium.fixture("base")
    assert_eq(release, from_fixture:exec({ "uname", "-r" }):assert_ok().stdout:trim())
    assert_eq("yes", from_fixture:read_file("/root/prepared"))
end)

test("clone", function()
    local s = from_fixture:snapshot()
    local c = from_fixture:clone(s)
    c:remove("/root/prepared")
    assert(from_fixture:exists("/root/prepared") and not c:exists("/root/prepared"))
    c:restore(s)
    assert_eq("yes", c:read_file("/root/prepared"))
    c:kill()
end)

test("vsock", function()
    reaches_host(from_fixture)
    local c = from_fixture:clone()
    reaches_host(c)
    c:kill()
end)

test("reset", function()
    from_fixture:reset("120s")
    assert(not from_fixture:exists("/root/prepared"))
    assert_eq(release, from_fixture:exec({ "uname", "-r" }):assert_ok().stdout:trim())
end)
