-- sendmsg and recvmsg with control data: a descriptor and credentials go through a socket pair. unix(7), cmsg(3).

local vm = provium.create()
vm:boot()

local AF_UNIX, SOCK_DGRAM, SOL_SOCKET, SO_PASSCRED = 1, 2, 1, 16
local SCM_RIGHTS, SCM_CREDENTIALS = 1, 2
-- struct msghdr { name, u32 namelen, iov, iovlen, control, controllen, i32 flags }: its pointers are at 16 and 32.
local IOV, CONTROL = 16, 32

local function msghdr(control_n)
    return provium.pack("u64 u64 u64 u64 u64 u64 u64", 0, 0, 0, 1, 0, control_n, 0)
end

-- struct cmsghdr { u64 len; i32 level; i32 type; } and the data, filled up to 8 bytes.
local function cmsg(kind, data)
    return provium.pack("u64 i32 i32", 16 + #data, SOL_SOCKET, kind) .. data .. ("\0"):rep(-#data % 8)
end

local function send(who, fd, text, control)
    return (who:syscall_ptr("sendmsg", { [1] = msghdr(#control) }, {
        { buf_idx = 1, ptr_offset = IOV, data = provium.pack("u64 u64", 0, #text) },
        { ptr_idx = 1, ptr_offset = 0, data = text },
        { buf_idx = 1, ptr_offset = CONTROL, data = control },
    }, fd, 0, 0))
end

-- Returns the text, the kind of the control message and its data.
local function receive(who, fd)
    local n, _, text, control = who:syscall_ptr("recvmsg", { [1] = msghdr(64) }, {
        { buf_idx = 1, ptr_offset = IOV, data = provium.pack("u64 u64", 0, 64) },
        { ptr_idx = 1, ptr_offset = 0, data_len = 64, output = true },
        { buf_idx = 1, ptr_offset = CONTROL, data_len = 64, output = true },
    }, fd, 0, 0)
    assert(n >= 0, "recvmsg: " .. n)
    local len, level, kind = provium.unpack("u64 i32 i32", control)
    assert_eq(SOL_SOCKET, level)
    return text:sub(1, n), kind, control:sub(17, len)
end


local ret, pair = vm:syscall_bufs("socketpair", { [3] = ("\0"):rep(8) }, AF_UNIX, SOCK_DGRAM, 0)
assert_eq(0, ret)
local a, b = provium.unpack("i32 i32", pair)

test("SCM_RIGHTS: another process gets the open file", function()
    vm:write_file("/tmp/secret", "from the file")
    local receiver = vm:spawn() -- has both ends, and not the file
    local file = vm:syscall_buf("openat", 1, "/tmp/secret\0", -100, 0, 0)
    assert_eq(5, send(vm, a, "taken", cmsg(SCM_RIGHTS, provium.pack("i32", file))))
    local text, kind, data = receive(receiver, b)
    assert_eq({ "taken", SCM_RIGHTS }, { text, kind })
    local theirs = provium.unpack("i32", data)
    local n, read = receiver:syscall_bufs("read", { [1] = ("\0"):rep(64) }, theirs, 0, 64)
    assert_eq("from the file", read:sub(1, n))
    receiver:kill()
end)

test("SCM_CREDENTIALS: the kernel says who sent it", function()
    assert_eq(0, vm:syscall_buf("setsockopt", 3, provium.pack("i32", 1), b, SOL_SOCKET, SO_PASSCRED, 0, 4))
    local sender = vm:spawn()
    assert_eq(0, sender:syscall("setgid", 7))
    assert_eq(0, sender:syscall("setuid", 1000))
    local pid = sender:syscall("getpid")
    assert_eq(2, send(sender, a, "me", cmsg(SCM_CREDENTIALS, provium.pack("i32 u32 u32", pid, 1000, 7))))
    local text, kind, data = receive(vm, b)
    assert_eq({ "me", SCM_CREDENTIALS }, { text, kind })
    assert_eq({ pid, 1000, 7 }, { provium.unpack("i32 u32 u32", data) })
    -- A process without privileges cannot claim to be another one: EPERM.
    assert_eq(-1, send(sender, a, "root", cmsg(SCM_CREDENTIALS, provium.pack("i32 u32 u32", pid, 0, 0))))
    sender:kill()
end)

vm:shutdown()
