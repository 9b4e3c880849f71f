#!/bin/bash
# SPDX-License-Identifier: MIT
#
# tests/e2e/verdicts.sh [--update] [NAME...]
#
# Runs the misbehaving tests in verdicts/, each of which fails in one way, and compares verdict, class and headline of
# the JSON report with verdicts/golden, and the terminal's text with verdicts/golden.text. --update rewrites both;
# NAME... selects tests. A first line "-- options: ..." of a test holds its options for `provium test`.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
update=
[ "${1:-}" != --update ] || { update=1; shift; }

cat >provium.toml <<TOML
[profile.small]
kernel = "$guest/vmlinuz"
modules = "$guest/modules"
initrd = "$guest/userland.cpio"

[profile.held]
kernel = "$guest/vmlinuz"
modules = "$guest/modules"
qemu_args = ["-S"]

[profile.no-root]
kernel = "$guest/vmlinuz"
modules = "$guest/modules"
append = "rdinit=/none root=/dev/none"

[profile.refused]
kernel = "$guest/vmlinuz"
modules = "$guest/modules"
qemu_args = ["-no-such-option"]
TOML

# normal: standard input without times, addresses, paths and consoles, which differ from run to run.
normal() {
    sed -E -e "s#$work#WORK#g" -e "s#$PROVIUM#provium#g" -e 's/[0-9]+\.[0-9]+s\)/T)/' \
        -e 's#WORK/tmp/provium-[A-Za-z0-9]+#RUN#g' -e 's/^( *)\[ *[0-9]+\.[0-9]{6}\].*/\1[STAMP] .../' \
        -e 's/\bpid [0-9]+/pid N/g' -e 's/Killed process [0-9]+ (\([^)]*\)).*/Killed process N \1.../' \
        -e 's/0x[0-9a-f]{6,}/0x.../g' -e '/^  note: /d' -e '/^ +\[STAMP\] \.\.\.$/d' -e '/^ +--- console of /d' \
        -e '/^ +\.\.\. [0-9]+ lines \.\.\.$/d' -e '/^ +vm1 \([a-z]+\): [a-z]+ for /d' -e '/^ +console[,:] /d'
}

: >got
: >got.text

# record NAME: appends the report and the output of the last run to the text that is compared.
record() {
    echo "== $1" | tee -a got.text >>got
    "$here/verdicts.py" report.json >>got
    normal <out >>got.text
    logs_at_most "$1"
}

for file in "$here"/verdicts/*.lua; do
    name=$(basename "$file" .lua)
    [ $# = 0 ] || [[ " $* " = *" $name "* ]] || continue
    cp "$file" .
    # shellcheck disable=SC2046 # words
    PROVIUM_GUEST_DIR=$guest provium test --color never --json report.json \
        $(sed -n '1s/^-- options: //p' "$file") "$name.lua"
    record "$name"
done

# SIGINT for the supervisor while a VM runs.
if [ $# = 0 ] || [[ " $* " = *" stopped "* ]]; then
    cat >stopped.lua <<'LUA'
local vm = provium.create("small")
vm:boot({memory = "128M"})
test("goes on", function()
    io.open("ready", "w"):close()
    vm:exec("sleep 1000")
end)
LUA
    timeout -k 5 60 "$PROVIUM" test --color never --json report.json stopped.lua >out 2>err &
    run=$!
    wait_for 40 test -e ready || not_ok "stopped: did not start"
    pkill -INT -P $run # the child of timeout
    wait $run
    code=$?
    exits stopped 130
    record stopped
fi

if [ -n "$update" ]; then
    [ $# = 0 ] || { echo "--update is for all of them"; exit 1; }
    cp got "$here/verdicts/golden"
    cp got.text "$here/verdicts/golden.text"
    echo "written: verdicts/golden, verdicts/golden.text"
    finish
fi

# parts FILE: prints the parts of the selected tests, or all.
parts() { awk -v names=" $names " '/^== / { on = names == "  " || index(names, " " $2 " ") } on' "$1"; }
names=$*
for kind in golden golden.text; do
    got=got${kind#golden}
    if diff -u <(parts "$here/verdicts/$kind") "$got" >changes; then ok "$kind"; else
        not_ok "$kind differs (tests/e2e/verdicts.sh --update writes it anew):"
        sed 's/^/    /' changes
    fi
done
finish
