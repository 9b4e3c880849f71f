-- push and pull: files and trees, and that pull writes nowhere else.

local each = dofile("lib/api/each.lua")
local bytes = dofile("lib/api/bytes.lua")

local function sh(cmd)
    local p = io.popen(cmd .. " 2>&1")
    local out = p:read("a")
    assert(p:close(), cmd .. ": " .. out)
    return out
end

local dir = os.tmpname()
os.remove(dir)
sh("mkdir " .. dir)

local function quoted(s) return "'" .. s:gsub("'", "'\\''") .. "'" end

-- A tree with every kind of entry, mode and name that a copy may lose.
local odd = "odd " .. bytes:gsub("[\0/]", ""):sub(1, 200)
local tree = dir .. "/tree"
sh("mkdir -p " .. tree .. "/empty " .. tree .. "/sub/deep && chmod 711 " .. tree .. "/empty && chmod 750 " .. tree .. "/sub")
local function host(path, data, mode)
    local f = assert(io.open(path, "wb"))
    f:write(data)
    f:close()
    if mode then sh("chmod " .. mode .. " " .. quoted(path)) end
end
host(tree .. "/bytes", bytes:rep(5000), "640")
host(tree .. "/nothing", "", "600")
host(tree .. "/sub/deep/tool", "#!/bin/sh\necho ran\n", "755")
host(tree .. "/" .. odd, "odd name", "644")
sh("ln -s sub/deep/tool " .. tree .. "/link && ln -s /not/there " .. tree .. "/dangling")
sh("truncate -s 64M " .. tree .. "/sparse && printf middle | dd of=" .. tree .. "/sparse bs=1M seek=32 conv=notrunc status=none")

local function kilobytes(path) return tonumber(sh("du -k " .. path):match("^%d+")) end

