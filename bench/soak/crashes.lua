-- SPDX-License-Identifier: MIT
-- No false alarm: PV_SOAK_STATES crash states of each of three programs that do it right. A log on the bare disk, files
-- on ext4 (data=ordered and data=journal) and SQLite with synchronous=FULL are recorded in a VM; each state is looked at
-- with tools of the host, which replay the journals as the kernel does (e2fsck, debugfs, sqlite3).
local N = tonumber(os.getenv("PV_SOAK_STATES") or "5000")
local TOOLS = "PATH=$PATH:/usr/sbin:/sbin; "
local dir = os.tmpname() .. ".d"
assert(os.execute("mkdir " .. dir))

local function run(command)
    local p <close> = assert(io.popen(TOOLS .. command .. " 2>&1; echo exit $?"))
    local text, code = p:read("a"):match("^(.*)exit (%d+)\n$")
    return tonumber(code), text
end

local function write_file(path, data)
    local f <close> = assert(io.open(path, "wb"))
    f:write(data)
end

local image = dir .. "/empty"
assert_eq(0, (run("mke2fs -q -t ext4 -b 4096 -E lazy_itable_init=0 -F " .. image .. " 8M")))
local f = assert(io.open(image, "rb"))
local empty = f:read("a")
f:close()

local function host_program(name)
    local _, path = run("command -v " .. name)
    local files = { ["/usr/bin/" .. name] = path:gsub("%s", "") }
    local _, libraries = run("ldd " .. path)
    for line in libraries:gmatch("[^\n]+") do
        local library = line:match("=> (/%S+)") or line:match("^%s*(/%S+)")
        if library then files[library] = library end
    end
    return files
end

local vm = provium.create("soak")
vm:boot({ transport = "serial", memory = "256M", files = host_program("sqlite3"),
    disks = { { name = "fs", size = #empty, sector = 4096 }, { name = "log", size = "1M" } } })
vm:sh("mkdir -p /mnt")
local fs, log_disk = vm:disk("fs"), vm:disk("log")

-- Looks at N states at least, with new seeds until there are as many.
local function look(name, rec, fn)
    local n, seed, begin = 0, 0, provium.now()
    while n < N and seed < 20 do
        seed = seed + 1
        for state in rec:states({ at = "write", samples = 400, torn = true, seed = seed }) do
            local ok, why = pcall(fn, state)
            if not ok then fail(("%s, seed %d, state %d: %s\n%s"):format(name, seed, state.number, state:describe(), why)) end
            n = n + 1
            if n >= N then break end
        end
    end
    log(("%s: %d states, %.1f a second"):format(name, n, n / (provium.now() - begin)))
    assert(n >= N, name .. " has too few states: " .. n)
end

local function mounted(options, program)
    fs:write(0, empty)
    vm:sh("mount -t ext4 -o " .. options .. " " .. fs:device() .. " /mnt")
    local rec = fs:record()
    program(rec)
    rec:stop()
    vm:sh("umount /mnt")
    return rec
end

-- Replays the journal; what may not be repaired by itself is a damaged file system.
local function replayed(state)
    write_file(dir .. "/state", state:read(0, #empty))
    local code, text = run("e2fsck -fp " .. dir .. "/state")
    assert(code == 0 or code == 1, text)
end

local function dump(name)
    os.remove(dir .. "/" .. name)
    run(("debugfs -R 'dump /%s %s/%s' %s/state"):format(name, dir, name, dir))
end

local function fsync(path)
    local fd = vm:syscall_buf("open", 0, path .. "\0", 0, 0, 0)
    assert_eq(0, vm:syscall("fsync", fd))
    vm:syscall("close", fd)
end

local only = os.getenv("PV_SOAK_ONLY") or ""

for _, mode in ipairs({ "data=ordered", "data=journal" }) do
    if ("ext4 " .. mode):find(only, 1, true) then
        local rec = mounted(mode, function(rec)
            for n = 1, 12 do
                vm:sh(("yes %d | head -c 20000 >/mnt/new"):format(n))
                fsync("/mnt/new")
                vm:sh("mv /mnt/new /mnt/file")
                fsync("/mnt")
                rec:mark(tostring(n))
            end
        end)
        look("ext4 " .. mode, rec, function(state)
            replayed(state)
            dump("file")
            local file, text = io.open(dir .. "/file", "rb"), ""
            if file then text = file:read("a") file:close() end
            local n = tonumber(text:match("^%d+") or 0)
            assert(n >= #state.marks, "acknowledged " .. #state.marks .. ", found " .. n)
            assert(n == 0 or text == (n .. "\n"):rep(20000):sub(1, 20000), "the file is damaged")
        end)
    end
end

if ("sqlite"):find(only, 1, true) then
    local rec
    fs:write(0, empty)
    vm:sh("mount -t ext4 " .. fs:device() .. " /mnt && sqlite3 /mnt/db 'PRAGMA journal_mode=WAL; CREATE TABLE t(n, x)' && sync")
    local db = vm:start({ "sqlite3", "/mnt/db" }, { stdin = true })
    db:write("PRAGMA synchronous=FULL;\n.system echo ready\n")
    db.stdout:expect("ready", "5m")
    rec = fs:record()
    for n = 1, 12 do
        db:write(("INSERT INTO t VALUES(%d, hex(randomblob(3000)));\n.system echo committed %d.\n"):format(n, n))
        db.stdout:expect("committed " .. n .. ".", "5m")
        rec:mark(tostring(n))
    end
    rec:stop()
    db:kill()
    vm:sh("umount /mnt")
    look("SQLite, synchronous=FULL", rec, function(state)
        replayed(state)
        for _, name in ipairs({ "db", "db-wal" }) do dump(name) end
        os.remove(dir .. "/db-shm")
        local _, text = run("sqlite3 " .. dir .. "/db 'PRAGMA integrity_check; SELECT coalesce(max(n), 0) FROM t'")
        local n = text:match("^ok\n(%d+)\n$")
        assert(n and tonumber(n) >= #state.marks, "acknowledged " .. #state.marks .. ", found " .. text)
    end)
end

-- Record k in block k, then the head in block 0, each flushed; the head's sector is written as a whole.
if ("log"):find(only, 1, true) then
    local device, rec = log_disk:device(), log_disk:record()
    for n = 1, 40 do
        local letter = string.char(64 + n)
        for _, block in ipairs({ n, 0 }) do
            vm:sh(("yes '%s' | head -c 4096 | dd of=%s bs=4096 seek=%d count=1 iflag=fullblock oflag=direct conv=fsync 2>/dev/null"):format(
                letter, device, block))
        end
        rec:mark(tostring(n))
    end
    rec:stop()
    look("a log", rec, function(state)
        local head = state:read(0, 1):byte()
        local n = head == 0 and 0 or head - 64
        assert(n >= #state.marks, "acknowledged " .. #state.marks .. ", found " .. n)
        for k = 1, n do assert_eq((string.char(64 + k) .. "\n"):rep(2048), state:read(k * 4096, 4096)) end
    end)
end

os.execute("rm -rf " .. dir .. " " .. dir:sub(1, -3))
