#!/bin/bash
# SPDX-License-Identifier: MIT
# Without QEMU: an error at once that says what to install, from the test and from doctor.
. "$(dirname "$0")/lib.sh"

echo 'provium.create("minimal"):boot()' >"$work/files/boot.lua"
mkdir "$work/bin"
PATH=$work/bin "$PROVIUM" test --config tests/provium.toml "$work/files/boot.lua" >"$work/out" 2>&1
is "exit code" $? 1
contains "names the program" "$work/out" "qemu-system-x86_64"
contains "names the package" "$work/out" "apt install qemu-system-x86"
rm -rf "${TMPDIR:?}"/provium-*
check_nothing_left "QEMU missing"

PATH=$work/bin "$PROVIUM" doctor >"$work/out" 2>&1
is "doctor: exit code" $? 1
contains "doctor names the package" "$work/out" "apt install qemu-system-x86"
PATH=$work/bin "$PROVIUM" doctor --json >"$work/out" 2>&1
is "doctor --json: exit code" $? 1
contains "doctor --json says it" "$work/out" '"can_boot": false'
"$PROVIUM" doctor >"$work/out" 2>&1
is "doctor, all there: exit code" $? 0
exit $status
