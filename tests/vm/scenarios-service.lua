-- Small scenarios of a service in the default guest: configured, asked for its state, rebooted; and of a machine that is
-- paused while others go on.

local service = [[
#!/bin/sh
# Reads its level from /srv/level at each HUP, and says what it read in /srv/state.json, which is renamed into place.
load() {
    said="cannot read"
    if read -r level 2>/dev/null </srv/level; then said="level $level"; else level=null; fi
    printf '{"level": %s, "uid": %s, "vars": "%s"}' "$level" "$(/bin/busybox id -u)" "$KIND" >/srv/state.new
    /bin/busybox mv /srv/state.new /srv/state.json
    echo "$said" >>/srv/log
}
trap load HUP
load
echo serving
while :; do /bin/busybox sleep 0.1; done
]]

test("a service takes its configuration at a signal, and what it serves survives until the reboot that it asks for", function()
    local vm <close> = provium.create(nil, { name = "server" })
    local console = vm:console()
    vm:boot({ on_reboot = "follow", timeout = "120s" })
    vm:mkdir("/srv/www", { parents = true })
    vm:chown("/srv", 1500, 1500)
    vm:write_file("/srv/service", service)
    vm:chmod("/srv/service", tonumber("755", 8))
    vm:write_file("/srv/level", "1\n")
    vm:set_time(1000000000)

    local p = vm:start({ "/srv/service" }, { user = 1500, env_clear = true, env = { KIND = "test" } })
    p.stdout:expect("serving", 60)
    local function state() return provium.json.decode(vm:read_file("/srv/state.json")) end
    assert_eq({ level = 1, uid = 1500, vars = "test" }, state())
    assert(math.abs(vm:stat("/srv/state.json").mtime - 1000000000) < 3600)
    local events <close> = vm:follow("/srv/log", { from = "start" })
    assert_eq("level 1", events:read_line(60))
    vm:write_file("/srv/level", "2\n")
    p:signal("HUP")
    assert_eq("level 2", events:read_line(60))
    assert_eq(2, state().level)
    vm:chmod("/srv/level", 0)
    p:signal("HUP")
    events:expect("cannot read\n", 60)
    assert_eq({ "level", "log", "service", "state.json", "www" }, vm:list("/srv"))
    assert_eq(true, p:running())

    console:drain()
    local reader = provium.async(function() return events:read_line(240) end)
    vm:background("sleep 0.5; reboot -f")
    vm:wait_reboot("240s")
    assert_eq(nil, reader:wait(60)) -- its end
    assert_eq(true, events:eof())
    assert_error(function() p:wait(60) end, "server")
    assert_eq(false, vm:exists("/srv/service")) -- the root is in memory
    assert_eq("server", vm:sh("hostname"))
    assert_contains(console:log(), "rebooted")
end)

test("a paused machine keeps its callers waiting, and its neighbour and its own clock go on", function()
    local a <close> = provium.create(nil, { name = "asleep" })
    local b <close> = provium.create(nil, { name = "awake" })
    provium.all({ function() a:boot({ timeout = "120s" }) end, function() b:boot({ timeout = "120s" }) end })
    local ticks = a:start("i=0; while :; do i=$((i + 1)); echo $i; sleep 0.1; done")
    ticks.stdout:expect("3\n", 60)
    a:pause()
    local why = assert_error(function() a:exec("true") end)
    assert_contains(why, "asleep")
    assert_contains(why, "paused")
    ticks.stdout:drain("100ms")
    local late = provium.async(function() return ticks.stdout:read_line(240) end)
    assert_eq("awake", b:sh("sleep 1; hostname"))
    assert_eq(false, late:done())
    a:resume()
    assert(tonumber(late:wait(60)) > 3)
    a:set_time(os.time())
    assert(math.abs(a:time() - b:time()) < 3600)
    ticks:kill()
    assert_eq(9, ticks:wait(60).signal)

    -- The memory of both goes on to be their own.
    local at = a:alloc(4096)
    a:write_mem(at, "mine")
    local w = a:spawn()
    assert_eq("mine", w:read_mem(at, 4))
    a:nmi()
    a:allow_report("NMI")
    assert_eq("mine", a:read_mem(at, 4))
    assert_eq({ "running", "running" }, { a:state(), b:state() })
end)
