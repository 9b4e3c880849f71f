#!/bin/bash
# SPDX-License-Identifier: MIT
# The report of a failure: message, source, callers, diffs, the command that reruns it. No VM is started.
. "$(dirname "$0")/../lib/shell.sh"

cat >trace.lua <<'LUA'
local function check(x)
	assert_eq(1, x)   
end
test("two", function() check(2) end)
test("far", function() local lib = require("lib") lib.verify(5) end)
test("in a pcall", function()
    local ok, e = pcall(check, 7)
    error(e, 0)
end)
load('local a\nerror("in it")')()
LUA
cat >lib.lua <<'LUA'
local M = {}
function M.verify(n)
    if n > 4 then
        error({code = n})
    end
end
return M
LUA
printf 'local x\n  y = = 2\n' >syntax.lua
printf 'local s = "%s"\nfail("long")\n' "$(printf 'x%.0s' $(seq 300))" >long.lua
printf 'local s = "%s" fail("long")\n' "$(printf 'x%.0s' $(seq 300))" >longer.lua
echo 'io.open("gone.lua", "w"):close() fail("gone")' >gone.lua
provium test gone.lua long.lua longer.lua syntax.lua trace.lua
exits trace 1
same "trace: the report" <<'WANT'
provium test

  gone.lua ... FAIL (T)
    gone.lua:1: gone
    rerun: provium test gone.lua
  long.lua ... FAIL (T)
    long.lua:2: long
      > 2 | fail("long")
    rerun: provium test long.lua
  longer.lua ... FAIL (T)
    longer.lua:1: long
      > 1 | local s = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...
    rerun: provium test longer.lua
  syntax.lua ... FAIL (T)
    syntax.lua:2: unexpected symbol near '='
      > 2 | y = = 2
    rerun: provium test syntax.lua
  trace.lua ... FAIL (T)
    · two ... FAIL: expected 1, got 2
        at trace.lua:2 (in check)
          > 2 | assert_eq(1, x)
        called from trace.lua:4
          > 4 | test("two", function() check(2) end)
    · far ... FAIL: error object {code = 5}
        at lib.lua:4 (in verify)
          > 4 | error({code = n})
        called from trace.lua:5
          > 5 | test("far", function() local lib = require("lib") lib.verify(5) end)
    · in a pcall ... FAIL: trace.lua:2: expected 1, got 7
        at trace.lua:8
          > 8 | error(e, 0)
    [string "local a..."]:2: in it
    called from trace.lua:10
      > 10 | load('local a\nerror("in it")')()
    rerun: provium test trace.lua

FAIL: 0 passed, 5 failed
WANT

