-- A guest falls silent between two tests, with the first words of a panic, and its kernel reports once more while the
-- host waits for a sign of life: that is no test's either, least of all the next one's, which begins with a restored VM.
provium.reset_between_tests = true
local vm = provium.create("small")
vm:boot({ memory = "128M", timeout = "2m" })
vm:mount_vfs()
test("before it", function()
    vm:exec([[(
        sleep 0.5
        kill -STOP $(pidof provium-agent)
        echo '<0>Kernel panic - not syncing: a late one' >/dev/kmsg
        sleep 4
        echo '<1>BUG: a later one, address: 0000000000000008' >/dev/kmsg
    ) >/dev/null 2>&1 &]])
end)
os.execute("sleep 3") -- meanwhile this process reads no console
test("after it", function() assert(vm:exec("true").ok) end)
