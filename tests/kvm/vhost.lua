-- The vhost-vsock of the host's kernel as the channel. Run by `make check-kvm`, whose emulated machine loads the module.

local device = io.open("/dev/vhost-vsock", "r+")
if not device then
    test("vhost-vsock", { skip = "/dev/vhost-vsock can not be opened here" }, function() end)
    return
end
device:close()

local program, provium_program = "build/tests/kvm/vsock", "build/provium"

local function sh(command)
    local p <close> = assert(io.popen("(" .. command .. ") 2>&1"))
    return p:read("a")
end

local function text_of(path)
    local f <close> = io.open(path)
    return f and f:read("a") or ""
end

-- command goes on beside the test, its output in the file that is returned with its pid.
local function background(command)
    local out = os.tmpname()
    os.execute(command .. " >" .. out .. " 2>&1 </dev/null & echo $! >" .. out .. ".pid")
    return out, text_of(out .. ".pid"):match("%d+")
end

-- {[CID] = QEMU's pid} of this host; of the children of the process `parent` alone if it is given.
local function qemus(parent)
    local found = {}
    for pid in sh("ls /proc"):gmatch("%d+") do
        local cid = text_of("/proc/" .. pid .. "/cmdline"):match("vhost%-vsock%-pci,vhostfd=%d+,guest%-cid=(%d+)")
        local of = text_of("/proc/" .. pid .. "/status"):match("PPid:%s*(%d+)")
        if cid and (not parent or of == parent) then found[tonumber(cid)] = tonumber(pid) end
    end
    return found
end

local me = text_of("/proc/self/stat"):match("%d+")

local function boot()
    local vm = provium.create()
    vm:boot({ transport = "vsock", memory = "256M", files = { ["/vsock"] = program } })
    vm:mount_vfs()
    return vm, tonumber(vm:exec("/vsock cid").stdout.value)
end

local function wait_for(what, done)
    local deadline = provium.now() + 120
    while not done() do
        assert(provium.now() < deadline, "waited 120 s for " .. what)
        provium.sleep("200ms")
    end
end

local vm, cid = boot()
local qemu = qemus(me)[cid]

test("the kernel's device carries the VM", function()
    assert(qemu, "no QEMU has the guest's CID, " .. cid)
    assert_contains(sh(provium_program .. " doctor"), "vhost-vsock: /dev/vhost-vsock of the host's kernel")
end)

test("commands and files", function()
    local bytes = ("0123456789abcdef"):rep(1 << 18)
    vm:write_file("/tmp/bytes", bytes)
    assert_eq(true, bytes == vm:read_file("/tmp/bytes"))
    assert_eq(true, bytes == vm:exec("cat", { stdin = bytes, timeout = "120s" }).stdout.value)
    local r = vm:exec("echo out; echo err >&2; exit 3")
    assert_eq("out\n", r.stdout.value)
    assert_eq("err\n", r.stderr.value)
    assert_eq(3, r.exit_code)
    local from = provium.now()
    for _ = 1, 50 do vm:exec("true") end
    log(("a command takes %.1f ms"):format((provium.now() - from) * 20))
end)

test("a pause while a command prints", function()
    local p = vm:start("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; sleep 1; echo end")
    vm:pause()
    provium.sleep("5s") -- more than a connection attempt of the kernel's takes
    vm:resume()
    assert_contains(p:wait("120s").stdout.value, "line 1999\nend\n")
end)

-- The system calls by which a worker begins end it.
local function forbid_open(worker)
    local at = worker:alloc(4096)
    local filter = { { 0x20, 0, 0, 0 }, { 0x15, 2, 0, 2 }, { 0x15, 1, 0, 257 }, { 6, 0, 0, 0x7fff0000 }, { 6, 0, 0, 0x80000000 } }
    local bytes = provium.pack("u16 u16 u32 u64", #filter, 0, 0, at + 16)
    for _, i in ipairs(filter) do bytes = bytes .. provium.pack("u16 u8 u8 u32", table.unpack(i)) end
    worker:write_mem(at, bytes)
    assert_eq(0, worker:syscall("prctl", 38, 1, 0, 0, 0))
    assert_eq(0, worker:syscall("seccomp", 1, 0, at))
end

test("a worker that is gone", function()
    forbid_open(vm)
    local from = provium.now()
    assert_error(function() vm:spawn({ timeout = "30s" }) end, "is gone: Connection refused")
    assert(provium.now() - from < 20)
end)

test("a guest without the driver", function()
    assert_error(function()
        provium.create():boot({ transport = "vsock", memory = "256M", timeout = "3s",
            append = "module_blacklist=vmw_vsock_virtio_transport" })
    end, "nothing in the guest answers: its vsock driver is not up, or nothing listens")
end)

test("reboot and reset end what was open", function()
    local id = "/proc/sys/kernel/random/boot_id"
    for _, again in ipairs({ "reboot", "reset" }) do
        local before = vm:read_file(id)
        local p, w = vm:start("sleep 1000"), vm:spawn()
        vm[again](vm, "300s")
        vm:mount_vfs()
        assert_ne(before, vm:read_file(id))
        assert_error(function() p:wait("60s") end, again)
        assert_error(function() w:exec("true") end, again)
    end
    assert_eq(qemu, qemus(me)[cid])
end)

test("VMs beside each other", function()
    local other, theirs = boot()
    assert_ne(cid, theirs)
    assert_contains(sh(program .. " hold " .. cid), "Address in use") -- of musl
    vm:write_file("/tmp/who", "first")
    other:write_file("/tmp/who", "second")
    assert_eq("first", vm:read_file("/tmp/who"))
    assert_eq("second", other:read_file("/tmp/who"))
    assert_ne("answered\n", other:exec("/vsock dial " .. cid .. " 5123", { timeout = "60s" }).stdout.value)
    -- The emulated machine's own agent, if its channel is vsock, as check-kvm has it: it serves its host alone.
    assert_ne("answered\n", other:exec("/vsock dial 2 5123", { timeout = "60s" }).stdout.value)
    sh("kill -9 " .. qemus(me)[theirs])
    assert_error(function() other:exec("true") end, "QEMU")
    assert_contains(tostring(other), "dead")
    local out, pid = background(program .. " hold " .. theirs)
    wait_for("the CID", function() return text_of(out) ~= "" end)
    sh("kill " .. pid)
    assert_eq("held\n", text_of(out))
    assert_eq("fine\n", vm:exec("echo fine").stdout.value)
end)

test("a run beside this one that is killed", function()
    local dir = sh("mktemp -d"):match("%S+")
    local f = assert(io.open(dir .. "/a.lua", "w"))
    f:write('local vm = provium.create(); vm:boot({ transport = "vsock", memory = "256M" })\n',
        'print("up"); vm:exec("sleep 1000", { timeout = "2000s" })\n')
    f:close()
    local known = qemus()
    local out, pid = background(provium_program .. " test --accel kvm --config tests/kvm/provium.toml " .. dir .. "/a.lua")
    local its
    wait_for("its QEMU", function()
        for c in pairs(qemus()) do if not known[c] then its = c end end
        return its
    end)
    -- As soon as its agent takes connections it runs.
    wait_for("its agent", function() return sh(program .. " dial " .. its .. " 5123") == "answered\n" end)
    assert_eq("fine\n", vm:exec("echo fine").stdout.value)
    sh("kill -9 " .. pid)
    wait_for("the end of its QEMU: " .. text_of(out), function() return not qemus()[its] end)
    assert_eq("fine\n", vm:exec("echo fine").stdout.value)
    sh("rm -rf " .. dir)
end)

test("a user without the right to the device", {
    skip = sh("id -u") ~= "0\n" and "only root can become another user" or nil }, function()
    local doctor = sh("HOME=/tmp XDG_CACHE_HOME= " .. program .. " as 65534 " .. provium_program .. " doctor")
    assert_contains(doctor, "vhost-user-vsock: Provium's own device (no permission for /dev/vhost-vsock")
end)

test("a panic", function()
    assert_error(function() vm:exec("echo c >/proc/sysrq-trigger", { timeout = "120s" }) end, "panic")
    assert_contains(tostring(vm), "dead")
end)
