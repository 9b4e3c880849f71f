-- Runs every example of docs/lua-api.md, in the order of the page: what an example calls local is there for those below
-- it.  `before` makes what an example takes for granted: a VM, a file, a program of its guest.

local page = "docs/lua-api.md"
local dir = os.tmpname()
os.remove(dir)
assert(os.execute("mkdir -p " .. dir .. "/ks/timers && echo '#!/bin/sh\necho 1..1; echo ok 1 one' >" .. dir ..
    "/ks/timers/one && chmod +x " .. dir .. "/ks/timers/one && echo timers:one >" .. dir .. "/ks/kselftest-list.txt"))
defer(function() os.execute("rm -rf '" .. dir .. "'") end)

-- Host files of the examples, by what they are called there.
local files = {
    ["/tmp/lan.pcapng"] = dir .. "/lan.pcapng",
    ["my.conf"] = "tests/vm/fixtures/injected",
    ["failed.png"] = dir .. "/failed.png",
    ["after.img"] = dir .. "/after.img",
    ["crash.rec"] = dir .. "/crash.rec",
    ["selftests/kselftest_install"] = dir .. "/ks",
    ["build/mytool"] = "build/guest/VERSION",
    ["logs-of-the-guest"] = dir .. "/logs",
    ["helpers.lua"] = "lib/api/bytes.lua",
    ["src/daemon.c"] = "build/guest/VERSION",
    ["include"] = "tests/vm/fixtures",
    ["make -s daemon"] = "true",
}

local env = setmetatable({}, { __index = _G })

-- Programs that the examples start, and the built-in userland does not have.
local programs = {
    make = "echo done",
    mydaemon = "trap 'exit 0' TERM; echo listening; while :; do sleep 0.1; done",
    sshd = "sleep 1000",
    ["mkfs.ext4"] = "printf '\\123\\357' | dd of=$2 bs=1 seek=1080 conv=notrunc; sync", -- the magic number
    ["fsck.ext4"] = "exit 0",
}

local function fresh(opts)
    provium.shutdown_all()
    env.vm = provium.create()
    opts = opts or {}
    opts.timeout, opts.cached = "120s", true
    env.vm:boot(opts)
    for name, text in pairs(programs) do
        env.vm:write_file("/usr/bin/" .. name, "#!/bin/sh\n" .. text .. "\n", { mode = "0755" })
    end
end

local function unbooted()
    provium.shutdown_all()
    env.vm = provium.create()
end

local function two_on_a_lan()
    provium.shutdown_all()
    env.lan = provium.network("pair", { subnet = "10.7.0.0/24" })
    env.a, env.vm = provium.create(), provium.create()
    env.a:boot({ nets = { env.lan }, timeout = "120s" })
    env.vm:boot({ timeout = "120s" })
end

local function two_disks()
    fresh({ transport = "serial", memory = "256M",
        disks = { { name = "data", size = "16M", faults = true }, { name = "log", size = "16M", faults = true } } })
    env.disk = env.vm:disk("data")
end

local function on_console(text) env.vm:exec("echo '" .. text .. "' >/dev/console") end

