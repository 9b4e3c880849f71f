-- io_uring without a library: set up by raw calls, its rings mapped and used through read_mem and write_mem.
-- io_uring_setup(2), io_uring_enter(2), linux/io_uring.h.

local vm = provium.create()
vm:boot()

local ENOSYS, EBADF = 38, 9
local IORING_OFF_SQES, IORING_ENTER_GETEVENTS = 0x10000000, 1
local IORING_OP_NOP, IORING_OP_READ = 0, 22
local PROT_READ_WRITE, MAP_SHARED_POPULATE = 3, 0x8001

-- struct io_uring_params has 120 bytes; the offsets of the two rings are at 40 and 80.
local ring, params = vm:syscall_bufs("io_uring_setup", { [1] = ("\0"):rep(120) }, 4)
if ring == -ENOSYS then skip("this kernel has no io_uring") end
assert(ring >= 0, "io_uring_setup: " .. ring)
local sq_entries, cq_entries = provium.unpack("u32 u32", params)
local sq_head, sq_tail, sq_mask, _, _, _, sq_array = provium.unpack("u32 u32 u32 u32 u32 u32 u32", params:sub(41))
local cq_head, cq_tail, cq_mask, _, _, cqes = provium.unpack("u32 u32 u32 u32 u32 u32", params:sub(81))

local function map(size, offset)
    local at = vm:syscall("mmap", 0, size, PROT_READ_WRITE, MAP_SHARED_POPULATE, ring, offset)
    assert(at > 0 or at < -4095, "mmap: " .. at)
    return at
end
local rings = map(math.max(sq_array + 4 * sq_entries, cqes + 16 * cq_entries), 0)
local sqes = map(64 * sq_entries, IORING_OFF_SQES)

local function get(offset) return (provium.unpack("u32", vm:read_mem(rings + offset, 4))) end
local function set(offset, value) vm:write_mem(rings + offset, provium.pack("u32", value)) end

-- Submits one entry and returns the result of its completion.
local function submit(op, fd, address, len, user_data)
    local tail = get(sq_tail)
    local index = tail & get(sq_mask)
    -- struct io_uring_sqe { u8 opcode, flags; u16 ioprio; i32 fd; u64 off, addr; u32 len, rw_flags; u64 user_data; ... }
    local sqe = provium.pack("u8 u8 u16 i32 u64 u64 u32 u32 u64", op, 0, 0, fd, 0, address, len, 0, user_data)
    vm:write_mem(sqes + 64 * index, sqe .. ("\0"):rep(64 - #sqe))
    set(sq_array + 4 * index, index)
    set(sq_tail, tail + 1)
    assert_eq(1, vm:syscall("io_uring_enter", ring, 1, 1, IORING_ENTER_GETEVENTS, 0, 0))
    local head = get(cq_head)
    assert_eq(head + 1, get(cq_tail))
    local data, res = provium.unpack("u64 i32", vm:read_mem(rings + cqes + 16 * (head & get(cq_mask)), 16))
    assert_eq(user_data, data)
    set(cq_head, head + 1)
    return res
end

test("a request that does nothing", function()
    assert_eq(0, submit(IORING_OP_NOP, -1, 0, 0, 0xfedcba9876543210))
    assert_eq(get(sq_tail), get(sq_head))
end)

test("reads of a file into memory of the test, around the ring", function()
    vm:write_file("/tmp/data", "read by io_uring")
    local fd = vm:syscall_buf("openat", 1, "/tmp/data\0", -100, 0, 0)
    local into = vm:alloc(4096)
    for i = 1, 2 * sq_entries do
        vm:write_mem(into, ("\0"):rep(32))
        assert_eq(16, submit(IORING_OP_READ, fd, into, 4096, i))
        assert_eq("read by io_uring\0", vm:read_mem(into, 17))
    end
    assert_eq(-EBADF, submit(IORING_OP_READ, 999, into, 4096, 1))
    vm:free(into)
end)

vm:shutdown()
