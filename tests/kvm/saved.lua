-- Under KVM: snapshots, clones, restores and their clocks, with two CPUs over virtio-serial. Run by `make check-kvm`.

local clocks = dofile("tests/lib/clocks.lua")
local long = { timeout = "200s" }
local vm = provium.create()
vm:boot({ cpus = 2, memory = "256M", transport = "serial", files = { ["/clocks"] = clocks.program },
    disks = { { size = "16M" } } })
vm:mount_vfs()
vm:exec("echo before >/tmp/f; echo before | dd of=/dev/vda conv=fsync 2>/dev/null"):assert_ok()
clocks.watch(vm)
local saved = clocks.read(vm)
local before = vm:snapshot(long)
saved.taken = provium.now()
local function state(v) return v:exec("cat /tmp/f; head -n 1 /dev/vda").stdout.value end

test("the VM goes on after its save", function()
    clocks.is_right(vm)
    assert(clocks.read(vm).monotonic > saved.monotonic)
end)

test("a restore brings memory and disk back, and the clocks go on from there", function()
    vm:exec("echo after >/tmp/f; echo after | dd of=/dev/vda conv=fsync 2>/dev/null"):assert_ok()
    assert_eq("after\nafter\n", state(vm))
    provium.sleep("5s")
    local resumed = provium.now()
    vm:restore(before, long)
    clocks.goes_on(vm, saved, resumed)
    clocks.is_right(vm)
    assert_eq("before\nbefore\n", state(vm))
    clocks.is_steady(vm, 3)
end)

test("a second of a restored guest is a second", function() clocks.same_rate(vm) end)

test("a clone, which is on both CPUs", function()
    local resumed = provium.now()
    local other = vm:clone(before, long)
    clocks.goes_on(other, saved, resumed)
    clocks.is_right(other)
    clocks.is_steady(other, 3)
    assert_eq("before\nbefore\n", state(other))
    assert_eq("2", other:exec("nproc").stdout.trim())
    other:exec("taskset 1 true && taskset 2 true"):assert_ok()
    other:exec("echo mine >/tmp/f"):assert_ok()
    assert_eq("before\n", vm:read_file("/tmp/f"))
    other:kill()
end)

test("a VM that was killed comes back", function()
    vm:kill()
    vm:restore(before, long)
    clocks.is_right(vm)
    assert_eq("before\nbefore\n", state(vm))
end)
