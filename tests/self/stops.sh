#!/bin/bash
# SPDX-License-Identifier: MIT
# Every way to stop a run gives its exit code and leaves nothing within 2 s. No VM is started.
. "$(dirname "$0")/../lib/shell.sh"

cat >a-first.lua <<'LUA'
test("runs", function() end)
LUA
cat >b-spins.lua <<'LUA'
os.execute("sleep 720 >/dev/null &")
io.open(os.getenv("READY"), "w"):close()
test("spins", function() while true do pcall(function() end) end end)
LUA
cat >b-waits.lua <<'LUA'
io.open(os.getenv("READY"), "w"):close()
os.execute("sleep 721")
LUA
cat >b-ignores.lua <<'LUA'
io.open(os.getenv("READY"), "w"):close()
os.execute("kill -STOP $PPID; sleep 722")
LUA
cat >c-last.lua <<'LUA'
test("never runs", function() end)
LUA
export READY=$work/ready

# stop SIGNAL FILE WANT-CODE NAME: sends SIGNAL to the supervisor once FILE runs.
stop() {
    local top
    rm -f "$READY"
    "$PROVIUM" test -p 1 a-first.lua "$2" c-last.lua >out 2>err &
    top=$!
    wait_for 10 test -e "$READY" || not_ok "$4: did not start"
    kill "-$1" $top
    wait $top 2>/dev/null
    code=$?
    exits "$4" "$3"
    nothing_left "$4"
}

for file in b-spins.lua b-waits.lua b-ignores.lua; do
    for how in INT:130 TERM:143 HUP:129; do
        name="SIG${how%:*}, $file"
        stop "${how%:*}" "$file" "${how#*:}" "$name"
        shows "$name: what ran is reported" "a-first.lua ... ok"
        shows "$name: what was stopped is reported" "$file ... interrupted"
        shows "$name: the last line" "FAIL: 1 passed, 0 failed, 2 not run to the end (stopped by SIG${how%:*})"
    done
    [ $file = b-ignores.lua ] || stop KILL "$file" 137 "SIGKILL of the top process, $file"
done

# A run removes the directory of a crashed run, all of whose processes were killed at once; it removes neither kept
# directories nor those of other runs in progress.
mkdir -m 700 "$TMPDIR/provium-abcdef" "$TMPDIR/provium-kepttt" "$TMPDIR/provium-locked" "$TMPDIR/provium-x"
mkdir "$TMPDIR/provium-abcdef/001-x"
: >"$TMPDIR/provium-abcdef/001-x/vm1.log"
: >"$TMPDIR/provium-kepttt/kept"
exec 9<"$TMPDIR/provium-locked"
flock 9
provium test a-first.lua
exec 9<&-
if [ "$(ls "$TMPDIR" | tr '\n' ' ')" = "provium-kepttt provium-locked provium-x " ]; then
    ok "left-overs: collected, and only those"
else
    not_ok "left-overs: $(ls "$TMPDIR")"
fi
rm -r "$TMPDIR"/provium-*

# The report's reader closes its pipe.
for i in $(seq 40); do echo 'test("t", function() provium.sleep(0.1) end)' >"many$i.lua"; done
start=$(date +%s)
timeout 30 "$PROVIUM" test -p 1 many*.lua 2>err | head -n 1 >out
code=${PIPESTATUS[0]}
exits "| head" 2
warns "| head: says so" "cannot write the report"
if [ $(($(date +%s) - start)) -lt 4 ]; then ok "| head: ends early"; else not_ok "| head: ran on"; fi
nothing_left "| head"
timeout 30 "$PROVIUM" test -p 1 a-first.lua >/dev/full 2>err
code=$?
exits "/dev/full" 2
nothing_left "/dev/full"
timeout 30 "$PROVIUM" test -p 1 a-first.lua >&- 2>&- <&-
code=$?
exits "closed descriptors" 0
nothing_left "closed descriptors"

# A reader that stalls holds up neither the deadline of a file nor a signal.
cat >flood.lua <<'LUA'
for i = 1, 100 do print(("x"):rep(999)) end
for i = 1, 3000 do test("a test with a name " .. i, function() end) end
fail("end")
LUA
mkfifo pipe
rm -f "$READY"
"$PROVIUM" test -p 1 flood.lua b-spins.lua --timeout 20 >pipe 2>err &
top=$!
exec 8<pipe # and never read
wait_for 10 test -e "$READY" && ok "stalled reader: the next file runs"
kill -INT $top
wait $top
code=$?
exec 8<&-
exits "stalled reader: SIGINT" 130
nothing_left "stalled reader"

# nohup: a signal that is ignored at the start stays ignored.
(trap '' HUP; exec "$PROVIUM" test -p 1 many1.lua many2.lua many3.lua many4.lua >out 2>err) &
top=$!
wait_for 5 grep -q many1.lua out
kill -HUP $top
wait $top
code=$?
exits "ignored SIGHUP" 0
nothing_left "ignored SIGHUP"

# A test's commands start with the default action of SIGPIPE.
echo 'local f = io.popen("{ yes; echo $? >&2; } 2>&1 | head -n 1") assert_eq("y", f:read()) f:close()' >pipe.lua
provium test pipe.lua
exits "SIGPIPE in commands" 0
finish
