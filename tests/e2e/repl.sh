#!/bin/bash
# SPDX-License-Identifier: MIT
# `provium repl` in a pipe: values, errors that do not end it, a VM that boots when it is used first, nothing left.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest

# repl CODE ARGUMENTS...: standard input is the script.
repl() {
    local want=$1
    shift
    timeout -k 5 200 "$PROVIUM" repl "$@" >"$work/out" 2>"$work/err"
    code=$?
    exits "repl" "$want"
}

# ---- values, several lines, locals, errors ----
repl 1 <<'LUA'
1 + 1
local x = 5
x * 2
for i = 1, 2 do
    print("row " .. i)
end
error("bad")
"after"
{a = 1, b = {2}}
provium.json.decode('{"k": [true]}').k[1]
assert_eq(1, 2)
vm.exce
LUA
same "values" <<'OUT'
2
10
row 1
row 2
"after"
{a = 1, b = {2}}
true
OUT
warns "an error" "repl:1: bad"
warns "an assertion" "expected 1, got 2"
warns "a method that there is not" "a VM has no method 'exce' (did you mean 'exec'?)"

repl 1 <<<'print(1'
warns "an incomplete chunk" "')' expected near <eof>"
repl 0 </dev/null
is "no input: no VM" "$(cat out err)" ""
repl 2 nope </dev/null
warns "no such profile" "unknown profile 'nope'"

# ---- a VM, a fixture, kernel reports ----
mkdir fixtures
cat >fixtures/marked.lua <<'LUA'
local vm = provium.create()
vm:boot()
vm:write_file("/etc/mark", "kept")
return vm
LUA
repl 0 <<'LUA'
vm:sh("uname -s")
test("a sub-test", function() assert_eq(vm:sh("echo x"), "x") end)
vm:sh("echo '<0>BUG: kernel NULL pointer dereference, address: 1' >/dev/kmsg; sleep 1")
LUA
shows "a command's output" '"Linux"'
warns "it says that it boots" "booting vm1"
warns "a sub-test" "test: ok"
warns "a kernel report" "BUG: kernel NULL pointer dereference"
repl 0 <<'LUA'
vm:boot{memory = "200M"}
tonumber(vm:read_file("/proc/meminfo"):match("MemTotal: *(%d+)")) < 200 * 1024
LUA
shows "vm:boot as the first use boots as it says" "true"
repl 0 --fixture marked <<<'vm:read_file("/etc/mark")'
shows "the fixture's file" '"kept"'

# ---- Ctrl-C ends what runs, and not the prompt ----
mkfifo in
timeout -k 5 100 "$PROVIUM" repl <in >out 2>err &
pid=$!
exec 9>in
echo 'print("begun") provium.sleep(1000)' >&9
wait_for 60 grep -q begun out
kill -INT "$(pgrep -P "$pid" -x provium || echo "$pid")"
echo '"still there"' >&9
wait_for 60 grep -q 'still there' out
exec 9>&-
wait "$pid"
is "interrupted: exit code" $? 1
contains "interrupted" err "interrupted"
is "nothing is left" "$(left_running)$(ls tmp)" ""
# A terminal without an editor has a prompt, too.
TERM=dumb timeout 60 python3 - "$PROVIUM" repl >seen 2>&1 <<'PY'
import os, pty, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
got, end = b"", time.time() + 50
def until(text, n):
    global got
    while got.count(text) < n and time.time() < end:
        got += os.read(fd, 4096)
until(b"> ", 1)
os.write(fd, b"1 + 41\n")
until(b"> ", 2)
os.write(fd, b"\x04")
print(got.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
PY
contains 'a dumb terminal: the prompt' seen '> 1 + 41'
contains 'a dumb terminal: the answer' seen '42'
is 'a dumb terminal: the exit code' "$(tail -n 1 seen | grep -o '[0-9]*$')" 0

finish
