#!/bin/bash
# SPDX-License-Identifier: MIT
# vsock-reasons.sh QEMU PRELOAD: a host whose /dev/vhost-vsock or AF_VSOCK fails in each way (vsock-host.c, preloaded):
# `provium doctor` gives the reason, and a VM on the fake QEMU gets Provium's own device and tells why.
qemu=$(realpath "$1") preload=$(realpath "$2")
. "$(dirname "$0")/../lib/shell.sh"

# The fake QEMU has no vsock device: the VM gets as far as the command line.
python3 - "$repo/tests/fail-nth" <<'PY' || exit 1
import sys
sys.path.insert(0, sys.argv[1])
import sweep
open('vmlinux', 'wb').write(sweep.kernel())
open('initrd', 'wb').write(b'070701' + b'%08x' * 13 % (*(0,) * 11, 11, 0) + b'TRAILER!!!\0\0\0\0')
PY
: >plan && truncate -s 12 plan
cat >provium.toml <<TOML
[profile.fake]
kernel = "vmlinux"
initrd = "initrd"
qemu = "$qemu"
qemu_args = ["-fake", "$work/plan:none:0:none"]
confine = false
accel = "tcg"
transport = "vsock"
TOML
echo 'provium.create("fake"):boot({ memory = "64M", timeout = "500ms" })' >t/a.lua

# on HOST TAKEN COMMAND...: with such a host.
on() {
    VSOCK_HOST=$1 VSOCK_TAKEN=$2 LD_PRELOAD=$preload PROVIUM_DEBUG=1 timeout -k 5 60 "${@:3}" >out 2>err
}

# falls_back NAME HOST TAKEN REASON
falls_back() {
    on "$2" "$3" "$PROVIUM" doctor
    contains "$1: doctor" out "vhost-user-vsock: Provium's own device ($4"
    on "$2" "$3" "$PROVIUM" test t
    contains "$1: the reason of a VM" out "no vhost-vsock: $4"
    contains "$1: its device" out "vhost-user-vsock-pci"
}

falls_back "no device" open:2 0 "/dev/vhost-vsock does not exist here: the kernel module vhost_vsock is not loaded"
falls_back "a device without its driver" open:19 0 "/dev/vhost-vsock has no driver: the kernel module vhost_vsock"
falls_back "no permission" open:13 0 "no permission for /dev/vhost-vsock: add yourself to the group kvm"
falls_back "a container's devices" open:1 0 "/dev/vhost-vsock is forbidden to this process"
falls_back "seccomp forbids the address family" socket:1 0 "AF_VSOCK sockets are forbidden to this process, by seccomp"
falls_back "no address family" socket:97 0 "there are no AF_VSOCK sockets here: the kernel module vsock is not loaded"
falls_back "seccomp forbids the ioctl" cid:1 0 "/dev/vhost-vsock may be opened but not used by this process (seccomp)"
falls_back "an ioctl that fails" cid:22 0 "/dev/vhost-vsock takes no vsock address (CID)"
falls_back "all CIDs taken" none:0 1000000 "no vsock address (CID) is free on this host"

on none:0 5 "$PROVIUM" doctor
contains "five CIDs taken: doctor" out "vhost-vsock: /dev/vhost-vsock of the host's kernel"
on none:0 5 "$PROVIUM" test t
contains "five CIDs taken: a VM" out "vhost-vsock-pci,vhostfd="
is "no process is left" "$(left_running)" ""
finish