cat >diff.lua <<'LUA'
test("tables", function()
    local lines, x = "a\nb\nc\nd\n" .. ("x"):rep(60), {1, 2, 3}
    assert_eq(
        {name = "eth0", mtu = 1500, flags = {"UP", "BROADCAST", "RUNNING", "MULTI", "X"}, sub = {x = 1, y = 2, z = 3, deep = x}, text = lines},
        {name = "eth0", mtu = 1501, flags = {"UP", "RUNNING", "MULTI", "X"}, sub = {x = 1, y = 2, z = 4, deep = {1, 2, 3, 4}}, text = lines:gsub("c", "C"), more = true})
end)
test("a list", function()
    local a, b = {}, {}
    for i = 1, 60 do a[i], b[i] = {id = i, name = "n" .. i}, {id = i, name = "n" .. i} end
    table.remove(b, 30)
    b[40].name = "other\27[31m"
    assert_eq(a, b, "ours")
end)
test("cycles", function()
    local t = {}
    t.t = t
    assert_eq({a = t, z = ("y"):rep(100)}, {a = {t = {t = 1}}, z = t})
end)
test("small", function() assert_eq({1, 2}, {1, 3}) end)
test("strings", function() assert_eq("the quick brown fox jumps over the lazy dog", "the quick brown f\195\188x jumps over the lazy dog") end)
test("lines", function() assert_eq(("same\n"):rep(50) .. "old\n", ("same\n"):rep(50) .. "new\n") end)
LUA
provium test diff.lua
exits diff 1
grep -v ' > [0-9]* | ' out >out.short && mv out.short out
same "diff: the report" <<'WANT'
provium test

  diff.lua ... FAIL (T)
    · tables ... FAIL: the tables differ, first at .flags[2]: expected "BROADCAST", got "RUNNING" (- expected, + got)
          {
            flags = {
              [1] = "UP"
        -     [2] = "BROADCAST"
              ... 3 equal
            }
        -   mtu = 1500
        +   mtu = 1501
            name = "eth0"
            sub = {
              deep = {
                ... 3 equal
        +       [4] = 4
              }
              x = 1
              y = 2
        -     z = 3
        +     z = 4
            }
            text = lines that differ:
              @@ line 3 @@
              a
              b
        -     c
        +     C
              d
              xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx (no newline at the end)
        +   more = true
          }
        at diff.lua:3
    · a list ... FAIL: ours: the tables differ, first at [30].id: expected 30, got 31 (- expected, + got)
          {
            ... 29 equal
        -   [30] = {id = 30, name = "n30"}
            ... 10 equal
            [40] = {
              id = 41
        -     name = "n41"
        +     name = "other\27[31m"
            }
            ... 19 equal
          }
        at diff.lua:12
    · cycles ... FAIL: the tables differ, first at .a.t.t: expected {t = <cycle>}, got 1 (- expected, + got)
          {
            a = {
        -     t = {t = <cycle>}
        +     t = {t = 1}
            }
        -   z = "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
        +   z = {t = <cycle>}
          }
        at diff.lua:17
    · small ... FAIL: expected {1, 2}, got {1, 3}
        first difference at [2]: expected 2, got 3
        at diff.lua:19
    · strings ... FAIL: the strings differ from byte 18 on
        expected "the quick brown fox jumps over the lazy dog"
             got "the quick brown füx jumps over the lazy dog"
                                   ^
        at diff.lua:20
    · lines ... FAIL: the strings differ (- expected, + got)
        @@ line 51 @@
          same
          same
          same
        - old
        + new
        at diff.lua:21
    rerun: provium test diff.lua

FAIL: 0 passed, 1 failed
WANT

# The rerun command is quoted for a shell, has the options that matter, and changes to the directory of the run.
mkdir -p "it's here/sub"
echo 'fail("x")' >"it's here/a b.lua"
echo 'fail("x")' >"it's here/sub/c.lua"
echo 'fail("x")' >-dash.lua
: >"other project.toml"
provium test --config "other project.toml" --timeout 90s --accel tcg "it's here" -- -dash.lua
exits rerun 1
grep -o 'rerun: .*' out | sed "s|$PROVIUM|provium|" >commands
if diff -u - commands <<'WANT'; then ok "rerun: the commands"; else not_ok "rerun: the commands"; fi
rerun: provium test --config 'other project.toml' --accel tcg --timeout 90s ./-dash.lua
rerun: provium test --config 'other project.toml' --accel tcg --timeout 90s 'it'\''s here/a b.lua'
rerun: provium test --config 'other project.toml' --accel tcg --timeout 90s -f sub/c.lua 'it'\''s here'
WANT
while IFS= read -r command; do
    (eval "$command") >again 2>&1
    if grep -qF 'FAIL: 0 passed, 1 failed' again; then ok "rerun: $command"; else not_ok "rerun: $command: $(cat again)"; fi
done < <(sed -n 's/^    rerun: //p' out)

# A large difference is bounded, in the report and in time.
cat >many.lua <<'LUA'
local a, b, s, t = {}, {}, {}, {}
for i = 1, 5000 do a["k" .. i], b["k" .. i], s[i], t[i] = i, i + i % 2, i, 2 * i end
t[5001] = 1
test("keys", function() assert_eq(a, b) end)
test("lists", function() assert_eq(s, t) end)
test("lines", function() assert_eq(table.concat(s, "\n"), table.concat(t, "\n")) end)
LUA
start=$(date +%s)
provium test many.lua
exits many 1
if [ $(($(date +%s) - start)) -lt 20 ]; then ok "many: in time"; else not_ok "many: $(($(date +%s) - start)) s"; fi
if [ "$(wc -l <out)" -lt 230 ]; then ok "many: bounded"; else not_ok "many: $(wc -l <out) lines"; fi
shows "many: says what was left out" "more lines"
finish
