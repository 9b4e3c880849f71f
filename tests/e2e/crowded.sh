#!/bin/bash
# SPDX-License-Identifier: MIT
# A host with no CPU to spare: a boot that would need the whole of its limit on a quiet one, or less, is ok.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest

cat >provium.toml <<TOML
[profile.default]
kernel = "$guest/vmlinuz"
modules = "$guest/modules"
initrd = "$guest/userland.cpio"
boot_timeout = "6s"
TOML
cat >t/boot.lua <<'LUA'
local vm = provium.create()
vm:boot()
vm:reboot()
assert(vm:exec("true").ok)
LUA
cat >t/never.lua <<'LUA'
local vm = provium.create()
vm:boot({timeout = "500ms"})
LUA

# Everything on one CPU, with three others.
cpu=$(taskset -cp $$ | sed 's/.*: *//; s/[,-].*//')
taskset -cp "$cpu" $$ >taskset.out || skip "taskset cannot bind to CPU $cpu: $(cat taskset.out)"
spinners=()
trap 'kill "${spinners[@]}" 2>/dev/null; rm -rf "$work"' EXIT
for _ in 1 2 3; do
    (while :; do :; done) &
    spinners+=($!)
done
provium test t/boot.lua
is "a boot and a reboot" $code 0
contains "the notice" out "the host had no CPU for vm1 (default) in"
[ $code = 0 ] || cat out
# Eight times the limit is the most.
start=$(date +%s)
provium test t/never.lua
is "half a second is not enough" $code 1
contains "the limit that it had" out "cannot boot vm1 (default) within"
if [ $(($(date +%s) - start)) -lt 30 ]; then ok "the end is near"; else not_ok "$(($(date +%s) - start)) s"; fi
finish
