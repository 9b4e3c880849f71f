#!/bin/bash
# SPDX-License-Identifier: MIT
# The options of test(), hooks, defer and log: outcomes, order, and every report. No VM is started.
. "$(dirname "$0")/../lib/shell.sh"
mkdir r

cat >t/options.lua <<'LUA'
test("skipped", {skip = "needs hardware"}, function() fail("it was run") end)
test("broken", {expect_fail = "BUG-7", meta = {owner = "net-team"}}, function() log("tried") fail("as known") end)
test("mended", {expect_fail = "BUG-8"}, function() end)
local n = 0
test("shaky", {retries = 2}, function()
    n = n + 1
    log("attempt", n)
    if n < 2 then fail("not yet") end
end)
test("hopeless", {retries = 1, meta = {area = {"tcp", "ipv6"}, level = 3, manual = false}}, function() fail("never") end)
test("quiet", {meta = {owner = "mm-team"}}, function() log("a value:", 5, {x = 1}, nil, true) end)
log("outside of tests")
LUA
provium test t
exits options 1
same "options: the report" <<'WANT'
provium test

  options.lua ... FAIL (T)
    · skipped ... skip: needs hardware
    · broken ... xfail (BUG-7): as known
        at t/options.lua:2
          > 2 | test("broken", {expect_fail = "BUG-7", meta = {owner = "net-team"}}, function() log("tried") fail("as known") end)
        log: tried
    · mended ... FAIL: it passed, but expect_fail says that it fails: BUG-8
    · shaky ... ok (flaky: passed at attempt 2)
        attempt 1 ... FAIL: not yet
            at t/options.lua:8
              > 8 | if n < 2 then fail("not yet") end
        log: attempt 1
        log: attempt 2
    · hopeless ... FAIL (2 attempts): never
        at t/options.lua:10
          > 10 | test("hopeless", {retries = 1, meta = {area = {"tcp", "ipv6"}, level = 3, manual = false}}, function() fail("never") end)
        attempt 1 ... FAIL: never
            at t/options.lua:10
              > 10 | test("hopeless", {retries = 1, meta = {area = {"tcp", "ipv6"}, level = 3, manual = false}}, function() fail("never") end)
        meta: area=tcp area=ipv6 level=3 manual=false
    · quiet ... ok
        log: a value: 5 {x = 1} nil true
    log: outside of tests
    rerun: provium test t/options.lua

FAIL: 0 passed, 1 failed
WANT

reports="--json r/r.json --junit r/r.xml --html r/r.html"
provium test $reports t
python3 "$here/check-json.py" r/r.json WHOLE >log 2>&1 && ok "JSON is valid" || not_ok "JSON: $(tail -n 1 log)"
xmllint --noout --schema "$here/junit.xsd" r/r.xml >log 2>&1 && ok "JUnit is valid" || not_ok "JUnit: $(cat log)"
python3 "$here/check-html.py" r/r.html >r/html.json 2>log && ok "HTML is valid" || not_ok "HTML: $(tail -n 1 log)"
provium merge --json r/merged.json --junit r/merged.xml --html r/merged.html r/r.json
exits merge 1
python3 "$here/check-html.py" r/merged.html >r/merged-html.json
for f in r/r.json r/merged.json r/html.json r/merged-html.json; do
    python3 - $f >log 2>&1 <<'PY' && ok "$f has all of it" || not_ok "$f: $(tail -n 3 log)"
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
f = next(l for l in lines if l.get('type') == 'file')
t = {x['name']: x for x in f['tests']}
assert t['skipped']['outcome'] == 'skip' and t['skipped']['message'] == 'needs hardware', t
b = t['broken']
assert (b['outcome'], b['expect_fail'], b['class'], b['meta'], b['log']) == (
    'xfail', 'BUG-7', 'assertion', {'owner': 'net-team'}, ['tried']), b
assert b['message'].startswith('as known'), b
assert t['mended']['outcome'] == 'fail' and t['mended']['expect_fail'] == 'BUG-8', t
s = t['shaky']
assert s['outcome'] == 'ok' and s['flaky'] and len(s['attempts']) == 1, s
assert s['attempts'][0]['class'] == 'assertion' and s['attempts'][0]['message'].startswith('not yet'), s
assert t['hopeless']['meta'] == {'area': ['tcp', 'ipv6'], 'level': '3', 'manual': 'false'}, t
assert t['hopeless']['flaky'] is False and len(t['hopeless']['attempts']) == 1, t
assert t['quiet']['log'] == ['a value: 5 {x = 1} nil true'] and f['log'] == ['outside of tests'], f
if lines[-1].get('type') == 'end':
    totals = lines[-1]['totals']
    assert (totals['tests'], totals['tests_passed'], totals['tests_failed'], totals['tests_skipped'],
            totals['tests_xfailed'], totals['tests_flaky']) == (6, 2, 2, 1, 1, 1), totals
