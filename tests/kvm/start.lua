-- A VM under KVM with the vsock device of our own: start, console, commands, files, workers, several CPUs, reboot, reset,
-- death. Run by `make check-kvm`.

local clocks = dofile("tests/lib/clocks.lua")
local vm = provium.create()
vm:boot({ cpus = 2, transport = "vsock", files = { ["/clocks"] = clocks.program } })
vm:mount_vfs()

test("it is KVM", function()
    assert_contains(vm:exec("dmesg").stdout, "Hypervisor detected: KVM")
    local source = vm:read_file("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    assert(source == "kvm-clock\n" or source == "tsc\n", "the clock source is " .. source)
    assert_eq("2", vm:exec("nproc").stdout.trim())
    log(vm:exec("uname -rv; grep -m 1 'model name' /proc/cpuinfo; dmesg | grep -i 'tsc:\\|kvm-clock'").stdout)
end)

test("commands, files and workers", function()
    local r = vm:exec("echo out; echo err >&2; exit 3")
    assert_eq("out\n", r.stdout.value)
    assert_eq("err\n", r.stderr.value)
    assert_eq(3, r.exit_code)
    local bytes = {}
    for i = 1, 4096 do bytes[i] = string.pack("<I4", i * 2654435761 & 0xffffffff):rep(64) end
    bytes = table.concat(bytes)
    vm:write_file("/tmp/bytes", bytes)
    assert_eq(true, bytes == vm:read_file("/tmp/bytes"))
    local w = vm:spawn()
    assert_eq("1", w:exec("echo $((2 - 1))").stdout.trim())
    w:kill()
end)

test("the console", function()
    local console = vm:console()
    vm:write_file("/dev/kmsg", "<2>provium: seen on the console\n")
    console:expect("provium: seen on the console", "60s")
end)

test("clocks", function()
    clocks.is_right(vm)
    clocks.watch(vm)
    clocks.same_rate(vm)
    vm:pause()
    provium.sleep("2s")
    vm:resume()
    vm:exec("true")
    clocks.is_steady(vm, 60)
end)

local function boot_id() return vm:read_file("/proc/sys/kernel/random/boot_id") end

test("reboot and reset", function()
    local first = boot_id()
    vm:reboot("300s")
    vm:mount_vfs()
    local second = boot_id()
    assert_ne(first, second)
    vm:reset("300s")
    vm:mount_vfs()
    assert_ne(second, boot_id())
    clocks.is_right(vm)
end)

test("a panic", function()
    assert_error(function() vm:exec("echo c >/proc/sysrq-trigger", { timeout = "120s" }) end)
    assert_contains(tostring(vm), "dead")
end)
