-- Root images: mounted read-only, writable everywhere through an overlay in RAM, the host's file untouched.

local function sum(path)
    local p = io.popen("sha256sum <'" .. path .. "'")
    local s = p:read("a")
    p:close()
    return s
end

local images = "build/test-images/"

for profile, want in pairs({
    ["root-ext4"] = { "root.ext4", "from the image" },
    ["root-squashfs"] = { "root.squashfs", "from the image" },
    ["root-qcow2"] = { "root.qcow2", "from the image" },
    ["root-part"] = { "parts.img", "from the large partition" },
    ["root-part-label"] = { "parts.img", "from the small partition" },
}) do
    test(profile, function()
        local before = sum(images .. want[1])
        local vm = provium.create(profile)
        vm:boot()
        assert_eq(want[2], vm:exec("cat /etc/origin").stdout.trim())
        vm:write_file("/etc/origin", "changed")
        vm:write_file("/sbin/new", "new")
        assert_eq("changed", vm:read_file("/etc/origin"))
        assert_eq(true, vm:exec("rm -r /usr/share && mkdir /usr/share").ok)
        vm:mount_vfs()
        assert_eq("init", vm:exec("cat /proc/1/comm").stdout.trim())
        assert_contains(vm:read_file("/proc/self/mounts"), "overlay")
        vm:shutdown()
        assert_eq(before, sum(images .. want[1]))
    end)
end

test("rootflags are the options of its mount", function()
    local vm = provium.create("root-flags")
    vm:boot()
    assert(#vm:dmesg("EXT4 FS bs=") > 0, "the option 'debug' of ext4 shows nothing")
    vm:kill()
    assert_error(function() provium.create("root-wrong-flags"):boot() end,
        "cannot mount /dev/vda %(ext4%) with rootflags subvol=@: Invalid argument")
end)

test("the same image in two VMs at once", function()
    local a, b = provium.create("root-ext4"), provium.create("root-ext4")
    a:boot()
    b:boot()
    a:write_file("/etc/origin", "a")
    assert_eq("from the image\n", b:read_file("/etc/origin"))
    provium.shutdown_all()
end)

test("disks follow the root image", function()
    local path = os.tmpname()
    assert(os.execute("truncate -s 3M " .. path))
    local vm = provium.create("root-ext4")
    vm:boot({ disks = { { path = path } } })
    vm:mount_vfs()
    assert_eq(tostring(3 * 2048), vm:exec("cat /sys/block/vdb/size").stdout.trim())
    vm:kill()
    os.remove(path)
end)

test("initrd and rootfs: boots from the initrd, the image is a block device", function()
    local vm = provium.create("initrd-and-rootfs")
    vm:boot()
    assert_eq(false, vm:exec("test -e /etc/origin").ok)
    assert_eq("from the image", vm:exec("mkdir -p /m && mount -t ext4 -o ro /dev/vda /m && cat /m/etc/origin").stdout.trim())
    assert_eq(false, vm:exec("printf x | dd of=/dev/vda conv=fsync").ok)
    vm:shutdown()
end)
