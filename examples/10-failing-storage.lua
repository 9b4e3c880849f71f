-- A failing disk below a stack: dm-crypt passes the error on, a RAID1 goes on without the failed leg.

local modules = "build/guest/modules/" -- the default guest's; your kernel's are in its own tree
local function module_files(...)
    local files = {}
    for _, name in ipairs({ ... }) do
        local path = modules .. "kernel/drivers/md/" .. name .. ".ko"
        local f = io.open(path)
        files["/lib/" .. name .. ".ko"] = f and path or path .. ".xz" -- of newer kernels; busybox's insmod unpacks it
        if f then f:close() end
    end
    return files
end

local vm = provium.create("minimal")
vm:boot({ transport = "serial", memory = "128M", append = "loglevel=7",
    files = module_files("dm-mod", "dm-crypt", "md-mod", "raid1"),
    disks = { { name = "left", size = "16M" }, { name = "right", size = "16M" }, { name = "secret", size = "16M" } } })
vm:mount_vfs()
local left, right, secret = vm:disk("left"), vm:disk("right"), vm:disk("secret")

local function write(device, block, text)
    return vm:exec(("printf '%s' | dd of=%s bs=4096 seek=%d conv=sync,fsync,notrunc oflag=direct iflag=fullblock"):format(
        text, device, block))
end
local function read(device, block, n)
    return vm:exec(("dd if=%s bs=4096 skip=%d count=1 iflag=direct | head -c %d"):format(device, block, n)).stdout
end

-- The ioctls of device mapper, as dmsetup uses them: a device of one target.
local function dm_create(name, sectors, target, parameters)
    local DM_DEV_CREATE, DM_DEV_SUSPEND, DM_TABLE_LOAD, HEADER = 3, 6, 9, 312
    local fd = vm:syscall_buf("open", 0, "/dev/mapper/control\0", 0, 2, 0)
    assert(fd >= 0, "open: " .. fd)
    local function call(number, targets, data)
        local header = provium.pack("u32 u32 u32 u32 u32 u32 i32 u32 u32 u32 u64", 4, 0, 0, HEADER + #data, HEADER, targets,
            0, 0, 0, 0, 0) .. name .. ("\0"):rep(128 - #name) .. ("\0"):rep(136)
        local r = vm:ioctl(fd, 0xc138fd00 | number, header .. data)
        assert(r >= 0, ("device mapper's ioctl %d: %d"):format(number, r))
    end
    call(DM_DEV_CREATE, 0, "")
    local text = parameters .. ("\0"):rep(8 - #parameters % 8)
    call(DM_TABLE_LOAD, 1, provium.pack("u64 u64 i32 u32", 0, sectors, 0, 40 + #text) .. target ..
        ("\0"):rep(16 - #target) .. text)
    call(DM_DEV_SUSPEND, 0, "") -- without its flag: resume
    vm:syscall("close", fd)
end

test("dm-crypt passes an error of its disk on", function()
    vm:sh("insmod /lib/dm-mod.ko && insmod /lib/dm-crypt.ko")
    dm_create("plain", secret:size() // 512, "crypt", "aes-cbc-plain64 " .. ("0f"):rep(16) .. " 0 " .. secret:device() .. " 0")
    local device = "/dev/dm-0"
    assert(write(device, 3, "in the clear").ok)
    assert_eq("in the clear", read(device, 3, 12))
    assert_ne("in the clear", secret:read(3 * 4096, 12))

    local broken <close> = secret:fail({ op = "write", from = 4 * 4096, to = 5 * 4096 - 1 })
    assert_eq(false, write(device, 4, "lost").ok)
    assert(write(device, 5, "kept").ok)
    assert(broken:hits() > 0)
    local unreadable <close> = secret:fail({ op = "read", from = 3 * 4096, to = 3 * 4096 })
    assert_eq("", read(device, 3, 12))
    assert(unreadable:hits() > 0)
end)

test("a RAID1 goes on with one leg", function()
    vm:sh("insmod /lib/md-mod.ko && insmod /lib/raid1.ko && echo md0 >/sys/module/md_mod/parameters/new_array")
    -- The sysfs files of md make an array without a superblock; mdadm writes the same ones.
    local md = "/sys/block/md0/md/"
    local function set(key, value) vm:sh(("echo %s >%s%s"):format(value, md, key)) end
    set("metadata_version", "none")
    set("level", "raid1")
    set("raid_disks", 2)
    for slot, disk in ipairs({ left, right }) do
        local node = disk:device():match("/dev/(.*)")
        set("new_dev", vm:sh("cat /sys/block/" .. node .. "/dev"):trim())
        set("dev-" .. node .. "/size", disk:size() // 1024)
        set("dev-" .. node .. "/slot", slot - 1)
    end
    set("component_size", left:size() // 1024)
    set("resync_start", "none")
    set("array_state", "active")
    assert(write("/dev/md0", 1, "on both").ok)
    assert_eq("on both", left:read(4096, 7))
    assert_eq("on both", right:read(4096, 7))

    local broken <close> = right:fail({ op = "write" })
    assert(write("/dev/md0", 2, "on the left").ok, "the array failed with one of its disks")
    assert(broken:hits() > 0)
    assert_eq("1", vm:sh("cat " .. md .. "degraded"))
    assert_eq("on the left", read("/dev/md0", 2, 11))
    assert_ne("on the left", right:read(8192, 11))
    assert_contains(vm:console():log(), "Disk failure on " .. right:device():match("/dev/(.*)"))
end)
