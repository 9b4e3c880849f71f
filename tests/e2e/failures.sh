#!/bin/bash
# SPDX-License-Identifier: MIT
# The report of a failure with VMs: exit codes in words, every VM's console, and the status that SIGUSR1 shows.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest

cat >"$work/t/words.lua" <<'LUA'
local a, b = provium.create("minimal"), provium.create("minimal")
a:boot({memory = "128M"})
b:boot({memory = "128M"})
local function say(vm, text)
    vm:exec("printf '" .. text .. "\\n' >/dev/console")
    provium.sleep(0.3)
end
say(a, "this is \\033[31ma\\033[0m\\007")
say(b, "this is b\\302\\233")
test("segv", function() assert_eq(0, a:exec("echo one >&2; echo two >&2; kill -SEGV $$").exit_code) end)
test("no such command", function() assert(b:exec("frobnicate").ok, "it must work") end)
test("another went well", function() a:exec("false") a:exec("true") fail("all the same") end)
test("json", function() a:json("exit 126") end)
test("job", function() assert(a:job_wait(a:background("exit 3"), 10).exit_code == 0) end)
say(b, "b once more")
io.open(os.getenv("READY"), "w"):close()
test("stuck", function() while true do end end)
LUA
cat >"$work/provium.toml" <<TOML
[profile.minimal]
kernel = "$guest/vmlinuz"
modules = "$guest/modules"
TOML
export READY=$work/ready
"$PROVIUM" test --config "$work/provium.toml" "$work/t/words.lua" >"$work/out" 2>&1 &
top=$!
stuck() { grep -qF 'in test "stuck" for ' "$work/out"; }
ask() { kill -USR1 $top && sleep 0.2 && stuck; }
if wait_for 60 test -e "$READY" && wait_for 10 ask; then ok "SIGUSR1"; else not_ok "it did not come that far"; fi
kill -KILL $(cat /proc/$top/task/$top/children) # the file's process, which can report nothing more
wait $top
is "exit code" $? 1

# block FROM TO: the lines of the output from the first that holds FROM to the next that holds TO.
block() { awk -v from="$1" -v to="$2" '!on && index($0, from) {on = 1} on {print} on && index($0, to) && !index($0, from) {exit}' "$work/out"; }

# The last status: that of the file stuck in Lua.
tac "$work/out" | awk '/^---$/ {on = 1} on {print} on && /^--- status after/ {exit}' | tac >"$work/status"
contains "status: the test" "$work/status" '    in test "stuck" for '
contains "status: a VM" "$work/status" "    vm1 (minimal): running for "
contains "status: its last line" "$work/status" " ago: this is a"
contains "status: the other" "$work/status" "    vm2 (minimal): running for "
contains "status: its last line" "$work/status" " ago: b once more"
is "status: two consoles" "$(grep -c '^      console' "$work/status")" 2

block "segv ... FAIL" "no such command" | sed '$d' >"$work/segv"
contains "exit code 139" "$work/segv" "ended with exit code 139: killed by SIGSEGV"
contains "its stderr" "$work/segv" "          stderr: two"
contains "console of one VM" "$work/segv" "--- console of vm1 (last "
contains "console of the other" "$work/segv" "--- console of vm2 (last "
contains "a console line" "$work/segv" "    this is a"
block "no such command" "another went well" >"$work/none"
contains "exit code 127" "$work/none" "the last command in vm2, 'frobnicate', ended with exit code 127: command not found"
block "another went well" "json ..." >"$work/well"
is "a command that went well is not mentioned" "$(grep -c 'last command' "$work/well")" 0
contains "exit code 126" "$work/out" "json: 'exit 126' ended with exit code 126: found, but can not be executed"
contains "exit code of a job" "$work/out" "the last command in vm1, 'job 1', ended with exit code 3"
block "killed by SIGKILL in test 'stuck'" "Failed test logs" >"$work/end"
contains "killed: what is new on a console" "$work/end" "    b once more"
is "killed: nothing twice" "$(grep -c 'console of vm1' "$work/end")" 0
contains "the command that runs it again" "$work/end" \
    "    rerun: $PROVIUM test --config $work/provium.toml $work/t/words.lua"
is "the logs are named" "$(sed -n 's/^  .*words.lua *→ //p' "$work/out" | xargs ls | wc -l)" 2
if grep -qP '[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]' "$work/out"; then
    not_ok "control bytes of a guest are in the output"
else
    ok "nothing of the guest acts on the terminal"
fi
only_logs_left "failures"
finish
