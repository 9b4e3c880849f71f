-- vm:boot: a handle starts nothing; memory, cpus, the default guest, its vsock device.

test("create starts nothing", function()
    local vm = provium.create("minimal")
    assert_error(function() vm:exec("true") end, "not booted")
end)

test("defaults: 512M and one CPU", function()
    local vm = provium.create("minimal")
    vm:boot()
    local kb = tonumber(tostring(vm:exec("cat /proc/meminfo || { mount -t proc p /proc; cat /proc/meminfo; }").stdout):match("MemTotal:%s+(%d+)"))
    assert(kb > 400 * 1024 and kb < 512 * 1024, "MemTotal is " .. kb)
    assert_eq("1", vm:exec("nproc").stdout.trim())
    vm:shutdown()
end)

test("memory and cpus", function()
    local vm = provium.create("minimal")
    vm:boot({ memory = "1G", cpus = 2 })
    vm:mount_vfs()
    local kb = tonumber(tostring(vm:read_file("/proc/meminfo")):match("MemTotal:%s+(%d+)"))
    assert(kb > 900 * 1024 and kb < 1024 * 1024, "MemTotal is " .. kb)
    assert_eq("2", vm:exec("nproc").stdout.trim())
    vm:shutdown()
end)

local vm = provium.create() -- the profile "default"
vm:boot()

test("the guest has a vsock device with its own driver", function()
    assert_eq(true, vm:exec("test -c /dev/vsock").ok)
    vm:mount_vfs()
    assert_contains(vm:read_file("/proc/modules"), "vmw_vsock_virtio_transport ")
end)

test("init is PID 1 and the agent is not", function()
    vm:mount_vfs()
    assert_eq("init", vm:exec("cat /proc/1/comm").stdout.trim())
    assert_contains(vm:exec("cat /proc/*/comm").stdout.value, "provium-agent")
end)

test("nothing of the harness is left in the guest's root", function()
    assert_eq("", vm:exec("ls -d /provium* /.provium 2>/dev/null").stdout.value)
end)

test("boot twice is an error that names the state", function()
    assert_error(function() vm:boot() end, "running")
end)

test("the profile's env and append reach the guest", function()
    local e = provium.create("env")
    e:boot({ append = "provium.more=too" })
    assert_eq("blue /bin", e:exec("echo $COLOUR $PATH").stdout.trim())
    e:mount_vfs()
    local cmdline = e:read_file("/proc/cmdline")
    assert_contains(cmdline, "provium.test=marked")
    assert_contains(cmdline, "provium.more=too")
    e:kill()
end)

for _, profile in ipairs({ "initrd-gz", "initrd-zst" }) do
    test("boots from a compressed initrd: " .. profile, function()
        local c = provium.create(profile)
        c:boot()
        assert_eq("hi\n", c:exec("echo hi").stdout)
        c:kill()
    end)
end
