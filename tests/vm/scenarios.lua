-- Small scenarios, each of several features at once: processes, streams, the console, tasks, reboots.

local vm = provium.create("minimal", { name = "plant" })
vm:boot({ timeout = "120s", on_reboot = "follow", disks = { { name = "journal", size = "16M" } } })
vm:mount_vfs()

test("a daemon that ignores TERM is stopped, continued and killed; all of its output is there", function()
    local p <close> = vm:start("trap 'echo no' TERM; i=0; while :; do i=$((i + 1)); echo line $i; sleep 0.05; done")
    p.stdout:expect("line 3\n", 60)
    p:signal("TERM")
    p.stdout:expect("no\n", 60)
    assert(p:running())
    local function state() return vm:read_file("/proc/" .. p.pid .. "/status"):match("State:%s+(%a)") end
    p:signal("STOP")
    vm:wait_until(function() return state() == "T" end, { timeout = 60, desc = "the daemon is stopped" })
    p.stdout:drain()
    assert_error(function() p.stdout:read("500ms") end, "did not come within 0.5 s")
    p:signal("CONT")
    p.stdout:expect("line ", 60)
    assert_ne("T", state())
    p:signal("KILL")
    local r = p:wait(60)
    assert_eq(9, r.signal)
    local n = 0
    for line in r.stdout:gsub("no\n", ""):gmatch("[^\n]+\n") do
        n = n + 1
        assert_eq("line " .. n .. "\n", line)
    end
    assert(n > 3, "there are " .. n .. " lines")
end)

test("what a journal has committed survives a reset", function()
    local writer = vm:start([[
        for i in 1 2 3 4 5 6 7 8 9; do
            echo "record $i" | dd of=/dev/vda bs=512 seek=$i count=1 conv=sync,fsync 2>/dev/null && echo "committed $i"
            sleep 0.1
        done
        sleep 1000]])
    local _, n = writer.stdout:expect("committed ([5-9])\n", 120, { pattern = true })
    vm:reset({ timeout = "120s" })
    assert_error(function() writer:wait(60) end, "was reset")
    for i = 1, tonumber(n) do
        assert_eq("record " .. i, vm:sh({ "dd", "if=/dev/vda", "bs=512", "count=1", "skip=" .. i }):match("record %d"))
    end
    assert_contains(vm:disk("journal"):read(512, 512), "record 1\n")
end)

test("the OOM killer takes one process; its neighbours and the VM live on", function()
    local report, r
    local neighbour <close> = vm:start("while read l; do echo \"<$l>\"; done", { stdin = true })
    report = vm:expect_report("tail", function()
        r = vm:start("echo 1000 >/proc/self/oom_score_adj; exec tail /dev/zero"):wait(240)
    end, { timeout = "60s" })
    assert_eq("oom", report.kind)
    assert_eq({ 9, false, false }, { r.signal, r.ok, r.timed_out })
    assert_error(function() r:assert_ok() end, "SIGKILL")
    neighbour:write("alive\n")
    assert_eq("<alive>", neighbour.stdout:read_line(60))
end)

test("expect on a console that floods, beside calls of other tasks", function()
    local c = vm:console()
    local flood <close> = vm:start("yes 'a flood of lines' >/dev/console")
    c:expect("a flood of lines\n", 60)
    local watch = provium.async(function() return c:expect("the needle\n", 240) end)
    local r = provium.all({
        function() return vm:sh("for i in 1 2 3; do echo; done; echo done") end,
        function() vm:write_file("/tmp/in-a-flood", ("x"):rep(1 << 20)) return #vm:read_file("/tmp/in-a-flood") end,
        function() return vm:syscall("getpid") > 0 end,
    }, 240)
    assert_eq({ "\n\n\ndone", 1 << 20, true }, r)
    assert_eq(false, watch:done())
    flood:kill(60)
    vm:sh("echo; echo the needle >/dev/console")
    assert_eq("the needle\n", watch:wait(240))
end)

test("tasks that wait for themselves or for each other get an error, and nothing hangs", function()
    local own
    own = provium.async(function()
        provium.sleep(0.01)
        return own:wait(60)
    end)
    assert_contains(assert_error(function() own:wait(60) end), "itself")
    local a, b
    a = provium.async(function() provium.sleep(0.01) return b:wait("2s") end)
    b = provium.async(function() provium.sleep(0.01) return a:wait("2s") end)
    assert_error(function() a:wait(60) end)
    assert_error(function() b:wait(60) end)
    assert_eq("fine", vm:sh("echo fine"))
end)

