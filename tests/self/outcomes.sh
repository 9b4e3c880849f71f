#!/bin/bash
# SPDX-License-Identifier: MIT
# Verdict, output and exit code for files that pass, fail, skip, break and end in odd ways. No VM is started.
. "$(dirname "$0")/../lib/shell.sh"

cat >t/a-good.lua <<'LUA'
test("one", function() assert_eq(1, 1) end)
test("two", function() assert_contains("abc", "b") end)
LUA
cat >t/b-bad.lua <<'LUA'
print("printed")
test("fine", function() end)
test("deny first", function() assert_eq(0, -13) end)
test("later", function() todo("waiting on feature X") end)
test("never", function() skip() end)
LUA
echo 'error("outside")' >t/c-error.lua
echo 'x = = 1' >t/d-syntax.lua
echo 'skip("no reason to run")' >t/e-skip.lua
echo 'return {helper = true}' >t/f-helper.lua
echo 'test("leaves", function() os.exit(0) end)' >t/g-exit.lua
echo 'provium.sleep(0) assert_eq(1, 1) os.exit(3)' >t/h-exit.lua
mkdir -p t/fixtures t/sub
echo 'fail("a fixture was run")' >t/fixtures/x.lua
echo 'local h = require("f-helper") assert_eq(true, h.helper) assert_eq(true, dofile("t/f-helper.lua").helper)' >t/i-uses.lua
printf '#!/usr/bin/env provium\nassert_eq(1, 1)\n' >t/sub/j-shebang.lua
provium test t
exits outcomes 1
same "outcomes: the report" <<'WANT'
provium test

  a-good.lua ... ok (2 tests, T)
    · one ... ok
    · two ... ok
  b-bad.lua ... FAIL (T)
    · fine ... ok
    · deny first ... FAIL: expected 0, got -13
        at t/b-bad.lua:3
          > 3 | test("deny first", function() assert_eq(0, -13) end)
    · later ... todo: waiting on feature X
    · never ... skip
    --- output ---
    printed
    rerun: provium test t/b-bad.lua
  c-error.lua ... FAIL (T)
    t/c-error.lua:1: outside
      > 1 | error("outside")
    rerun: provium test t/c-error.lua
  d-syntax.lua ... FAIL (T)
    t/d-syntax.lua:1: unexpected symbol near '='
      > 1 | x = = 1
    rerun: provium test t/d-syntax.lua
  e-skip.lua ... skip: no reason to run
  g-exit.lua ... FAIL (T)
    · leaves ... FAIL: ended by os.exit(0)
    ended by os.exit(0) before the file was finished
    at t/g-exit.lua:1
    rerun: provium test t/g-exit.lua
  h-exit.lua ... FAIL (T)
    ended by os.exit(3) before the file was finished
    at t/h-exit.lua:1
    rerun: provium test t/h-exit.lua
  i-uses.lua ... ok (T)
  sub/j-shebang.lua ... ok (T)

FAIL: 4 passed, 5 failed, 1 skipped
WANT
nothing_left outcomes

provium test t/a-good.lua t/f-helper.lua
exits "all pass" 0
same "all pass: the report" <<'WANT'
provium test

  t/a-good.lua ... ok (2 tests, T)
    · one ... ok
    · two ... ok

OK: 2 passed, 0 failed
WANT
nothing_left "all pass"

provium test -f good -f shebang t
exits "-f" 0
shows "-f: any match" "sub/j-shebang.lua ... ok ("
shows "-f: nothing else ran" "OK: 2 passed, 0 failed"

