#!/bin/bash
# SPDX-License-Identifier: MIT
# What a QEMU may do on the host: it opens the files of its VM and no others, whatever qemu_args say; it has no secrets
# in its environment and dumps no core.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
"$PROVIUM" doctor >"$work/doctor" 2>&1
contains "doctor says what holds" "$work/doctor" "confinement"

mkdir -p "$work/home"
head -c 4096 /dev/zero | tr '\0' c >"$work/home/canary"
canary="\"-drive\", \"if=none,id=c,format=raw,readonly=on,file=$work/home/canary\", \"-device\", \"virtio-blk-pci,drive=c\""
cat >provium.toml <<END
[profile.plain]
kernel = "$guest/vmlinuz"
modules = "$(echo "$guest"/modules*)"
[profile.canary]
kernel = "$guest/vmlinuz"
qemu_args = [$canary]
[profile.free]
kernel = "$guest/vmlinuz"
confine = false
qemu_args = [$canary, "-sandbox", "on"]
[profile.sandbox]
kernel = "$guest/vmlinuz"
qemu_args = ["-sandbox", "off"]
[profile.balloon]
kernel = "$guest/vmlinuz"
qemu_args = ["-device", "virtio-balloon-pci"]
END
sed -i '/^modules/d' provium.toml

# QEMU's environment and limits are read while it runs.
cat >t/plain.lua <<'END'
local function read(path) local f = assert(io.open(path, "rb")) local s = f:read("a") f:close() return s end
local me = read("/proc/self/stat"):match("^%d+")
local vm = provium.create("plain")
vm:boot({ disks = { { path = "disk.img" }, { path = "snap.img", snapshot = true } } })
local seen = 0
for pid in read("/proc/" .. me .. "/task/" .. me .. "/children"):gmatch("%d+") do
    if read("/proc/" .. pid .. "/cmdline"):find("qemu-system", 1, true) then
        seen = seen + 1
        assert(not read("/proc/" .. pid .. "/environ"):find("SECRET_OF_CI", 1, true), "QEMU has the secret")
        assert_contains(read("/proc/" .. pid .. "/limits"), "Max core file size        0                    0 ")
        assert_contains(read("/proc/" .. pid .. "/status"), "NoNewPrivs:\t1")
    end
end
assert_eq(1, seen)
assert_eq(true, vm:exec("printf x >/dev/vda && printf x >/dev/vdb").ok)
END
truncate -s 1M disk.img snap.img
export SECRET_OF_CI=hunter2
ulimit -c unlimited 2>/dev/null || true
provium test t/plain.lua
exits "a confined VM works, without secrets" 0

echo 'provium.create("sandbox"):boot()' >t/sandbox.lua
provium test t/sandbox.lua
exits "-sandbox in qemu_args" 1
shows "the key that allows it is named" "confine = false"
echo 'provium.create("balloon"):boot{transport = "serial"}' >t/balloon.lua
provium test t/balloon.lua
exits "a balloon in a VM that can be saved" 1
shows "the key is named" "qemu_args of profile 'balloon'"

cat >t/free.lua <<'END'
local vm = provium.create("free")
vm:boot({ disks = { { path = "snap.img", snapshot = true } } }) -- its driver serves the other disk, too
assert_eq("cccc", vm:exec("cat /dev/vda /dev/vdb | tr -d '\\0' | head -c 4").stdout)
END
provium test t/free.lua
exits "confine = false lifts it" 0
shows "and says so" "confine = false"

grep -q "Landlock [0-9]" "$work/doctor" || skip "this kernel has no Landlock"
echo 'provium.create("canary"):boot()' >t/canary.lua
provium test t/canary.lua
exits "qemu_args cannot open a file of the user" 1
shows "the reason" "Permission denied"
shows "and what lifts it" "confine = false"
finish
