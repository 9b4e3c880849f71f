#!/bin/bash
# SPDX-License-Identifier: MIT
# Without QEMU, `provium test` and `provium doctor` fail at once and name the package to install.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest

echo 'provium.create():boot()' >"$work/t/boot.lua"
mkdir "$work/bin"
PATH=$work/bin "$PROVIUM" test "$work/t/boot.lua" >"$work/out" 2>&1
is "exit code" $? 1
contains "names the program" "$work/out" "qemu-system-x86_64"
contains "names the package" "$work/out" "apt install qemu-system-x86"
logs_at_most "QEMU missing"

PATH=$work/bin "$PROVIUM" doctor >"$work/out" 2>&1
is "doctor: exit code" $? 1
contains "doctor names the package" "$work/out" "apt install qemu-system-x86"
PATH=$work/bin "$PROVIUM" doctor --json >"$work/out" 2>&1
is "doctor --json: exit code" $? 1
contains "doctor --json says it" "$work/out" '"can_boot": false'
"$PROVIUM" doctor >"$work/out" 2>&1
is "doctor, all there: exit code" $? 0
finish