# The file's process is killed, hangs or stops, so Lua reports nothing.
cat >segv.lua <<'LUA'
test("crashes", function()
    os.execute("kill -SEGV $PPID")
    provium.sleep(5)
end)
LUA
cat >kill.lua <<'LUA'
os.execute("sleep 712 & kill -KILL $PPID")
LUA
cat >loop.lua <<'LUA'
test("spins", function()
    os.execute("sleep 713 >/dev/null &")
    while true do pcall(function() end) end
end)
LUA
cat >stopped.lua <<'LUA'
os.execute("kill -STOP $PPID")
LUA
cat >memory.lua <<'LUA'
local t = {}
for i = 1, 1000 do t[i] = ("x"):rep(1 << 20) end
print(#t)
assert_eq(1, 1)
LUA
echo 'assert_eq(1, 1)' >last.lua
provium test --timeout 1 segv.lua kill.lua loop.lua stopped.lua last.lua
exits crashes 1
same "crashes: the report" <<'WANT'
provium test

  kill.lua ... FAIL (harness-error, T)
    killed by SIGKILL
    rerun: provium test --timeout 1 kill.lua
  last.lua ... ok (T)
  loop.lua ... FAIL (T)
    · spins ... FAIL: did not finish
    timed out after 1 s in test 'spins'
    rerun: provium test --timeout 1 loop.lua
  segv.lua ... FAIL (harness-error, T)
    · crashes ... FAIL: did not finish
    killed by SIGSEGV in test 'crashes'
    rerun: provium test --timeout 1 segv.lua
  stopped.lua ... FAIL (T)
    timed out after 1 s
    rerun: provium test --timeout 1 stopped.lua

FAIL: 1 passed, 4 failed
WANT
nothing_left crashes

# Hostile text, and much of it.
cat >hostile.lua <<'LUA'
io.write("\27]0;owned\7\27[2J\155\200 out\0put\r\n")
test("name \27[31m\nwith a line", function() fail("message \27[1m\nsecond line\226\128\174") end)
LUA
mkdir "$(printf 'n\033[31m')" && echo 'assert_eq(1, 1)' >"$(printf 'n\033[31m/a.lua')"
provium test hostile.lua "$(printf 'n\033[31m/a.lua')"
exits hostile 1
same "hostile: the report" <<'WANT'
provium test

  hostile.lua ... FAIL (T)
    · name \x1b[31m\nwith a line ... FAIL: message \x1b[1m
        second line\u{202e}
        at hostile.lua:2
          > 2 | test("name \27[31m\nwith a line", function() fail("message \27[1m\nsecond line\226\128\174") end)
    --- output ---
    \x1b]0;owned\x07\x1b[2J\x9b\xc8 out\x00put
    rerun: provium test hostile.lua
  n\x1b[31m/a.lua ... ok (T)

FAIL: 1 passed, 1 failed
WANT
cat >much.lua <<'LUA'
local line = ("y"):rep(999) .. "\n"
for i = 1, 50000 do io.write(line) end
io.stderr:write("the end\n")
for i = 1, 20000 do test("t" .. i, function() end) end
fail(("z"):rep(1 << 20))
LUA
provium test much.lua
exits "huge output" 1
shows "huge output: the last of it is shown" "the end"
shows "huge output: the first of it is not" "--- output (without the first "
if [ "$(stat -c %s out)" -lt 2000000 ]; then ok "huge output: bounded"; else not_ok "huge output: $(stat -c %s out) bytes"; fi
nothing_left "huge output"

provium test -v t/a-good.lua
exits "-v" 0
provium test t/none.lua
exits "missing file" 2
warns "missing file: says so" "provium: 't/none.lua' does not exist; expected a test file or a directory"
mkdir void
provium test void
exits "no test files" 2
warns "no test files: says so" "provium: no test files in 'void'"
provium test -f zzz t
exits "-f without a match" 2
warns "-f without a match: says so" "has a name that contains 'zzz'"
provium test
exits "no path" 2
warns "no path: says so" "no path given"
mkdir tests && cp t/a-good.lua tests/
provium test
exits "no path, but a directory 'tests'" 0
shows "no path: 'tests' is run" "a-good.lua ... ok (2 tests"
provium test --tiemout 3 t
exits "unknown option" 2
warns "unknown option: says so" "unknown option '--tiemout' (did you mean '--timeout'?)"
provium test --timeout soon t
exits "bad --timeout" 2
warns "bad --timeout: says so" "'soon' is not a time"
provium test --accel xen t
exits "bad --accel" 2
provium test --config none.toml t
exits "bad --config" 2
warns "bad --config: says so" "none.toml"
provium tset
exits "unknown command" 2
warns "unknown command: says so" "did you mean 'test'?"
provium test --help
exits "test --help" 0
shows "test --help: shows the options" "--timeout TIME"
provium --version
exits "--version" 0
shows "--version: says it" "provium "
provium
exits "no command" 2
warns "no command: says how" "usage: provium COMMAND"
nothing_left "errors of usage"
finish