each(function(vm, case, profile)
    case("a file, both ways", function()
        vm:push(tree .. "/bytes", "/tmp/pushed")
        assert(vm:read_file("/tmp/pushed") == bytes:rep(5000))
        assert_eq("640", vm:exec("stat -c %a /tmp/pushed").stdout.trim())
        vm:pull("/tmp/pushed", dir .. "/pulled")
        sh("cmp " .. dir .. "/pulled " .. tree .. "/bytes && test $(stat -c %a " .. dir .. "/pulled) = 640 && rm " .. dir .. "/pulled")
    end)

    case("push of a tree: modes, links, empty directories, holes, any name", function()
        vm:push(tree, "/tmp/tree")
        local function out(cmd) return vm:exec(cmd, { cwd = "/tmp/tree" }).stdout.trim() end
        assert_eq("711", out("stat -c %a empty"))
        assert_eq("750", out("stat -c %a sub"))
        assert_eq("600", out("stat -c %a nothing"))
        assert_eq("ran", out("./link"))
        assert_eq("/not/there", out("readlink dangling"))
        assert_eq("odd name", vm:read_file("/tmp/tree/" .. odd))
        assert_eq(tostring(64 << 20), out("stat -c %s sparse"))
        assert_eq("middle", out("dd if=sparse bs=1048576 skip=32 count=1 2>/dev/null | head -c 6"))
        assert(tonumber(out("du -k sparse"):match("^%d+")) <= 1024, "the holes are filled: " .. out("du -k sparse") .. " KiB")
    end)

    case("pull of the same tree", function()
        local back = dir .. "/back-" .. profile
        vm:pull("/tmp/tree", back)
        assert_eq("", sh("diff -r --no-dereference " .. tree .. " " .. back))
        local list = "find . -mindepth 1 -printf '%y %m %l %s\\0%P\\0' | sort -z | sed -z '/^d/s/ [0-9]*$//' | sha256sum"
        assert_eq(sh("cd " .. tree .. " && " .. list), sh("cd " .. back .. " && " .. list))
        assert(kilobytes(back .. "/sparse") <= 1024, "the holes are filled")
        sh("rm -rf " .. back)
    end)

    case("from /proc", function()
        vm:pull("/proc/version", dir .. "/version")
        assert_contains(sh("cat " .. dir .. "/version"), "Linux version")
        sh("rm -f " .. dir .. "/version")
    end)

    case("what cannot be copied is listed, and the rest is copied", function()
        local made = "mkdir -p /tmp/mixed/sub && cd /tmp/mixed && echo one >a && mkfifo sub/pipe && mknod null c 1 3 && echo two >sub/z"
        assert(vm:exec(made).ok)
        local into = dir .. "/mixed-" .. profile
        local r = vm:pull("/tmp/mixed", into)
        table.sort(r.skipped, function(x, y) return x.path < y.path end)
        assert_eq({ { path = "null", type = "char" }, { path = "sub/pipe", type = "fifo" } }, r.skipped)
        assert_eq(2, r.n_skipped)
        assert_eq(4, r.entries) -- two directories, two files
        assert_eq(8, r.size)
        assert_eq("one\ntwo\n", sh("cat " .. into .. "/a " .. into .. "/sub/z"))
        assert_eq("a\nsub\n", sh("ls " .. into))
        assert_error(function() vm:pull("/tmp/mixed", into, { strict = true }) end, "cannot be copied")
        assert_error(function() vm:pull("/tmp/mixed", into, { max_entries = 2 }) end, "max_entries")
        assert_error(function() vm:pull("/tmp/mixed", into, { max_size = 7 }) end, "max_size")
        sh("rm -rf " .. into)
    end)

    case("a socket, devices, and what a user may not read", function()
        vm:sh("mkdir -p /tmp/kinds/shut && cd /tmp/kinds && echo one >a && mknod disk b 7 200 && mknod tty c 5 0 && mkfifo pipe && " ..
            "echo secret >b && chmod 600 b && chmod 700 shut && echo hidden >shut/x")
        local fd = vm:syscall("socket", 1, 1, 0) -- AF_UNIX, SOCK_STREAM
        local addr = provium.pack("u16", 1) .. "/tmp/kinds/sock\0"
        assert_eq(0, (vm:syscall_buf("bind", 1, addr, fd, 0, #addr)))
        assert_eq(0, vm:syscall("close", fd))
        local user <close> = setmetatable({ w = vm:spawn() }, { __close = function(u) u.w:kill() end })
        assert_eq(0, user.w:syscall("setresuid", 65534, 65534, 65534))
        local into = dir .. "/kinds-" .. profile
        local found = {}
        for _, s in ipairs(user.w:pull("/tmp/kinds", into).skipped) do found[s.path] = s.type end
        assert_eq({ disk = "block", tty = "char", pipe = "fifo", sock = "socket", b = found.b, shut = found.shut }, found)
        assert(found.b and found.shut, "what may not be read is not listed")
        assert_eq("one\n", sh("cat " .. into .. "/a"))
        assert_error(function() user.w:pull("/tmp/kinds", into, { strict = true }) end, "cannot be copied")
        sh("rm -rf " .. into)
        local all = vm:pull("/tmp/kinds", into) -- root reads the rest
        assert_eq(4, all.n_skipped)
        assert_eq("secret\nhidden\n", sh("cat " .. into .. "/b " .. into .. "/shut/x"))
        sh("rm -rf " .. into)
    end)

    case("limits: an error names the option, and the VM goes on", function()
        assert_error(function() vm:exec("yes", { max_output = "1M", timeout = "60s" }) end, "max_output")
        assert_error(function() vm:read_file("/dev/zero", { max_size = "3M", timeout = "60s" }) end, "max_size")
        assert_eq(1000000, #vm:exec("head -c 1000000 /dev/zero", { max_output = 1000000 }).stdout)
        local job = vm:background("head -c 2000 /dev/zero", { max_output = 1000 })
        assert_error(function() vm:job_wait(job, 60) end, "max_output")
        assert_eq("fine", vm:exec("echo fine").stdout.trim())
    end)

    case("errors carry the path", function()
        assert_error(function() vm:push(dir .. "/none", "/tmp/x") end, "/none")
        assert_error(function() vm:pull("/tmp/none", dir .. "/x") end, "/tmp/none")
        assert_contains(assert_error(function() vm:push(tree .. "/bytes", "/not/there/x") end, "/not/there"), "No such file")
        assert_error(function() vm:pull("/tmp/pushed", dir .. "/not/there/x") end, "/not/there")
        assert_eq("fine", vm:exec("echo fine").stdout.trim())
    end)

    case("pull writes nothing outside: not through links of the guest's, nor of the host's", function()
        local out = dir .. "/outside-" .. profile
        sh("mkdir " .. out .. " && echo kept >" .. out .. "/victim")
        -- The guest's tree has a symbolic link at a path where the host's tree has a directory.
        assert(vm:exec("rm -rf /tmp/trap && mkdir -p /tmp/trap/d && echo bad >/tmp/trap/d/victim && ln -s " .. out .. " /tmp/trap/e").ok)
        local into = dir .. "/into-" .. profile
        sh("mkdir " .. into .. " && ln -s " .. out .. " " .. into .. "/d")
        pcall(vm.pull, vm, "/tmp/trap", into)
        assert_eq("kept\n", sh("cat " .. out .. "/victim"))
        assert_eq("victim\n", sh("ls " .. out))
        sh("rm -rf " .. into .. " " .. out)
    end)

    assert(vm:exec("rm -rf /tmp/tree /tmp/trap /tmp/pushed").ok)
end)

sh("rm -rf " .. dir)