PY
done
for f in r/r.xml r/merged.xml; do
    is "$f: meta" "$(xmllint --xpath 'string(//testcase[@name="hopeless"]/properties/property[@value="ipv6"]/@name)' $f)" area
    is "$f: an expected failure" "$(xmllint --xpath 'string(//testcase[@name="broken"]/skipped/@message)' $f)" "BUG-7: as known"
    is "$f: attempts" "$(xmllint --xpath 'count(//testcase[@name="shaky"]/flakyFailure)+count(//testcase[@name="hopeless"]/rerunFailure)' $f)" 2
    is "$f: log" "$(xmllint --xpath 'string(//testcase[@name="broken"]/system-out)' $f)" tried
    is "$f: counts" "$(xmllint --xpath 'concat(/testsuites/@tests, " ", /testsuites/@failures, " ", //testsuite/@skipped)' $f)" "6 2 2"
done
"$PROVIUM" test -p 1 --tap t >tap 2>err
contains "TAP: an expected failure" tap "not ok 2 - options.lua: broken # TODO expected to fail: BUG-7"
contains "TAP: an unexpected pass" tap "not ok 3 - options.lua: mended"
contains "TAP: meta" tap '  meta: {"area":["tcp","ipv6"],"level":"3","manual":"false"}'
contains "TAP: log" tap '  log: ["a value: 5 {x = 1} nil true"]'
contains "TAP: attempts" tap '  "attempt 1": "not yet'
contains "TAP: log of the file" tap "# options.lua: outside of tests"
if prove -e cat tap >log 2>&1; then not_ok "TAP: prove passes it"; else ok "TAP: prove fails it"; fi
contains "TAP: prove counts the same" log "Failed 2/6 subtests"

# Selection by meta.
ran() { grep -oE '· [a-z]+' out | cut -c 4- | tr '\n' ' '; }
provium test --meta owner=mm-team --meta area=ipv6 t
is "--meta: any of them, lists by element" "$(ran)" "hopeless quiet "
provium test --no-meta owner=net-team --no-meta area=tcp t
is "--no-meta" "$(ran)" "skipped mended shaky quiet "
provium test --meta owner=net-team --no-meta owner=net-team t
is "--no-meta outranks --meta" "$(ran)" ""
shows "nothing is selected: says so" "skip: none of its 6 tests is selected by --meta owner=net-team --no-meta owner=net-team"
provium test --meta manual=false t
is "--meta: booleans and numbers by their text" "$(ran)" "hopeless "
contains "--meta: the command that runs it again" out "test --meta manual=false t/options.lua"
provium test --meta owner t
exits "--meta without a value" 2
warns "--meta without a value: says so" "--meta 'owner': expected KEY=VALUE"

# A test that passed only at a later attempt is flaky; the run passes unless --fail-on-flaky.
cat >flaky.lua <<'LUA'
local n = 0
test("second time", {retries = 1}, function() n = n + 1 assert_eq(2, n) end)
LUA
provium test flaky.lua
exits "a flaky test" 0
shows "a flaky test: its file is flaky" "flaky.lua ... flaky (1 test"
shows "a flaky test: the summary" "0 failed, 1 flaky"
provium test --fail-on-flaky flaky.lua
exits "--fail-on-flaky" 1

