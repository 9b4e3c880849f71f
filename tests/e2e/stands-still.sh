#!/bin/bash
# SPDX-License-Identifier: MIT
# A boot that stands still is tried once more where emulated CPUs have a thread each, and only there; the notice and
# `provium doctor` tell why.  `halt -f` as init stops all CPUs for good.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest

profile() {
    cat <<TOML
[profile.$1]
kernel = "$guest/vmlinuz"
modules = "$guest/modules"
initrd = "$guest/userland.cpio"
accel = "tcg"
TOML
}
{
    profile default
    profile threads
    echo 'tcg_thread = "multi"'
} >provium.toml
# boot PROFILE CPUS STARTS: a boot that stands still, of a kernel that starts so often.
boot() {
    cat >"t/$1-$2.lua" <<LUA
local vm = provium.create("$1")
vm:boot({ memory = "128M", cpus = $2, timeout = "5m", append = "rdinit=/bin/busybox -- halt -f" })
LUA
    timeout -k 5 200 "$PROVIUM" test -p 1 "t/$1-$2.lua" >out 2>err
    is "$1, CPUs: $2: exit code" $? 1
    contains "$1, CPUs: $2: the reason" out "died: the guest stands still: all its CPUs are halted with interrupts off"
    is "$1, CPUs: $2: starts" "$(grep -c 'System halted' "$(sed -n 's/.*→ //p' out)")" "$3"
}

boot threads 2 2
contains "the notice" out 'vm1 (threads) stood still while it booted with tcg_thread = "multi", as can happen with this QEMU (provium doctor says more); it is booted once more'
is "once" "$(grep -c 'booted once more' out)" 1
boot threads 1 1
is "one CPU loses nothing" "$(cat out err | grep -c 'once more')" 0
boot default 2 1
is "nor do CPUs in one thread" "$(cat out err | grep -c 'once more')" 0

provium doctor
shows "doctor" "VMs without KVM run all their CPUs in one thread: with a thread for each, QEMU can lose changes of the kernel's code"
shows "doctor: what to do" 'use KVM; a thread for each CPU is tcg_thread = "multi" of a profile'
finish
