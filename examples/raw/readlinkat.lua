-- readlinkat: one buffer that is read and one that is written, in the same call.

local vm = provium.create()
vm:boot()

local AT_FDCWD = -100
local ENOENT, EINVAL = 2, 22

-- readlinkat(dirfd, path, buf, bufsiz), readlink(2): paths end with a NUL, the result does not.
local function readlink(path, size)
    local n, _, buf = vm:syscall_bufs("readlinkat", { [1] = path .. "\0", [2] = ("\xff"):rep(size) },
        AT_FDCWD, 0, 0, size)
    return n, buf
end

test("a link is read", function()
    assert_eq(0, vm:syscall_bufs("symlinkat", { [0] = "/some/where\0", [2] = "/tmp/link\0" }, 0, AT_FDCWD, 0))
    local n, buf = readlink("/tmp/link", 64)
    assert_eq(11, n)
    assert_eq("/some/where", buf:sub(1, n))
    assert_eq(("\xff"):rep(53), buf:sub(n + 1)) -- nothing behind it was touched
end)

test("a buffer that is too small gets what fits", function()
    local n, buf = readlink("/tmp/link", 5)
    assert_eq(5, n)
    assert_eq("/some", buf)
end)

test("errors are negative errno, never raised", function()
    assert_eq(-ENOENT, (readlink("/tmp/none", 64)))
    assert_eq(-EINVAL, (readlink("/tmp", 64)))
end)

vm:shutdown()
