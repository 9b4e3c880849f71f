-- stat, list, exists, mkdir, remove, rename, symlink, chmod, chown, and parts of files.

local each = dofile("lib/api/each.lua")
local bytes = dofile("lib/api/bytes.lua")
local name_bytes = bytes:gsub("[\0/]", "") -- of these a name may consist

local function raises(path, text, fn)
    local e = assert_error(fn)
    assert_contains(e, path)
    assert_contains(e, text)
end

each(function(vm, case)
    local dir = "/tmp/ops"
    vm:mkdir(dir)

    case("stat has every field", function()
        local f = dir .. "/f"
        vm:write_file(f, "12345", { mode = "4751" })
        vm:chown(f, 12, 345)
        local st = vm:stat(f)
        assert_eq("file", st.type)
        assert_eq(tonumber("0751", 8), st.mode & tonumber("0777", 8)) -- chown(2) may clear the set-id bits
        assert_eq({ 12, 345, 5, 1, 0 }, { st.uid, st.gid, st.size, st.nlink, st.rdev })
        assert_eq(vm:exec("stat -c '%i %d %Y' " .. f).stdout.trim(),
            ("%d %d %d"):format(st.ino, st.dev, math.floor(st.mtime)))
        assert_eq("integer", math.type(st.mode))
        for _, key in ipairs({ "atime", "mtime", "ctime" }) do
            assert_eq("float", math.type(st[key]))
            assert(math.abs(st[key] - tonumber(vm:exec("date +%s").stdout.trim())) < 600, key .. " is " .. st[key])
        end
        vm:exec("touch -d '2001-02-03 04:05:06' " .. f)
        assert_eq(tonumber(vm:exec("stat -c %Y " .. f).stdout.trim()), vm:stat(f).mtime)
    end)

    case("stat knows every type", function()
        assert(vm:exec("cd /tmp/ops && mkfifo fifo && mknod block b 7 0 && mknod char c 1 3").ok)
        vm:symlink("f", dir .. "/link")
        local fd = vm:syscall("socket", 1, 1, 0)
        assert_eq(0, vm:syscall_buf("bind", 1, "\1\0" .. dir .. "/socket\0", fd, 0, #dir + 10))
        local types = { f = "file", fifo = "fifo", block = "block", char = "char", socket = "socket" }
        for name, want in pairs(types) do assert_eq(want, vm:stat(dir .. "/" .. name).type) end
        assert_eq("dir", vm:stat(dir).type)
        assert_eq((1 << 8) + 3, vm:stat(dir .. "/char").rdev)
        assert_eq("file", vm:stat(dir .. "/link", { follow = true }).type)
        assert_eq("link", vm:stat(dir .. "/link").type)
        vm:syscall("close", fd)
        vm:symlink("nowhere", dir .. "/dangling")
        assert_eq(nil, vm:stat(dir .. "/dangling", { follow = true }))
        assert_eq("link", vm:stat(dir .. "/dangling").type)
        assert_eq(false, vm:exists(dir .. "/dangling", { follow = true }))
        assert_eq(true, vm:exists(dir .. "/dangling"))
    end)

    case("what is not there is nil; other errors raise", function()
        assert_eq(nil, vm:stat("/none"))
        assert_eq(nil, vm:stat("/etc/passwd/x"))
        assert_eq({ true, false, false }, { vm:exists("/"), vm:exists("/none"), vm:exists("/etc/passwd/x") })
        vm:symlink("loop", dir .. "/loop")
        raises(dir .. "/loop", "Too many levels of symbolic links", function() vm:stat(dir .. "/loop", { follow = true }) end)
        raises("stat", "File name too long", function() vm:exists("/" .. ("x"):rep(300)) end)
    end)

    case("list is sorted, with names of any bytes", function()
        local d = dir .. "/list"
        vm:mkdir(d)
        assert_eq({}, vm:list(d))
        local want = { "\1", " a", "-n", "..x", "B", "a\nb", "b", "\xff\xfe" }
        for i = #want, 1, -1 do vm:write_file(d .. "/" .. want[i], "") end
        vm:mkdir(d .. "/zz")
        table.insert(want, 8, "zz")
        assert_eq(want, vm:list(d))
        vm:write_file(d .. "/" .. name_bytes:sub(1, 253), "")
        assert_eq(name_bytes:sub(1, 253), vm:list(d)[2])
        raises("/none", "No such file or directory", function() vm:list("/none") end)
        raises(dir .. "/f", "Not a directory", function() vm:list(dir .. "/f") end)
    end)

    case("a directory of 20000 names", function()
        vm:mkdir("/tmp/many")
        assert(vm:exec("cd /tmp/many && i=0; while [ $i -lt 20000 ]; do : >$i; i=$((i+1)); done", { timeout = "5m" }).ok)
        local names = vm:list("/tmp/many")
        assert_eq({ 20000, "0", "9999" }, { #names, names[1], names[20000] })
        vm:remove("/tmp/many", { recursive = true })
        assert_eq(false, vm:exists("/tmp/many"))
    end)

    case("mkdir", function()
        local d = dir .. "/mkdir"
        vm:mkdir(d, { mode = "1700" })
        assert_eq(tonumber("1700", 8), vm:stat(d).mode)
        raises(d, "File exists", function() vm:mkdir(d) end)
        raises(d, "No such file", function() vm:mkdir(d .. "/a/b") end)
        vm:mkdir(d .. "/a/b/c/", { parents = true, mode = "0711" })
        assert_eq(tonumber("0755", 8), vm:stat(d .. "/a/b").mode)
        assert_eq(tonumber("0711", 8), vm:stat(d .. "/a/b/c").mode)
        vm:mkdir(d .. "/a/b", { parents = true })
        raises(dir .. "/f", "Not a directory", function() vm:mkdir(dir .. "/f/x", { parents = true }) end)
    end)

    case("remove", function()
        local d = dir .. "/remove"
        vm:mkdir(d .. "/sub/subsub", { parents = true })
        vm:write_file(d .. "/sub/x", "x")
        vm:mkdir("/tmp/outside")
        vm:write_file("/tmp/outside/kept", "kept")
        vm:symlink("/tmp/outside", d .. "/sub/out")
        raises(d, "Directory not empty", function() vm:remove(d) end)
        raises("/none", "No such file or directory", function() vm:remove("/none") end)
        raises("/none", "No such file or directory", function() vm:remove("/none", { recursive = true }) end)
        vm:remove(d .. "/sub/x")
        vm:remove(d .. "/sub/subsub")
        vm:remove(d, { recursive = true })
        assert_eq(false, vm:exists(d))
        assert_eq({ "kept" }, vm:list("/tmp/outside"))
        vm:symlink("/tmp/outside", dir .. "/to-outside")
        vm:remove(dir .. "/to-outside", { recursive = true }) -- the link
        assert_eq({ "kept" }, vm:list("/tmp/outside"))
        vm:remove("/tmp/outside", { recursive = true })
    end)

    case("a recursive remove stops at a mount point", function()
        local d = dir .. "/mounted"
        vm:mkdir(d .. "/a/there", { parents = true })
        vm:mkdir(dir .. "/bound")
        vm:write_file(dir .. "/bound/kept", "kept")
        assert(vm:exec(("mount --bind %s/bound %s/a/there || mount -o bind %s/bound %s/a/there"):format(dir, d, dir, d)).ok)
        raises("'there'", "Device or resource busy", function() vm:remove(d, { recursive = true }) end)
        raises(d .. "/a/there", "busy", function() vm:remove(d .. "/a/there", { recursive = true }) end)
        assert_eq("kept", vm:read_file(dir .. "/bound/kept"))
        assert(vm:exec("umount " .. d .. "/a/there").ok)
        vm:remove(d, { recursive = true })
        assert_eq("kept", vm:read_file(dir .. "/bound/kept"))
        assert_error(function() vm:remove("/", { recursive = true }) end, "busy")
        assert_error(function() vm:remove("/proc", { recursive = true }) end, "busy")
    end)

    case("rename, symlink, chmod, chown", function()
        vm:write_file(dir .. "/old", "o")
        vm:rename(dir .. "/old", dir .. "/new")
        assert_eq({ false, "o" }, { vm:exists(dir .. "/old"), vm:read_file(dir .. "/new") })
        local e = assert_error(function() vm:rename(dir .. "/old", "/none/x") end)
        assert_contains(e, dir .. "/old")
        assert_contains(e, "/none/x")
        assert_contains(e, "No such file or directory")
        raises("/proc/x", "Invalid cross-device link", function() vm:rename(dir .. "/new", "/proc/x") end)
        vm:symlink("../" .. name_bytes, dir .. "/odd")
        assert_eq("../" .. name_bytes, vm:exec({ "readlink", "-n", dir .. "/odd" }).stdout.value)
        raises(dir .. "/odd", "File exists", function() vm:symlink("x", dir .. "/odd") end)
        vm:chmod(dir .. "/new", "2705")
        assert_eq(tonumber("2705", 8), vm:stat(dir .. "/new").mode)
        vm:chmod(dir .. "/new", tonumber("0600", 8))
        vm:chown(dir .. "/new", 7, -1)
        vm:chown(dir .. "/new", -1, 4294967294)
        local st = vm:stat(dir .. "/new")
        assert_eq({ 7, 4294967294, tonumber("0600", 8) }, { st.uid, st.gid, st.mode })
        raises("/none", "No such file or directory", function() vm:chmod("/none", "0644") end)
        raises("/none", "No such file or directory", function() vm:chown("/none", 0, 0) end)
    end)

    case("parts of a file", function()
        local f = dir .. "/part"
        vm:write_file(f, bytes)
        assert_eq(bytes:sub(11), vm:read_file(f, { offset = 10 }))
        assert_eq(bytes:sub(1, 5), vm:read_file(f, { length = 5 }))
        assert_eq(bytes:sub(11, 15), vm:read_file(f, { offset = 10, length = 5 }))
        assert_eq("\xff", vm:read_file(f, { offset = 255, length = 1000 }))
        assert_eq("", vm:read_file(f, { offset = 256 }))
        assert_eq("", vm:read_file(f, { offset = 1 << 62, length = 1 }))
        assert_eq("", vm:read_file(f, { length = 0 }))
        assert_eq(4096, #vm:read_file("/dev/zero", { length = 4096 }))
        assert_eq("Linux", vm:read_file("/proc/version", { length = 5 }))
        raises("/none", "No such file", function() vm:read_file("/none", { length = 0 }) end)
        vm:write_file(f, "more", { append = true })
        vm:write_file(f, "", { append = true })
        assert_eq(bytes .. "more", vm:read_file(f))
        vm:write_file(dir .. "/fresh", "1", { append = true, mode = "0600" })
        vm:write_file(dir .. "/fresh", ("x"):rep(1000001), { append = true })
        assert_eq({ 1000002, tonumber("0600", 8) }, { vm:stat(dir .. "/fresh").size, vm:stat(dir .. "/fresh").mode })
        vm:write_file(f, "new")
        assert_eq("new", vm:read_file(f))
    end)

    case("a worker has its own credentials for all of them", function()
        local w = vm:spawn()
        vm:mkdir(dir .. "/shut", { mode = "0700" })
        vm:write_file(dir .. "/shut/x", "x")
        assert_eq(0, w:syscall("setuid", 12345))
        raises(dir .. "/shut/x", "Permission denied", function() w:stat(dir .. "/shut/x") end)
        raises(dir .. "/shut", "Permission denied", function() w:list(dir .. "/shut") end)
        raises(dir .. "/w", "Permission denied", function() w:mkdir(dir .. "/w") end)
        raises(dir .. "/shut", "Permission denied", function() w:remove(dir .. "/shut", { recursive = true }) end)
        raises(dir .. "/f", "not permitted", function() w:chown(dir .. "/f", 12345, -1) end)
        assert_eq("dir", w:stat(dir).type)
        assert_eq("x", vm:read_file(dir .. "/shut/x"))
        w:kill()
    end)

    case("a root without a shell, and one that is read-only", function()
        local w = vm:spawn()
        vm:mkdir("/tmp/empty-root/in", { parents = true })
        assert_eq(0, w:syscall("unshare", 0x20000)) -- CLONE_NEWNS
        assert_eq(0, w:syscall_buf("chroot", 0, "/tmp/empty-root\0"))
        assert_eq(0, w:syscall_buf("chdir", 0, "/\0"))
        assert_eq({ "in" }, w:list("/"))
        w:write_file("/in/f", "12")
        w:mkdir("/a/b", { parents = true })
        w:symlink("in/f", "/l")
        w:rename("/a", "/c")
        w:chmod("/in/f", "0640")
        assert_eq({ "c", "in", "l" }, w:list("/"))
        assert_eq({ "2", 2, true },
            { w:read_file("/l", { offset = 1 }), w:stat("/l", { follow = true }).size, w:exists("/c/b") })
        w:remove("/c", { recursive = true })
        w:kill()
        vm:remove("/tmp/empty-root", { recursive = true })
        assert(vm:exec("mkdir /tmp/ro && mount -t tmpfs none /tmp/ro && echo hi >/tmp/ro/f && mkdir /tmp/ro/d && " ..
            "mount -o remount,ro /tmp/ro").ok)
        assert_eq({ "d", "f" }, vm:list("/tmp/ro"))
        vm:mkdir("/tmp/ro/d", { parents = true })
        for _, fn in ipairs({
            function() vm:mkdir("/tmp/ro/x") end,
            function() vm:remove("/tmp/ro/f") end,
            function() vm:remove("/tmp/ro/d", { recursive = true }) end,
            function() vm:rename("/tmp/ro/f", "/tmp/ro/g") end,
            function() vm:symlink("f", "/tmp/ro/l") end,
            function() vm:chmod("/tmp/ro/f", "0600") end,
            function() vm:chown("/tmp/ro/f", 1, 1) end,
            function() vm:write_file("/tmp/ro/f", "x", { append = true }) end,
        }) do
            raises("/tmp/ro/", "Read-only file system", fn)
        end
        assert(vm:exec("umount /tmp/ro && rmdir /tmp/ro").ok)
    end)

    vm:remove(dir, { recursive = true })
end, { timeout = "2m" })