local before = {
    ["provium.network"] = provium.shutdown_all,
    ["lan:impair"] = function() env.lan:heal() end,
    ["port:recv"] = function() env.a:background("ping -c 1 -W 1 10.7.0.77") end,
    ["provium.router"] = provium.shutdown_all,
    ["lan:uplink"] = provium.shutdown_all,
    ["vm:boot"] = unbooted,
    ["vm:shutdown"] = fresh,
    ["vm:kill"] = fresh,
    ["vm:reboot"] = fresh,
    ["vm:reset"] = function() env.vm:mkdir("/data") end,
    ["vm:wait_reboot"] = unbooted,
    ["vm:power_button"] = function()
        for _, name in ipairs({ "acpi/button", "input/evdev" }) do
            local path = "build/guest/modules/kernel/drivers/" .. name .. ".ko"
            -- Debian 13's modules are compressed; insmod looks at the content, not at the name.
            if not pcall(env.vm.push, env.vm, path, "/tmp/module.ko") then env.vm:push(path .. ".xz", "/tmp/module.ko") end
            env.vm:sh("insmod /tmp/module.ko")
        end
        env.vm:background("for e in /dev/input/event*; do (head -c 24 $e >/dev/null && poweroff -f) & done; wait")
        env.vm:wait_until(function() return env.vm:exec("ls -l /proc/[0-9]*/fd | grep -q input/event").ok end)
    end,
    ["vm:nmi"] = fresh,
    ["vm:screenshot"] = function()
        env.vm = provium.create("display")
        env.vm:boot({ timeout = "120s" })
    end,
    ["vm:disk"] = unbooted,
    ["vm:attach_disk"] = function()
        fresh({ disks = { { name = "data", size = "256M" } } })
        env.d = env.vm:disk("data")
        env.vm:sh("mkfs.ext4 -q " .. env.d:device())
        env.d:flush()
    end,
    ["disk:flush"] = function()
        fresh({ disks = { { name = "data", size = "16M", faults = true } } })
        env.d = env.vm:disk("data")
    end,
    ["disk:unflushed"] = function() env.vm:sh("dd if=/dev/zero of=/dev/vda bs=4096 count=1 oflag=direct") end,
    ["disk:stats"] = function() env.vm:sh("dd if=/dev/urandom of=/dev/vda bs=4096 count=1 conv=fsync") end,
    ["disk:fail"] = function() env.vm:sh("dd if=/dev/zero of=/dev/vda bs=4096 count=1 oflag=direct") end,
    ["rule:hits"] = function()
        env.rule = env.d:fail({ op = "write", times = 1 })
        env.vm:exec("dd if=/dev/zero of=/dev/vda bs=4096 seek=1 count=1 oflag=direct")
    end,
    ["vm:power_cut"] = function() env.vm:mkdir("/mnt", { parents = true }) end,
    ["disk:record"] = two_disks,
    ["provium.record"] = function() env.rec:stop() end,
    ["provium.recording"] = function()
        env.vm:sh("dd if=/dev/zero of=/dev/vda bs=4096 count=4 oflag=direct; sync")
        env.rec:stop()
        env.rec:save(dir .. "/crash.rec")
    end,
    ["rec:mark"] = function()
        two_disks()
        env.rec = env.disk:record()
    end,
    ["rec:stop"] = function() env.vm:sh("for i in 1 2 3 4 5 6 7 8; do dd if=/dev/urandom of=/dev/vda bs=4096 seek=$i count=1 conv=fsync; done") end,
    ["state:disk"] = function()
        two_disks()
        local rec = provium.record({ env.vm:disk("data"), env.vm:disk("log") })
        env.vm:sh("for d in vda vdb; do dd if=/dev/urandom of=/dev/$d bs=4096 count=1 conv=fsync; done")
        rec:stop()
        env.state = rec:state(1)
    end,
    ["rec:stats"] = function() env.log = nil end,
    ["vm:snapshot"] = function() fresh({ transport = "serial", memory = "256M", cpus = 2 }) end,
    ["vm:json"] = function() env.vm:write_file("/etc/app.json", '{"debug": true}') end,
    ["vm:wait_until"] = function() env.vm:background("sshd") end,
    ["vm:pull"] = function() env.vm:mkdir("/var/log", { parents = true }) end,
    ["stream:read"] = function() on_console("first") end,
    ["stream:read_until"] = function() on_console("login: ") end,
    ["stream:expect"] = function()
        on_console("login: ")
        on_console("Linux version 6")
    end,
    ["stream:eof"] = fresh,
    ["vm:follow"] = function()
        fresh()
        env.vm:sh("mkdir -p /var/log; touch /var/log/daemon.log")
        env.vm:background("trap 'echo configuration read >>/var/log/daemon.log' HUP; echo $$ >/run/daemon.pid; while :; do sleep 0.1; done")
        env.vm:wait_until(function() return env.vm:exists("/run/daemon.pid") end)
    end,
    ["console:write"] = function()
        env.vm:background("(printf 'login: '; read -r u; printf '# '; read -r c; echo running) </dev/console >/dev/console")
    end,
    ["vm:expect_report"] = fresh,
    ["vm:allow_report"] = fresh,
    ["vm:plug"] = two_on_a_lan,
    ["vm:ip"] = function() env.vm = env.a end,
    ["provium.async"] = function()
        fresh()
        env.vm:sh("mkfifo /tmp/fifo")
    end,
    ["task:wait"] = fresh,
    ["vm:spawn"] = function() env.vm:write_file("/etc/shadow", "root:*\n", { mode = "0600" }) end,
    ["vm:syscall_buf"] = function() env.vm:write_file("/etc/hostname", "vm1\n") end,
    ["vm:ioctl"] = function() env.ptmx = env.vm:syscall_buf("open", 0, "/dev/ptmx\0", 2, 0) end,
    ["vm:ioctl_buf"] = function() env.sock = env.vm:syscall("socket", 2, 2, 0) end,
}

-- They begin sub-tests, or say what becomes of all that follow.
local at_top = { test = true, before_each = true, after_each = true, defer = true, todo = true }

local function compile(e)
    local code = ("\n" .. e.code):gsub("\nlocal ([%w_, ]+) =", "\n%1 =")
    code = code:gsub('provium%.network%("(%w+)"', function(name) return ('provium.network("%s-%d"'):format(name, e.line) end)
    code = code:gsub('"([^"\n]+)"', function(text) return files[text] and '"' .. files[text] .. '"' end)
    return assert(load(("\n"):rep(e.line - 1) .. code, "@" .. page, "t", env))
end

local all = {}
for _, e in ipairs(dofile("lib/api/blocks.lua")(page)) do
    if e.heading then all[#all + 1] = e end
end
assert(#all > 170, "only " .. #all .. " examples were found")
local known = {}
for _, e in ipairs(all) do
    known[e.heading] = true
    local run, prepare = compile(e), before[e.heading]
    local function both()
        if prepare then prepare() end
        run()
    end
    if at_top[e.heading] then both() else test(("%s, line %d"):format(e.heading, e.line), both) end
end
for name in pairs(before) do assert(known[name], "the page has no " .. name) end
