-- SQLite with a write-ahead log: is a committed row there after every crash? With synchronous=FULL it is; NORMAL keeps
-- the database whole, and may lose the last commits. The guest gets the host's sqlite3 with its libraries.

local function host_program(name)
    local which <close> = assert(io.popen("command -v " .. name))
    local path = which:read("l")
    if not path then skip(name .. " is not installed") end
    local files = { ["/usr/bin/" .. name] = path }
    local ldd <close> = assert(io.popen("ldd " .. path))
    for line in ldd:lines() do
        local library = line:match("=> (/%S+)") or line:match("^%s*(/%S+)")
        if library then files[library] = library end
    end
    return files
end

local image = os.tmpname()
assert(os.execute("PATH=$PATH:/usr/sbin:/sbin; mke2fs -q -t ext4 -b 4096 -E lazy_itable_init=0 -F " .. image .. " 16M >/dev/null 2>&1"),
    "mke2fs failed: is e2fsprogs installed?")
local f = assert(io.open(image, "rb"))
local empty = f:read("a")
f:close()
os.remove(image)

local vm = provium.create()
vm:boot({ transport = "serial", memory = "192M", files = host_program("sqlite3"),
    disks = { { name = "data", size = #empty, sector = 4096 } } })
vm:sh("mkdir -p /mnt")
local disk = vm:disk("data")

-- Records two inserts, each a commit of its own. What the shell prints behind a commit is the acknowledgement.
local function record(synchronous)
    disk:write(0, empty)
    vm:sh("mount -t ext4 " .. disk:device() .. " /mnt")
    vm:sh("sqlite3 /mnt/db 'PRAGMA journal_mode=WAL; CREATE TABLE t(n)'; sync")
    local db = vm:start({ "sqlite3", "/mnt/db" }, { stdin = true })
    db:write("PRAGMA synchronous=" .. synchronous .. ";\n.system echo ready\n")
    db.stdout:expect("ready", "1m")
    local rec = disk:record()
    for n = 1, 2 do
        db:write(("INSERT INTO t VALUES(%d);\n.system echo committed %d\n"):format(n, n))
        db.stdout:expect("committed " .. n, "1m")
        rec:mark("row " .. n)
    end
    if synchronous ~= "FULL" then vm:sh("sync") end -- without an fsync of SQLite, nothing is written but by chance
    rec:stop()
    db:kill()
    vm:sh("umount /mnt")
    return rec
end

local function rows(clone, crashed)
    clone:sh("mount -t ext4 " .. crashed:device() .. " /mnt")
    local out = clone:sh("sqlite3 /mnt/db 'PRAGMA integrity_check; SELECT coalesce(max(n), 0) FROM t'")
    local integrity, n = out:match("^(%w+)\n(%d+)$")
    assert_eq("ok", integrity, out)
    return tonumber(n)
end

local function is_durable(clone, crashed, state)
    local n = rows(clone, crashed)
    assert(n >= #state.marks, "committed rows are gone: " .. n .. " of " .. #state.marks)
end

test("synchronous=FULL keeps every committed row", function()
    local result = record("FULL"):check(vm, is_durable, { at = "write", samples = 1, jobs = 2 })
    assert(result.states >= 4, result.states)
end)

test("synchronous=NORMAL does not, but the database is whole", function()
    local rec = record("NORMAL")
    assert_error(function() rec:check(vm, is_durable, { at = "write", jobs = 2 }) end, "committed rows are gone")
    rec:check(vm, rows, { at = "write", jobs = 2 })
end)
