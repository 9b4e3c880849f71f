-- The built-in userland has what a plain Linux process expects; injected files that are given by their content.

local bytes = dofile("lib/api/bytes.lua")

local function device(vm, path) return vm:stat(path).dev end

test("proc, sys, dev, run and tmp are there, without mount_vfs", function()
    local vm <close> = provium.create("minimal", { name = "web" })
    vm:boot({ timeout = "2m" })
    assert_contains(vm:read_file("/proc/cmdline"), "console=ttyS0")
    assert(vm:exists("/sys/kernel"))
    local mounts = vm:read_file("/proc/mounts")
    for _, want in ipairs({ "proc /proc proc ", "sysfs /sys sysfs ", "devtmpfs /dev devtmpfs ", "devpts /dev/pts devpts ",
        "tmpfs /dev/shm tmpfs ", "tmpfs /run tmpfs ", "tmpfs /tmp tmpfs " }) do
        assert_contains(mounts, want)
    end
    assert_eq(tonumber("1777", 8), vm:stat("/tmp").mode)
    assert_eq(tonumber("1777", 8), vm:stat("/dev/shm").mode)
    assert_eq(tonumber("755", 8), vm:stat("/run").mode)
    assert_eq("char", vm:stat("/dev/null").type)
    assert_eq("through", vm:exec("echo through | cat /dev/stdin; : >/dev/stderr").stdout.trim())
    local pty = vm:syscall_buf("openat", 1, "/dev/ptmx\0", -100, 0, 2)
    assert(pty >= 0, "open /dev/ptmx: " .. pty)
    assert_eq({ "0", "ptmx" }, vm:list("/dev/pts"))
    vm:mount_vfs() -- goes on to work
    vm:mount_vfs()
    assert(vm:exists("/sys/kernel/security"))
    assert_eq({}, vm:reports())
end)

test("the hostname is the VM's name, and loopback is up", function()
    local vm <close> = provium.create("minimal", { name = "web-1.example" })
    vm:boot({ timeout = "2m" })
    assert_eq("web-1.example", vm:exec("hostname").stdout.trim())
    assert_eq("web-1.example\n", vm:read_file("/etc/hostname"))
    assert_eq("web-1.example\n", vm:read_file("/proc/sys/kernel/hostname"))
    assert_contains(vm:exec("ip addr show lo").stdout, "127.0.0.1/8")
    assert_contains(vm:exec("ip link show lo").stdout, "LOWER_UP")
    vm:sh("mkfifo /tmp/open") -- a stdin without an end: nc would half-close at it, and the other nc end at that
    local r = vm:exec("nc -l -p 7777 <>/tmp/open >/tmp/got & sleep 1; echo hi | nc 127.0.0.1 7777; wait; cat /tmp/got",
        { timeout = 60 })
    assert_eq("hi", r.stdout.trim())
    assert_contains(tostring(vm), "web-1.example (minimal): running")
    assert_contains(assert_error(function() vm:read_file("/none", { timeout = "1ms", offset = -1 }) end), "offset")
    local fresh = provium.create("minimal")
    assert_contains(tostring(fresh), "vm")
    assert_error(function() provium.create("minimal", { name = "web-1.example" }) end, "there is a VM called 'web-1.example' already")
end)

test("files by their content: modes, owners, any bytes", function()
    local vm <close> = provium.create("minimal")
    local host = os.tmpname()
    local f = assert(io.open(host, "w"))
    f:write("from the host")
    f:close()
    assert(os.execute("chmod 750 " .. host))
    vm:boot({ timeout = "2m", files = {
        ["/etc/x"] = { content = bytes },
        ["/etc/deep/er/y"] = { content = "", mode = "4711", uid = 12, gid = 4294967294 },
        ["/etc/passwd"] = { content = "root:x:0:0::/:/bin/sh\n" }, -- replaces the archive's
        ["/opt/kept"] = { path = host },
        ["/opt/changed"] = { path = host, mode = tonumber("600", 8), uid = 7 },
        ["/opt/plain"] = host,
        ["/tmp/in/tmp"] = { content = "on the tmpfs", mode = "0640", gid = 5 },
        ["/run/in-run"] = { content = "r" },
        ["/etc/hostname"] = { content = "mine\n" },
    } })
    os.remove(host)
    local function is(path, mode, uid, gid, content)
        local st = vm:stat(path)
        assert_eq({ tonumber(mode, 8), uid, gid, "file" }, { st.mode, st.uid, st.gid, st.type }, path)
        assert_eq(content, vm:read_file(path))
    end
    is("/etc/x", "644", 0, 0, bytes)
    is("/etc/deep/er/y", "4711", 12, 4294967294, "")
    is("/etc/passwd", "644", 0, 0, "root:x:0:0::/:/bin/sh\n")
    is("/opt/kept", "750", 0, 0, "from the host")
    is("/opt/changed", "600", 7, 0, "from the host")
    is("/opt/plain", "750", 0, 0, "from the host")
    is("/tmp/in/tmp", "640", 0, 5, "on the tmpfs")
    is("/run/in-run", "644", 0, 0, "r")
    is("/etc/hostname", "644", 0, 0, "mine\n")
    assert_eq(device(vm, "/tmp"), device(vm, "/tmp/in/tmp"))
    assert_ne(device(vm, "/"), device(vm, "/tmp"))
    assert_eq(tonumber("1777", 8), vm:stat("/tmp").mode)
end)

test("files by their content in a root image, over virtio-serial too", function()
    local vm <close> = provium.create("root-ext4")
    vm:boot({ timeout = "2m", transport = "serial", files = { ["/etc/x"] = { content = bytes, mode = "0600", uid = 3 } } })
    local st = vm:stat("/etc/x")
    assert_eq({ tonumber("600", 8), 3, 0 }, { st.mode, st.uid, st.gid })
    assert_eq(bytes, vm:read_file("/etc/x"))
end)

test("append comes last", function()
    local vm <close> = provium.create("minimal")
    vm:boot({ timeout = "2m", append = "loglevel=3 mine=1" })
    assert_eq("loglevel=3 mine=1", vm:read_file("/proc/cmdline"):trim():sub(-17))
    assert_eq("3", vm:read_file("/proc/sys/kernel/printk"):match("^%d+"))
end)
