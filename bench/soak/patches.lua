-- Changes of code while another CPU runs that code: a sysctl toggles a static branch of the scheduler, whose sites
-- the kernel patches by text_poke (int3, tail, first byte), and two shells wake each other all the time.
-- PV_SOAK_PATCHES: toggles (default 10,000).
local n = tonumber(os.getenv("PV_SOAK_PATCHES") or "10000")

local vm = provium.create("soak")
vm:boot({ memory = "256M", cpus = 2, timeout = "2m" })
vm:mount_vfs()
vm:write_file("/tmp/pingpong", [[
mkfifo /tmp/a /tmp/b
(while read -r x; do echo "$x"; done) </tmp/a >/tmp/b &
exec 8>/tmp/a 9</tmp/b
echo x >&8
while read -r x <&9; do echo "$x" >&8; done
]])
vm:background("sh /tmp/pingpong")

-- A shell of the guest toggles `block` times, so that a request costs nothing.
local block = 500
local toggle = "i=0; while [ $i -lt " .. block // 2 .. [[ ]; do
    echo 1 >/proc/sys/kernel/sched_schedstats; echo 0 >/proc/sys/kernel/sched_schedstats; i=$((i + 1))
done]]
local begun = os.time()
for done = block, n, block do
    local r = vm:exec(toggle, { timeout = "5m" })
    assert(r.ok, r.stderr.value)
    if done % 1000 == 0 then
        print(done .. " toggles after " .. os.time() - begun .. " s")
    end
end
vm:shutdown()
