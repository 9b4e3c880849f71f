local vm <close> = provium.create("small")
vm:boot({memory = "128M"})
test("killed", function()
    os.execute([[(sleep 0.3
        for p in $(cat /proc/$PPID/task/*/children); do
            [ "$(cat /proc/$p/comm)" = qemu-system-x86 ] && kill -KILL $p
        done) >/dev/null 2>&1 &]])
    vm:exec("sleep 100")
end)
