#!/bin/bash
# SPDX-License-Identifier: MIT
# The standby pool seen from outside: resumes adopt standby VMs, which neither exceed the budget nor make a file wait;
# `standby = false` prepares none; no end of a run leaves one. (The adopted guest: src/guest/standby-test.c.)
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
mkdir "$work/fixtures" "$work/set"
cat >"$work/fixtures/small.lua" <<'LUA'
local vm = provium.create()
vm:boot{memory = "128M"}
vm:write_file("/tmp/mark", "small")
LUA
# loop N: a test that gives the pool time to prepare each of N standby VMs.
loop() {
    cat <<LUA
for i = 1, $1 do
    test("vm " .. i, function()
        local vm <close> = provium.fixture("small")
        assert_eq("small", vm:read_file("/tmp/mark"))
        vm:write_file("/tmp/mark", "changed")
        vm:exec("echo hi")
        provium.sleep(0.4)
    end)
end
LUA
}
loop 5 >"$work/loop.lua"

adopted() { grep -c 'resume: standby VM adopted' "$1"; }
run() { PROVIUM_DEBUG=1 "$PROVIUM" test -v --config "$work/provium.toml" "$@" >"$work/out" 2>&1; }

run "$work/loop.lua"
is "a loop of five: exit code" $? 0
n=$(adopted "$work/out")
if [ "$n" -ge 2 ]; then ok "a loop of five: $n adopted"; else not_ok "a loop of five: $n adopted"; tail -n 50 "$work/out"; fi
nothing_left "a loop of five"

cat >"$work/reset.lua" <<'LUA'
provium.reset_between_tests = true
local vm = provium.create()
vm:boot{memory = "128M"}
for i = 1, 5 do
    test("test " .. i, function()
        assert_eq(false, vm:exec("test -e /tmp/mark").ok)
        vm:write_file("/tmp/mark", "changed")
        provium.sleep(0.4)
    end)
end
LUA
run "$work/reset.lua"
is "reset between tests: exit code" $? 0
n=$(adopted "$work/out")
if [ "$n" -ge 1 ]; then ok "reset between tests: $n adopted"; else not_ok "reset between tests: $n adopted"; fi

printf '[provium]\nstandby = false\n' >"$work/provium.toml"
run "$work/loop.lua"
is "standby = false: exit code" $? 0
is "standby = false: none is prepared" "$(grep -c 'standby[0-9]' "$work/out")" 0
: >"$work/provium.toml"

# With room for one VM there is never a second one.
run --mem 128M "$work/loop.lua"
is "room for one: exit code" $? 0
is "room for one: none is adopted" "$(adopted "$work/out")" 0

# Two files and room for two VMs: a waiting file preempts the other one's standby VM, and both pass.
loop 4 >"$work/set/a.lua"
sed 's/^for/provium.sleep(1.2)\nfor/' "$work/set/a.lua" >"$work/set/b.lua"
run --mem 256M -p 2 "$work/set" &
top=$!
read -r most samples < <(python3 "$here/vm-memory.py" "$top" "PROVIUM_TEST_MARK=$work")
wait "$top"
is "two files, room for two: exit code" $? 0
if [ "$most" -le 256 ]; then
    ok "two files, room for two: at most $most MiB, $samples samples"
else
    not_ok "two files, room for two: $most MiB"
fi

# The supervisor is killed while a standby VM exists.
standby_vm_exists() {
    local p
    for p in $(qemus); do
        grep -aq 'guest=standby' "/proc/$p/cmdline" && return 0
    done
    return 1
}
loop 50 >"$work/long.lua"
"$PROVIUM" test --config "$work/provium.toml" "$work/long.lua" >"$work/out" 2>&1 &
top=$!
wait_for 30 standby_vm_exists || not_ok "killed: no standby VM"
kill -KILL "$top"
wait "$top" 2>/dev/null
nothing_left "killed"

# A failed file keeps the logs of its VMs, and no log of a standby VM.
{ loop 3; echo 'provium.fixture("small"); provium.sleep(0.5); error("on purpose")'; } >"$work/fails.lua"
run "$work/fails.lua"
is "a file that fails: exit code" $? 1
is "a file that fails: logs of standby VMs" "$(find "$TMPDIR" -name 'standby*' | wc -l)" 0
is "a file that fails: logs of VMs" "$(find "$TMPDIR" -name 'vm*.log' | wc -l)" 4
only_logs_left "a file that fails"
finish
