-- Disks: order, formats, readonly, snapshot; the host's file changes only for a writable disk without snapshot.

local dir = os.tmpname()
os.remove(dir)
assert(os.execute("mkdir " .. dir))
local raw, qcow2, snap = dir .. "/raw, with comma.img", dir .. "/data.qcow2", dir .. "/snap.img"
assert(os.execute(string.format("truncate -s 4M '%s' && truncate -s 2M '%s' && qemu-img create -q -f qcow2 '%s' 8M", raw, snap, qcow2)))

local function sum(path)
    local p = io.popen("sha256sum <'" .. path .. "'")
    local s = p:read("a")
    p:close()
    return s
end

local before_qcow2, before_snap = sum(qcow2), sum(snap)

test("raw, qcow2 and snapshot, in list order", function()
    local vm = provium.create("minimal")
    vm:boot({ disks = {
        { path = raw, format = "raw" },
        { path = qcow2, format = "qcow2", readonly = true },
        { path = snap, snapshot = true },
    } })
    vm:mount_vfs()
    assert_eq(tostring(4 * 2048), vm:exec("cat /sys/block/vda/size").stdout.trim())
    assert_eq(tostring(8 * 2048), vm:exec("cat /sys/block/vdb/size").stdout.trim())
    assert_eq(tostring(2 * 2048), vm:exec("cat /sys/block/vdc/size").stdout.trim())
    assert_eq("1", vm:exec("cat /sys/block/vdb/ro").stdout.trim())
    assert_eq("0", vm:exec("cat /sys/block/vda/ro").stdout.trim())
    assert_eq(true, vm:exec("printf hello-host | dd of=/dev/vda conv=fsync 2>/dev/null").ok)
    assert_eq(false, vm:exec("printf no | dd of=/dev/vdb conv=fsync").ok)
    assert_eq(true, vm:exec("printf thrown-away | dd of=/dev/vdc conv=fsync 2>/dev/null").ok)
    assert_eq("thrown-away", vm:exec("head -c 11 /dev/vdc").stdout)
    vm:shutdown()
    local f = assert(io.open(raw, "rb"))
    assert_eq("hello-host", f:read(10))
    f:close()
    assert_eq(before_qcow2, sum(qcow2))
    assert_eq(before_snap, sum(snap))
end)

test("a file system on a disk can be mounted", function()
    assert(os.execute("mke2fs -q -t ext4 -F '" .. snap .. "' 2>/dev/null"))
    local vm = provium.create("minimal")
    vm:boot({ disks = { { path = snap } } })
    assert_eq(true, vm:exec("mkdir -p /mnt && mount -t ext4 /dev/vda /mnt && echo kept >/mnt/f && umount /mnt").ok)
    vm:shutdown()
    assert_contains(io.popen("debugfs -R 'cat f' '" .. snap .. "' 2>/dev/null"):read("a"), "kept")
end)

test("bad disks are refused before QEMU starts", function()
    local vm = provium.create("minimal")
    assert_error(function() vm:boot({ disks = { { path = dir .. "/none.img" } } }) end, "none%.img")
    assert_error(function() vm:boot({ disks = { { path = raw, format = "vmdk" } } }) end, "vmdk")
    assert_error(function() vm:boot({ disks = { { format = "raw" } } }) end, "path")
    assert_error(function() vm:boot({ disks = { { path = raw, redonly = true } } }) end, "redonly")
    assert_error(function() vm:boot({ disks = { { path = dir } } }) end, "is a directory")
end)


test("a guest does not choose what QEMU opens by what it writes", function()
    local secret, image = dir .. "/secret", dir .. "/written.img"
    assert(os.execute(string.format("echo secret >'%s' && truncate -s 4M '%s'", secret, image)))
    local header = dir .. "/header"
    assert(os.execute(string.format("qemu-img create -q -f qcow2 -b '%s' -F raw '%s' 4M", secret, header)))
    local f = assert(io.open(header, "rb"))
    local bytes = f:read("a")
    f:close()
    local vm = provium.create("minimal")
    vm:boot({ disks = { { path = image } } }) -- no format: raw, whatever is in it
    vm:write_file("/dev/vda", bytes)
    vm:shutdown()
    vm = provium.create("minimal")
    vm:boot({ disks = { { path = image } } })
    assert_eq("QFI", vm:exec("head -c 3 /dev/vda").stdout)
    assert_eq(false, vm:exec("head -c 100 /dev/vda | grep -q ^secret").ok)
    vm:kill()
    local function refused(disk, text)
        assert_error(function() provium.create("minimal"):boot({ disks = { disk } }) end, text)
    end
    refused({ path = image, format = "qcow2", readonly = true }, "backing = true")
    refused({ path = image, format = "qcow2", snapshot = true }, "backing = true")
    vm = provium.create("minimal")
    vm:boot({ disks = { { path = header, format = "qcow2", backing = true, snapshot = true } } })
    assert_eq("secret\n", vm:exec("head -c 7 /dev/vda").stdout)
    vm:kill()
end)

os.execute("rm -rf " .. dir)