# The order of hooks, tests and deferred functions.
cat >order.lua <<'LUA'
local seen = {}
local function say(s) seen[#seen + 1] = s end
local function told(want) assert_eq(want, table.concat(seen, " ")) seen = {} end
before_each(function() say("b1") defer(function() say("db") end) end)
before_each(function() say("b2") end)
after_each(function() say("a1") end)
after_each(function() say("a2") defer(function() say("da") end) end)
test("plain", function()
    defer(function() say("d1") end)
    defer(function() say("d2") defer(function() say("d3") end) end)
    say("t")
end)
told("b1 b2 t d2 d3 d1 db a2 a1 da")
assert_eq(false, test("skipped", {skip = "why"}, function() say("t") end))
told("")
test("skips itself", function() say("t") skip("now") end)
told("b1 b2 t db a2 a1 da")
test("nested", function()
    test("inner", function() say("i") defer(function() say("di") end) end)
    say("o")
end)
told("b1 b2 i di o db a2 a1 da")
local n = 0
test("retried", {retries = 1}, function() n = n + 1 say("t" .. n) if n == 1 then fail("once") end end)
told("b1 b2 t1 db a2 a1 da b1 b2 t2 db a2 a1 da")
test("slow", {slow = true}, function() say("t") end)
told("")
defer(function() print("the file's deferred function ran") end)
LUA
provium test -v order.lua
exits order 0
shows "order: defer of the file" "the file's deferred function ran"

# Failures in hooks and deferred functions, and what runs all the same.
cat >bad-hooks.lua <<'LUA'
local mode
before_each(function() if mode == "before" then fail("no setup") end end)
after_each(function() print("after " .. mode) if mode == "after" then fail("no teardown") end end)
mode = "before" test("before", function() print("it was run") end)
mode = "after" test("after", function() end)
mode = "both" test("both", function()
    defer(function() print("first defer") end)
    defer(function() error("in the second") end)
    fail("the test")
end)
mode = "skip" test("late skip", function() defer(function() skip("too late") end) end)
mode = "skipping" test("before skips", function() end)
mode = "expected" test("expected", {expect_fail = "T-1"}, function() defer(function() fail("there") end) end)
LUA
provium test bad-hooks.lua
exits "failing hooks" 1
shows "before_each fails: the test has failed" "· before ... FAIL: before_each: no setup"
shows "after_each fails: the test has failed" "· after ... FAIL: after_each: no teardown"
shows "defer fails: behind the test's own failure" "defer: in the second"
shows "skip in defer" "· late skip ... FAIL: skip() or todo() comes too late in defer and after_each, the test has run"
shows "expect_fail covers defer" "· expected ... xfail (T-1): defer: there"
shows "other deferred functions run" "first defer"
shows "after_each runs after a failure in before_each" "after before"
if grep -q "it was run" out; then not_ok "before_each fails: the test was run"; else ok "before_each fails: the test is not run"; fi

cat >file-defer.lua <<'LUA'
defer(function() print("deferred 1") end)
defer(function() print("deferred 2") fail("cannot clean up") end)
error("the file")
LUA
provium test file-defer.lua
exits "a file that fails" 1
shows "a file that fails: its own error" "file-defer.lua:3: the file"
shows "a file that fails: that of a deferred function" "defer: file-defer.lua:2: cannot clean up"
is "a file that fails: all deferred functions run" "$(grep -c '^    deferred' out)" 2
echo 'test("fine", function() end) defer(function() fail("late") end)' >file-late.lua
provium test file-late.lua
exits "a deferred function of a file that passes" 1

# A timeout: the deferred functions and after_each have time of their own.
cat >late.lua <<'LUA'
after_each(function() provium.sleep(0.3) print("cleaned up") end)
test("late", {timeout = 0.2, retries = 1}, function()
    defer(function() provium.sleep(0.3) print("deferred") end)
    while true do end
end)
LUA
provium test late.lua
exits timeout 1
is "timeout: cleaned up at each attempt" "$(grep -c 'cleaned up\|deferred$' out)" 4
shows "timeout: the message" "· late ... FAIL (2 attempts): timed out after 0.2 s"

# Wrong use.
cat >wrong.lua <<'LUA'
assert_error(function() test("x", {skip = true}, function() end) end, "test option 'skip' must be a string, got boolean true")
assert_error(function() test("x", {expect_fail = ""}, function() end) end, "test option 'expect_fail' is empty; say why")
assert_error(function() test("x", {retries = -1}, function() end) end, "'retries' must be a number from 0 to 100, got number -1")
assert_error(function() test("x", {meta = {"a"}}, function() end) end, "it has a number as a key")
assert_error(function() test("x", {meta = {["a=b"] = 1}}, function() end) end, "expected a name without '='")
assert_error(function() test("x", {meta = {a = {}}}, function() end) end, "meta 'a' of a test is an empty list")
assert_error(function() test("x", {meta = {a = {b = 1}}}, function() end) end, "meta 'a' of a test is a table with names")
assert_error(function() test("x", {meta = {a = {print}}}, function() end) end, "a list of them, got function")
assert_error(function() test("x", {meat = {}}, function() end) end, "did you mean 'meta'?")
assert_error(function() defer() end, "defer needs a function and nothing else, got nothing")
assert_error(function() defer(print, 1) end, "defer(fn) takes no more arguments, got number 1")
assert_error(function() after_each("x") end, "after_each needs a function and nothing else, got string")
test("hooks inside of a test", function() assert_error(function() before_each(print) end, "call it outside of tests") end)
LUA
provium test wrong.lua
exits "wrong use" 0
# log: many and long texts.
cat >much.lua <<'LUA'
log(("x"):rep(100000))
log("a\0b\27[2J")
for i = 1, 20000 do log("line " .. i) end
LUA
provium test much.lua
exits "much log" 0
shows "much log: a long text is cut" "... (cut: more than 16384 bytes)"
shows "much log: it is harmless" 'log: a\x00b\x1b[2J'
shows "much log: all calls" "log: line 20000"
# What the supervisor keeps of a file is bounded by the number of its sub-tests.
cat >many.lua <<'LUA'
for i = 1, 100000 do test("t" .. i, function() end) end
test("last", function() end)
LUA
provium test -q many.lua
exits "too many sub-tests" 1
shows "too many sub-tests: all that may run have" "t100000 ... ok"
shows "too many sub-tests: why" 'many.lua:2: test("last"): a file has at most 100000 sub-tests, and these have run;'
nothing_left subtests
finish
