-- shutdown, kill, shutdown_all, several VMs at once, wrong states, unexpected ends.

local function uptime()
    local f = io.open("/proc/uptime")
    local s = f:read("n")
    f:close()
    return s
end

test("several VMs at once are isolated", function()
    local vm1, vm2 = provium.create("minimal"), provium.create("minimal")
    vm1:boot()
    vm2:boot()
    vm1:write_file("/tmp/id", "vm1")
    vm2:write_file("/tmp/id", "vm2")
    assert_eq(vm1:read_file("/tmp/id"), "vm1")
    assert_eq(vm2:read_file("/tmp/id"), "vm2")
    vm1:shutdown()
    assert_eq(vm2:read_file("/tmp/id"), "vm2")
    assert_error(function() vm1:exec("true") end, "shut down")
    assert_error(function() vm2:kill("5s") end, "vm:kill takes no arguments")
    vm2:kill()
    assert_error(function() vm2:exec("true") end, "killed")
    vm1:shutdown()
    vm1:kill()
    vm2:shutdown()
    vm2:kill()
end)

test("shutdown_all", function()
    local a, b = provium.create("minimal"), provium.create("minimal")
    a:boot()
    b:boot()
    provium.shutdown_all()
    assert_error(function() a:exec("true") end, "shut down")
    assert_error(function() b:exec("true") end, "shut down")
    provium.shutdown_all()
end)


test("a guest that does not go down is killed after 10 s", function()
    local vm = provium.create("minimal")
    vm:boot()
    vm:mount_vfs()
    -- Every process of the agent is stopped, so none reads the request.
    vm:exec([[(sleep 1; for p in /proc/[0-9]*; do
        grep -q provium-agent $p/comm 2>/dev/null && kill -STOP ${p#/proc/}
    done) >/dev/null 2>&1 &]])
    provium.sleep(2)
    local start = uptime()
    vm:shutdown()
    local took = uptime() - start
    assert(took > 9 and took < 15, "took " .. took)
    assert_error(function() vm:exec("true") end, "shut down")
end)

test("a power-off during the test is reported at once", function()
    local vm = provium.create("minimal")
    vm:boot()
    local start = uptime()
    local why = assert_error(function() vm:exec("poweroff -f; sleep 100") end, "powered off")
    assert(uptime() - start < 30)
    assert_error(function() vm:exec("true") end, "dead")
    vm:shutdown()
end)

test("a panic during a call is reported at once, with the console", function()
    local vm = provium.create("minimal")
    vm:boot()
    vm:mount_vfs()
    local start = uptime()
    local why = assert_error(function() vm:exec("echo c >/proc/sysrq-trigger; sleep 100") end, "panic")
    assert_contains(why, "sysrq triggered crash")
    assert_contains(why, "--- console of vm")
    assert(uptime() - start < 30)
end)

test("log text that resembles a panic is not a panic", function()
    local vm = provium.create("minimal")
    vm:boot()
    assert_eq("alive", vm:exec("echo 'Kernel panic - not syncing: only words' >/dev/kmsg; sleep 1; echo alive").stdout.trim())
    assert_eq("still", vm:exec("echo still").stdout.trim())
    vm:shutdown()
end)

test("words of a program on the console are no kernel report; the kernel's without a time stamp are", function()
    local vm = provium.create("minimal")
    vm:boot()
    vm:mount_vfs()
    vm:sh("echo 'BUG: unable to handle page fault for address: 0' >/dev/console; echo 'WARNING: CPU: 0 PID: 1' >/dev/console")
    assert_eq(0, #vm:reports())
    vm:sh("echo N >/sys/module/printk/parameters/time")
    local report = vm:expect_report("kernel BUG at life.lua:1!", function()
        vm:sh("echo '<1>kernel BUG at life.lua:1!' >/dev/kmsg")
    end, { timeout = 30 })
    assert_eq("kernel BUG at life.lua:1!", report.headline)
    assert_eq(1, #vm:reports())
    vm:shutdown()
end)

test("QEMU killed during a call", function()
    local vm = provium.create("minimal")
    vm:boot()
    -- The background shell kills the QEMU of this file's process while the call waits.
    os.execute([[
        (sleep 1
        for p in $(cat /proc/$PPID/task/*/children); do
            [ "$(cat /proc/$p/comm)" = qemu-system-x86 ] && kill -KILL $p
        done) >/dev/null 2>&1 &]])
    local start = uptime()
    assert_error(function() vm:exec("sleep 100") end, "SIGKILL")
    assert(uptime() - start < 30)
end)

test("unknown profile", function()
    local why = assert_error(function() provium.create("minmal") end, "minmal")
    assert_contains(why, "minimal")
    assert_contains(why, "root-ext4")
end)

test("an unknown fixture is an error that names the searched paths", function()
    local why = assert_error(function() provium.fixture("no-such") end, "there is no fixture 'no%-such'")
    assert_contains(why, "tests/vm/fixtures")
end)
