#!/bin/bash
# SPDX-License-Identifier: MIT
# test --coverage with a kernel that has CONFIG_GCOV_KERNEL and CONFIG_KCOV: lines of ipc/, of a file, of each sub-test.
#
# Not part of `make check`: the kernel is built first (tests/make-coverage-kernel). From the project's root:
#   tests/make-coverage-kernel && tests/long/coverage.sh
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
tree=$repo/build/coverage-kernel
[ -s "$tree/arch/x86/boot/bzImage" ] || skip "there is no kernel: tests/make-coverage-kernel"

cat >provium.toml <<TOML
[profile.default]
kernel = "$tree/arch/x86/boot/bzImage"
initrd = "$guest/userland.cpio"
transport = "serial"
TOML
cat >t/ipc.test.lua <<'LUA'
local vm = provium.create()
vm:boot()
vm:mount_vfs()
local IPC_CREAT = 512
test("shm", function() assert_eq(true, vm:syscall("shmget", 0, 4096, IPC_CREAT + 438) >= 0) end)
test("msg", function()
    assert_eq(true, vm:syscall("msgget", 0, IPC_CREAT + 438) >= 0)
    local copy = vm:clone()
    assert_eq(true, copy:syscall("msgget", 7, IPC_CREAT + 438) >= 0)
end)
LUA
# reached INFO TEST FILE: how many lines of FILE the test has reached.
reached() { awk -F'[:,]' -v t="$2" -v f="$3" '/^TN:/ { test = $2 } /^SF:/ { file = $2 } test ~ t && file ~ f && $1 == "DA" && $3 > 0 { n++ } END { print n + 0 }' "$1"; }
some() { if [ "$2" -gt 0 ]; then ok "$1: $2"; else not_ok "$1: none"; fi; }

timeout -k 5 300 "$PROVIUM" test --coverage cov t >"$work/out" 2>"$work/err"
code=$?
exits "the verdict" 0
grep coverage: "$work/out"
for f in ipc/shm.c ipc/msg.c; do some "gcov: $f" "$(reached cov/coverage.info . $f)"; done
some "kcov: shm in ipc/shm.c" "$(reached cov/kcov.info __shm ipc/shm.c)"
some "kcov: msg in ipc/msg.c" "$(reached cov/kcov.info __msg ipc/msg.c)"
is "kcov: msg not in ipc/shm.c" "$(reached cov/kcov.info __msg ipc/shm.c)" 0
# The line of a function that both have is the kernel's.
line=$(grep -n '^static int newque' "$tree/ipc/msg.c" | cut -d: -f1)
is "gcov: newque ran once, and in the clone that time and another one" "$(awk -F'[:,]' -v n="$line" '/^SF:.*ipc\/msg.c$/ { mine = 1 } /^end/ { mine = 0 } mine && $1 == "DA" && $2 == n { sum += $3 } END { print sum + 0 }' cov/coverage.info)" 3
genhtml -q cov/coverage.info -o cov/html && ok "genhtml reads it"
finish
