-- seccomp: a filter that forbids one system call, in a worker, so that it binds only the worker.

local vm = provium.create()
vm:boot()

-- linux/prctl.h, linux/seccomp.h, linux/audit.h
local PR_SET_NO_NEW_PRIVS = 38
local SECCOMP_SET_MODE_FILTER = 1
local RET_ALLOW, RET_ERRNO, RET_KILL = 0x7fff0000, 0x00050000, 0x80000000 -- KILL: the whole process
local ARCH_X86_64 = 0xc000003e
local NR_UNAME, NR_GETCWD = 63, 79 -- asm/unistd_64.h
local EPERM = 1

-- struct sock_filter { u16 code; u8 jt; u8 jf; u32 k; }, linux/filter.h; codes of linux/bpf_common.h
local function op(code, k, jt, jf) return provium.pack("u16 u8 u8 u32", code, jt or 0, jf or 0, k) end
local LOAD, JEQ, RET = 0x20, 0x15, 0x06 -- BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K

-- On struct seccomp_data: int nr at 0, u32 arch at 4.
local function filter(nr, action)
    return table.concat({
        op(LOAD, 4),
        op(JEQ, ARCH_X86_64, 1, 0),
        op(RET, RET_KILL),
        op(LOAD, 0),
        op(JEQ, nr, 0, 1),
        op(RET, action),
        op(RET, RET_ALLOW),
    })
end

-- struct sock_fprog { u16 len; /* 6 bytes of padding */ struct sock_filter *filter; }
local function install(who, program)
    assert_eq(0, who:syscall("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    return (who:syscall_ptr("seccomp", { [2] = provium.pack("u16 u16 u32 u64", #program // 8, 0, 0, 0) },
        { { buf_idx = 2, ptr_offset = 8, data = program } }, SECCOMP_SET_MODE_FILTER, 0))
end

local function uname(who) return (who:syscall_bufs("uname", { [0] = ("\0"):rep(390) })) end

test("one call is refused, in the worker alone", function()
    local worker = vm:spawn()
    assert_eq(0, uname(worker))
    assert_eq(0, install(worker, filter(NR_UNAME, RET_ERRNO | EPERM)))
    assert_eq(-EPERM, uname(worker))
    assert(worker:syscall("getpid") > 0)
    assert_eq(0, uname(vm))
    worker:kill()
end)

test("a worker that the filter kills says how it ended", function()
    local worker = vm:spawn()
    assert_eq(0, install(worker, filter(NR_GETCWD, RET_KILL)))
    assert_error(function() worker:syscall_bufs("getcwd", { [0] = ("\0"):rep(64) }, 0, 64) end, "SIGSYS")
    assert(vm:syscall("getpid") > 0)
end)

test("a program that can not be verified", function()
    assert_eq(-22, install(vm:spawn(), op(JEQ, 0, 200, 200))) -- EINVAL: it jumps out of itself
end)

vm:shutdown()
