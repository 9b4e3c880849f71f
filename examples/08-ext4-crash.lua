-- ext4 and power failures: an update by rename() that survives every state a crash could leave, with the journal of
-- metadata and with that of all data, and three programs with a mistake that check() finds.

local image = os.tmpname()
assert(os.execute("PATH=$PATH:/usr/sbin:/sbin; mke2fs -q -t ext4 -b 4096 -E lazy_itable_init=0 -F " .. image .. " 16M >/dev/null 2>&1"),
    "mke2fs failed: is e2fsprogs installed?")
local f = assert(io.open(image, "rb"))
local empty = f:read("a")
f:close()
os.remove(image)

-- ext4's superblock must not be torn, which sectors of 512 bytes would allow.
local vm = provium.create("minimal")
vm:boot({ transport = "serial", memory = "128M", disks = { { name = "data", size = #empty, sector = 4096 } } })
vm:sh("mkdir -p /mnt")
local disk = vm:disk("data")

local function fsync(path)
    local fd = vm:syscall_buf("open", 0, path .. "\0", 0, 0, 0)
    assert_eq(0, vm:syscall("fsync", fd))
    vm:syscall("close", fd)
end

-- Records a program on an empty ext4.
local function record(options, program)
    disk:write(0, empty)
    vm:sh("mount -t ext4 -o " .. options .. " " .. disk:device() .. " /mnt")
    local rec = disk:record()
    program(rec)
    rec:stop()
    vm:sh("umount /mnt")
    return rec
end

-- A new content for a file: written beside it, made durable, renamed over it, and the name made durable.
local function update(rec, n, mistake)
    vm:sh("echo " .. n .. " >/mnt/new")
    if mistake ~= "no fsync" then fsync("/mnt/new") end
    vm:sh("mv /mnt/new /mnt/file")
    if mistake ~= "no fsync of the directory" then fsync("/mnt") end
    rec:mark("update " .. n)
end

-- In a clone with the crashed disk: the last acknowledged update, or a later one, is there and whole.
local function recover(clone, crashed, state)
    clone:sh("mount -t ext4 " .. crashed:device() .. " /mnt")
    local text = clone:sh("cat /mnt/file 2>/dev/null || echo 0")
    local n = assert(tonumber(text:match("^(%d+)$")), "the file is damaged: " .. text)
    assert(n >= #state.marks, #state.marks .. " updates were acknowledged, the file has " .. n)
end

for _, mode in ipairs({ "data=ordered", "data=journal" }) do
    test("the update survives, " .. mode, function()
        local rec = record(mode, function(rec) update(rec, 1) end)
        local result = rec:check(vm, recover, { at = "write", samples = 2, torn = true, jobs = 2 })
        assert(result.states >= 5, result.states)
    end)
end

local function must_fail(rec, options)
    local why = assert_error(function() rec:check(vm, recover, options) end)
    assert(why:find("acknowledged", 1, true) or why:find("damaged", 1, true), why)
end

test("a rename without fsync of the directory is found", function()
    must_fail(record("data=ordered", function(rec) update(rec, 1, "no fsync of the directory") end), { jobs = 2 })
end)

test("a rename without any fsync of the file is found", function()
    must_fail(record("data=ordered,noauto_da_alloc", function(rec)
        update(rec, 1, "no fsync")
        vm:sh("sync")
    end), { jobs = 2 })
end)

test("a file system without barriers is found", function()
    must_fail(record("barrier=0", function(rec) update(rec, 1) end), { samples = 8, jobs = 2 })
end)
