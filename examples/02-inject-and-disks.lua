-- Injects files of the host into the guest, and attaches disks, which the guest sees as /dev/vdX.

local dir = os.tmpname()
os.remove(dir)
assert(os.execute("mkdir " .. dir .. " && qemu-img create -q -f qcow2 " .. dir .. "/data.qcow2 64M && truncate -s 16M " .. dir .. "/disk.img"))
local f = assert(io.open(dir .. "/config.toml", "w"))
f:write("answer = 42\n")
f:close()

local vm = provium.create("minimal")
vm:boot({
    files = {
        ["/etc/config.toml"] = dir .. "/config.toml",
    },
    disks = {
        { path = dir .. "/disk.img", format = "raw" },
        { path = dir .. "/data.qcow2", format = "qcow2", readonly = true },
    },
})
vm:mount_vfs()

test("the injected file is there", function()
    assert_eq("answer = 42\n", vm:read_file("/etc/config.toml"))
end)

test("the disks are there, the second one read-only", function()
    assert_eq("0", vm:exec("cat /sys/block/vda/ro").stdout:trim())
    assert_eq("1", vm:exec("cat /sys/block/vdb/ro").stdout:trim())
    assert(vm:exec("echo written by the guest | dd of=/dev/vda conv=fsync").ok)
end)

vm:shutdown()

test("the host sees what the guest wrote", function()
    local disk = assert(io.open(dir .. "/disk.img", "rb"))
    assert_eq("written by the guest", disk:read("l"))
    disk:close()
end)

os.execute("rm -r " .. dir)
