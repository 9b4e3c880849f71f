-- A process that blocks in a driver's read and is interrupted by a signal: EINTR. signal(7), sigaction(2), pty(7).

local vm = provium.create()
vm:boot()

local SIGUSR1, SA_RESTORER, SA_RESTART, EINTR = 10, 0x04000000, 0x10000000, 4
local PROT_RWX, MAP_PRIVATE_ANONYMOUS = 7, 0x22

-- A pseudoterminal's master blocks until its other side writes; any driver that waits for its hardware would do.
local O_RDWR, O_NOCTTY, TIOCSPTLCK, TIOCGPTN = 2, 0x100, 0x40045431, 0x80045430
local worker = vm:spawn()
local pid = worker:syscall("getpid")
local fd = worker:syscall_buf("openat", 1, "/dev/ptmx\0", -100, 0, O_RDWR | O_NOCTTY)
assert(fd >= 0, "open /dev/ptmx: " .. fd)
assert_eq(0, (worker:ioctl(fd, TIOCSPTLCK, provium.pack("u32", 0))))
local ret, number = worker:ioctl(fd, TIOCGPTN, provium.pack("u32", 0))
assert_eq(0, ret)
local other_side = "/dev/pts/" .. provium.unpack("u32", number)

-- A signal interrupts only if it has a handler: two instructions of machine code are one.
local code = worker:syscall("mmap", 0, 4096, PROT_RWX, MAP_PRIVATE_ANONYMOUS, -1, 0)
worker:write_mem(code, "\xc3") -- ret
worker:write_mem(code + 16, "\xb8\x0f\0\0\0\x0f\x05") -- mov $15 (rt_sigreturn), %eax; syscall

-- struct sigaction of the kernel { handler, flags, restorer, mask }
local function handle(flags)
    local action = provium.pack("u64 u64 u64 u64", code, SA_RESTORER | flags, code + 16, 0)
    assert_eq(0, worker:syscall_buf("rt_sigaction", 1, action, SIGUSR1, 0, 0, 8))
end

local function read()
    return provium.async(function()
        local n, data = worker:syscall_bufs("read", { [1] = ("\0"):rep(64) }, fd, 0, 64)
        return n, data:sub(1, math.max(n, 0))
    end)
end

local function wait_until_it_reads()
    vm:wait_until(function() -- 0 is read's number; the next field is the descriptor
        return vm:exec("cat /proc/" .. pid .. "/syscall").stdout.starts_with(("0 0x%x "):format(fd))
    end, { interval = "50ms", timeout = "1m", desc = "the worker reads" })
end

test("a handler without SA_RESTART: the read ends with EINTR", function()
    handle(0)
    local task = read()
    wait_until_it_reads()
    assert(not task:done())
    assert_eq(0, vm:syscall("kill", pid, SIGUSR1))
    assert_eq(-EINTR, (task:wait("1m")))
end)

test("a handler with SA_RESTART: the read goes on, until there is something", function()
    handle(SA_RESTART)
    local task = read()
    wait_until_it_reads()
    assert_eq(0, vm:syscall("kill", pid, SIGUSR1))
    wait_until_it_reads()
    assert_eq(0, vm:exec("printf something > " .. other_side).exit_code)
    local n, data = task:wait("1m")
    assert(n > 0, "read: " .. n)
    assert_eq("something", data)
end)

vm:shutdown()