test("a log that a daemon of another user writes is followed over its rotation", function()
    vm:sh("mkdir -p /tmp/log && chown 1234 /tmp/log")
    local daemon <close> = vm:start("i=0; while :; do i=$((i + 1)); echo \"$(id -u) says $i\" >>log; sleep 0.05; done",
        { user = 1234, cwd = "/tmp/log" })
    vm:wait_until(function() return vm:exists("/tmp/log/log") end, { timeout = 60 })
    local log <close> = vm:follow("/tmp/log/log", { from = "start" })
    assert_eq("1234 says 1", log:read_line(60))
    log:expect("says 5\n", 60)
    vm:rename("/tmp/log/log", "/tmp/log/log.1")
    local _, first = log:expect("says (%d+)\n", 60, { pattern = true })
    local last = tonumber(first)
    for _ = 1, 20 do -- over the rotation: no line is lost
        local n = tonumber(log:read_line(60):match("^1234 says (%d+)$"))
        assert_eq(last + 1, n)
        last = n
    end
    assert(vm:exists("/tmp/log/log"))
    assert_eq(1234, vm:stat("/tmp/log/log.1").uid)
end)

test("the output of a process of one VM is the input of another's", function()
    local other <close> = provium.create("minimal", { name = "mill" })
    other:boot({ timeout = "120s", transport = "serial" })
    local from = vm:start("i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); echo $i; done; exit 3")
    local to = other:start("sum=0; n=0; while read l; do sum=$((sum + l)); n=$((n + 1)); done; echo $n $sum", { stdin = true })
    local bytes = 0
    for data in function() return from.stdout:read(60) end do
        to:write(data, 60)
        bytes = bytes + #data
    end
    to:close_stdin()
    assert_eq("20000 200010000\n", to:wait(240):assert_ok().stdout)
    assert_eq(3, from:wait(60).exit_code)
    assert_eq(#from:wait().stdout, bytes)
    -- The owner of a stream dies while a task waits for it.
    local orphan = other:start("echo last words; sleep 1000")
    orphan.stdout:expect("last", 60)
    local waits = provium.async(function() return orphan.stdout:expect("never", 240) end)
    other:kill()
    local why = assert_error(function() waits:wait(60) end)
    assert_contains(why, "ended before 'never' came")
    assert_contains(why, "mill")
    assert_eq(" words\n", orphan.stdout:drain())
    assert_eq(true, orphan.stdout:eof())
end)

test("a guest that never returns from its reboot is told with its console, and a reset brings it back", function()
    vm:sh("echo a line before >/dev/console")
    -- Every process of the agent is stopped, so none reads the request.
    vm:exec([[(sleep 0.5; for p in /proc/[0-9]*; do
        grep -q provium-agent $p/comm 2>/dev/null && kill -STOP ${p#/proc/}
    done) >/dev/null 2>&1 &]])
    provium.sleep(2)
    local why = assert_error(function() vm:reboot({ timeout = "2s" }) end)
    assert_contains(why, "reboot on plant (minimal) timed out: the machine did not reboot")
    assert_contains(why, "--- console of ")
    assert_contains(why, "a line before")
    vm:reset({ timeout = "120s" })
    vm:mount_vfs()
    assert_eq("back", vm:sh("echo back"))
end)

test("clones take a signal each, side by side; the original goes on", function()
    local base <close> = provium.create("minimal", { name = "base" })
    base:boot({ timeout = "120s", transport = "serial", memory = "128M" })
    base:write_file("/tmp/state", "shared")
    local s = base:snapshot()
    local fns = {}
    for i, name in ipairs({ "TERM", "KILL", "USR1" }) do
        fns[i] = function()
            local c <close> = base:clone(s)
            local p = c:start("cat /tmp/state; sleep 1000")
            p.stdout:expect("shared", 60)
            c:write_file("/tmp/state", name)
            p:signal(name)
            return p:wait(60).signal
        end
    end
    assert_eq({ 15, 9, 10 }, provium.all(fns, 240))
    assert_eq("shared", base:read_file("/tmp/state"))
    local c = base:console() -- and a reset of what clones came from
    base:reset("120s")
    assert_eq(false, base:exists("/tmp/state"))
    assert_contains(c:log(), "[provium: was reset]")
end)

vm:shutdown()
