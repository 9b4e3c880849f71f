#!/bin/bash
# SPDX-License-Identifier: MIT
# `provium test --debug`: a failing file stops where it failed, with its variables and VMs, and a prompt; breakpoint().
. "$(dirname "$0")/../lib/shell.sh"
needs_guest

cat >t/a.lua <<'LUA'
local vm = provium.create()
vm:boot()
local function check(n, want)
    local doubled = n * 2
    assert_eq(want, doubled)
end
test("passes", function() check(2, 4) end)
test("fails", { timeout = 1 }, function()
    local word = "hello"
    check(3, 7)
end)
test("stops", function()
    local x = 1
    breakpoint()
    assert_eq(5, x)
end)
test("is expected to fail", { expect_fail = "known" }, function() error("known") end)
LUA
timeout -k 5 200 "$PROVIUM" test --debug t/a.lua >out 2>err <<'IN'
doubled * 100
vm:sh("uname -s")
locals
frame 2
word
provium.sleep(1.5)
vm:sh("echo later")
error("at the prompt")
continue
x
x = 5
continue
IN
is "exit code" $? 1
contains "the failure is shown" out "expected 7, got 6"
contains "VMs are told" out "time limits are off, VMs run on: vm1 (running)"
contains "a local" out "600"
contains "a local of the file" out '"Linux"'
contains "all locals" out "want = 7"
contains "a caller's local" out '"hello"'
contains "no limit while a person looks" out '"later"'
contains "an error at the prompt" out "at the prompt"
contains "a breakpoint" out "a.lua:14: breakpoint"
contains "the sub-test that failed stays failed" out "· fails ... FAIL"
contains "an assignment counts" out "· stops ... ok"
is "it stopped twice" "$(grep -c '^stopped in' out)" 2

timeout -k 5 200 "$PROVIUM" test --debug t/a.lua >out 2>err <<<quit
is "quit: exit code" $? 1
contains "quit ends the file" out "ended at the prompt of --debug before the file was finished"

# On a terminal the prompt reads, although the file's process is in a group of its own.
if command -v script >/dev/null; then
    : >out
    # shellcheck disable=SC2094 # it waits for what the other end writes
    (for _ in {1..180}; do grep -q 'debug> ' out && break; sleep 1; done; echo 'want * 1000'; sleep 2; echo quit; sleep 5) |
        TERM=xterm timeout -k 5 200 script -qec "$PROVIUM test --color never --debug -f a t/a.lua" /dev/null >out 2>err
    contains "on a terminal: a prompt" out 'debug> '
    contains "on a terminal: a value" out '7000'
    contains "on a terminal: quit" out "ended at the prompt of --debug"
fi

# ---- --keep ----
timeout -k 5 200 "$PROVIUM" test --keep t/a.lua >out 2>err <<'IN'
shell vm1

IN
is "--keep: exit code" $? 1
contains "--keep tells the VMs" out "t/a.lua failed; its VMs go on: vm1 (running)"
is "--keep stops once" "$(grep -c 'Enter ends them' out)" 1
echo 'provium.create():boot()' >t/ok.lua
timeout -k 5 200 "$PROVIUM" test --keep t/ok.lua >out 2>err </dev/null
is "--keep of a file that passes" "$(grep -c 'Enter ends them' out)" 0

echo 'breakpoint()' >t/b.lua
provium test t/b.lua
exits "breakpoint without --debug" 1
shows "says so" "breakpoint() stops only in \`provium test --debug\`"
provium test --debug -p 2 t/b.lua
exits "--debug with -p" 2
is "nothing is left" "$(left_running)" ""
finish
