-- A futex handshake of two workers on shared memory: each blocks in the kernel until the other one acts. futex(2).

local vm = provium.create()
vm:boot()

local FUTEX_WAIT, FUTEX_WAKE, EAGAIN = 0, 1, 11

local at = vm:alloc(4096, { shared = true }) -- before the workers are forked, so that they share it
local ping, pong = at, at + 64
local first, second = vm:spawn(), vm:spawn()
local pid = first:syscall("getpid")

local function get(who, address) return (provium.unpack("u32", who:read_mem(address, 4))) end

local function set_and_wake(who, address, value)
    who:write_mem(address, provium.pack("u32", value))
    return who:syscall("futex", address, FUTEX_WAKE, 1)
end

-- Blocks while the word is 0, as a lock would: the kernel compares it, so a wake cannot be missed.
local function wait_for(who, address)
    while get(who, address) == 0 do
        local ret = who:syscall("futex", address, FUTEX_WAIT, 0, 0)
        assert(ret == 0 or ret == -EAGAIN, "futex: " .. ret)
    end
    return get(who, address)
end

test("a word that has changed: the wait does not begin", function()
    assert_eq(-EAGAIN, first:syscall("futex", ping, FUTEX_WAIT, 7, 0))
end)

test("a handshake", function()
    local opener = provium.async(function()
        local answer = wait_for(first, ping)
        set_and_wake(first, pong, answer + 1)
    end)
    vm:wait_until(function() -- 202 is futex's number
        return vm:exec("cat /proc/" .. pid .. "/syscall").stdout.starts_with("202 ")
    end, { interval = "50ms", timeout = "1m", desc = "the first worker waits in futex" })
    assert(not opener:done())
    assert_eq(1, set_and_wake(second, ping, 41)) -- it wakes exactly one
    assert_eq(42, wait_for(second, pong))
    opener:wait("1m")
end)

vm:shutdown()
