-- The kernel changes its own code while another CPU runs it. QEMU may lose such a change when it emulates each CPU in a
-- thread of its own, and a CPU then takes a breakpoint that is gone: without `tcg_thread`, Provium must not let it.
-- (`make soak` does the same for longer.)

local vm = provium.create()
vm:boot({ memory = "256M", cpus = 2, timeout = "2m" })
vm:mount_vfs()

test("a static branch of the scheduler is toggled while the other CPU schedules", function()
    assert_eq("2", vm:exec("nproc").stdout:trim())
    vm:write_file("/tmp/pingpong", [[
mkfifo /tmp/a /tmp/b
(while read -r x; do echo "$x"; done) </tmp/a >/tmp/b &
exec 8>/tmp/a 9</tmp/b
echo x >&8
while read -r x <&9; do echo "$x" >&8; done
]])
    local job = vm:background("sh /tmp/pingpong")
    local r = vm:exec([[
i=0
while [ $i -lt 60 ]; do
    echo 1 >/proc/sys/kernel/sched_schedstats
    echo 0 >/proc/sys/kernel/sched_schedstats
    i=$((i + 1))
done
echo done]], { timeout = "2m" })
    assert_eq("done", r.stdout:trim())
    assert(vm:job_kill(job).exit_code ~= 0)
end)
