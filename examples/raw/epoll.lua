-- epoll: descriptors live on between calls; a call that waits can be given a limit.

local vm = provium.create()
vm:boot()

-- sys/epoll.h. struct epoll_event is packed on x86-64: u32 events, u64 data: 12 bytes.
local EPOLL_CTL_ADD, EPOLLIN, EPOLLHUP = 1, 0x001, 0x010
local EVENT = "u32 u64"
local EEXIST = 17

local function pipe()
    local ret, fds = vm:syscall_bufs("pipe2", { [0] = ("\0"):rep(8) }, 0, 0)
    assert_eq(0, ret)
    return provium.unpack("i32 i32", fds)
end

local ep = vm:syscall("epoll_create1", 0)
local out, into = pipe()
local cookie = 0xfedcba9876543210 -- ours: comes back with the event, all 64 bits

-- epoll_wait(ep, events, 4, timeout in ms)
local function wait(ms)
    local n, events = vm:syscall_bufs("epoll_wait", { [1] = ("\0"):rep(4 * 12) }, ep, 0, 4, ms)
    local list = {}
    for i = 1, n do
        local what, data = provium.unpack(EVENT, events:sub(12 * i - 11, 12 * i))
        list[i] = { what = what, data = data }
    end
    return list
end

test("a pipe with nothing in it", function()
    assert_eq(0, vm:syscall_buf("epoll_ctl", 3, provium.pack(EVENT, EPOLLIN, cookie), ep, EPOLL_CTL_ADD, out))
    assert_eq(-EEXIST, vm:syscall_buf("epoll_ctl", 3, provium.pack(EVENT, EPOLLIN, cookie), ep, EPOLL_CTL_ADD, out))
    assert_eq({}, wait(0))
end)

test("something is in it", function()
    assert_eq(1, vm:syscall_buf("write", 1, "x", into, 0, 1))
    assert_eq({ { what = EPOLLIN, data = cookie } }, wait(1000))
end)

test("the other end is closed", function()
    assert_eq(0, vm:syscall("close", into))
    assert_eq({ { what = EPOLLIN | EPOLLHUP, data = cookie } }, wait(1000))
end)

test("a wait without end is cut off from here", function()
    local quiet = vm:syscall("epoll_create1", 0)
    assert_error(function()
        vm:syscall_bufs("epoll_wait", { [1] = ("\0"):rep(12) }, quiet, 0, 1, -1, { timeout = "500ms" })
    end, "did not return")
    assert_eq("still here", vm:exec("echo still here").stdout:trim())
end)

vm:shutdown()
