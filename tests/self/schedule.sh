#!/bin/bash
# SPDX-License-Identifier: MIT
# Scheduling: retries, repetitions, the first failure, deadlines, parallel files and their order. No VM is started.
. "$(dirname "$0")/../lib/shell.sh"
export XDG_CACHE_HOME=$work/cache

# Removes a line of $work/luck and fails, until the file is empty.
cat >t/a-unlucky.lua <<'LUA'
test("needs luck", function()
    local f = io.open(os.getenv("PROVIUM_TEST_MARK") .. "/luck")
    local rest, line = {}, f:read()
    for l in f:lines() do rest[#rest + 1] = l .. "\n" end
    f:close()
    f = io.open(os.getenv("PROVIUM_TEST_MARK") .. "/luck", "w")
    f:write(table.concat(rest)) f:close()
    assert_eq(nil, line)
end)
LUA
echo 'test("fine", function() end)' >t/b-fine.lua

printf 'bad\nworse\n' >luck
provium test --retries 2 t
exits "retries" 0
same "retries: a pass after failures is flaky" <<'OUT'
provium test

  a-unlucky.lua ... flaky (passed at attempt 3, 1 test, T)
    attempt 1 ... FAIL (T): needs luck: expected nil, got "bad"
        at t/a-unlucky.lua:8
          > 8 | assert_eq(nil, line)
    attempt 2 ... FAIL (T): needs luck: expected nil, got "worse"
        at t/a-unlucky.lua:8
          > 8 | assert_eq(nil, line)
    · needs luck ... ok
  b-fine.lua ... ok (1 test, T)
    · fine ... ok

OK: 1 passed, 0 failed, 1 flaky
OUT
nothing_left "retries"
echo bad >luck
provium test --retries 2 --fail-on-flaky t
exits "--fail-on-flaky" 1
shows "--fail-on-flaky: the last line" "FAIL: 1 passed, 0 failed, 1 flaky"
printf 'bad\nworse\nworst\n' >luck
provium test --retries 1 t/a-unlucky.lua
exits "retries, none left" 1
shows "retries, none left: says how many" "a-unlucky.lua ... FAIL (2 attempts, "
printf 'bad\n' >luck
provium test t/a-unlucky.lua
exits "no retries" 1

: >luck
provium test --repeat 3 t/b-fine.lua
exits "--repeat" 0
shows "--repeat: the first" "b-fine.lua (1 of 3) ... ok"
shows "--repeat: the last" "b-fine.lua (3 of 3) ... ok"
shows "--repeat: the last line" "OK: 3 passed, 0 failed"

echo 'test("bad", function() fail("no") end)' >t/c-bad.lua
echo 'test("never", function() end)' >t/d-never.lua
provium test --fail-fast t
exits "--fail-fast" 1
shows "--fail-fast: the rest does not run" "FAIL: 2 passed, 1 failed, 1 not run to the end"
rm t/*

# A deadline: the output names the step that the file was in, and the next file runs.
echo 'test("stuck", function() provium.sleep(50) end)' >t/a-stuck.lua
echo 'test("stuck", function() while true do pcall(function() end) end end)' >t/b-spins.lua
echo 'test("slow", function() provium.sleep(1.3) end)' >t/c-slow.lua
provium test --timeout 1500ms --slow 1 --durations 2 t
exits "--timeout" 1
shows "--timeout: what a sleeping file was busy with" "timed out after 1.5 s while sleeping"
shows "--timeout: what a spinning file was busy with" "timed out after 1.5 s in test 'stuck'"
shows "--timeout: the next file runs" "c-slow.lua ... ok"
shows "--slow: names the file" "  slow: c-slow.lua took 1."
shows "--durations: a list" "Slowest files:"
if [ "$(grep -cE '^  +1\.[0-9]+s  [ab]-' out)" = 2 ]; then ok "--durations: so many"; else not_ok "--durations: $(cat out)"; fi
nothing_left "--timeout"
rm t/*

# In parallel, and the longest file first by the durations of the previous run.
for n in 1 2 3 4; do echo "provium.sleep(0.$n) print('took', $n)" >t/f$n.lua; done
provium test t
begin=$(date +%s%N)
provium test -p 4 --json r.json t
if [ $(($(date +%s%N) - begin)) -lt 1400000000 ]; then ok "-p 4: takes no longer than one after the other"; else
    not_ok "-p 4: took $((($(date +%s%N) - begin) / 1000000)) ms"
fi
exits "-p 4" 0
started=$(sed -n 's/^{"type":"file-begin","file":"\(f[0-9]\).*/\1/p' r.json | tr -d '\n')
if [ "$started" = f4f3f2f1 ]; then ok "longest first"; else not_ok "longest first: '$started' in $(head -c 1500 r.json)"; fi

# Invalid values of options.
for bad in "--retries -1" "--repeat 0" "-p 0" "-p two" "--mem 0" "--mem lots" "--cpus 0" "--slow never" "--durations 1e3"; do
    # shellcheck disable=SC2086
    provium test $bad t
    exits "$bad" 2
    warns "$bad: names the option" "test: --"
done

# A second SIGINT kills at once, also processes that ignore SIGTERM.
echo 'io.open(os.getenv("PROVIUM_TEST_MARK") .. "/ready", "w"):close() os.execute("kill -STOP $PPID; sleep 730")' >t/f0.lua
rm -f ready
"$PROVIUM" test -p 3 t >out 2>err &
top=$!
wait_for 10 test -e ready
begin=$(date +%s%N)
kill -INT $top
sleep 0.2
kill -INT $top
wait $top
code=$?
exits "SIGINT twice" 130
if [ $(($(date +%s%N) - begin)) -lt 1500000000 ]; then ok "SIGINT twice: at once"; else
    not_ok "SIGINT twice: took $((($(date +%s%N) - begin) / 1000000)) ms"
fi
nothing_left "SIGINT twice"
finish
