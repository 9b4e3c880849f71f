#!/bin/bash
# SPDX-License-Identifier: MIT
# The reports for machines and browsers are valid for every text of a test and every end of the run. No VM is started.
. "$(dirname "$0")/../lib/shell.sh"
mkdir "$work/r"

# valid WHOLE|CUT NAME: the reports in $work/r are valid, and no other file is there.
valid() {
    local bad=
    xmllint --noout --schema "$here/junit.xsd" r/r.xml >log 2>&1 || bad="JUnit: $(cat log)"
    python3 "$here/check-json.py" r/r.json "$1" >log 2>&1 || bad="$bad JSON: $(tail -n 1 log)"
    python3 "$here/check-html.py" r/r.html >files.json 2>log || bad="$bad HTML: $(tail -n 1 log)"
    [ "$(ls -A r | tr '\n' ' ')" = "r.html r.json r.xml " ] || bad="$bad left over: $(ls -A r)"
    if [ -z "$bad" ]; then ok "$2: the reports are valid"; else not_ok "$2: $bad"; fi
}
reports="--json r/r.json --junit r/r.xml --html r/r.html"
counts() { xmllint --xpath "concat(/testsuites/@tests, ' ', /testsuites/@failures, ' ', /testsuites/@errors)" r/r.xml; }

cat >t/a-hostile.lua <<'LUA'
local hostile = {"]]> <![CDATA[ &x; <b a='\"'>", "</script><script>alert(1)</script><!-- -->", "\27[31m\1\7\127",
    "\255\254 \192\175 \237\160\128 \239\191\191", "\226\128\168 \226\128\174", "# SKIP no # TODO no \\#", "two\nlines",
    "1..9\nok 1\nBail out!", " ", "---\n...", "\\u0000 \\ \" '"}
for i, s in ipairs(hostile) do
    test(s, function() end)
    test(s, function() print(s) fail(s) end)
    test(s, function() skip(s) end)
    test(s, function() todo(s) end)
    test(s, function() error(s) end)
end
io.write("\0\255out\27]0;x\7")
error(table.concat(hostile))
LUA
echo 'test("one", function() end) test("two", function() end)' >t/b-good.lua
echo 'skip("no reason # TODO")' >t/c-skip.lua
echo 'return {}' >t/d-helper.lua
echo 'os.execute("kill -KILL $PPID")' >t/e-killed.lua
mkdir "$(printf 't/n\033[31m\377<b>&"')" && cp t/b-good.lua "$(printf 't/n\033[31m\377<b>&"')/f.lua"
provium test $reports t
exits "hostile strings" 1
valid WHOLE "hostile strings"
is "hostile strings: JUnit counts them" "$(counts)" "62 11 13"
is "hostile strings: JUnit's counts are right" "$(xmllint --xpath 'count(//testcase)' r/r.xml)" 62
is "hostile strings: HTML has them all" "$(wc -l <files.json)" 6
python3 - >log 2>&1 <<'PY' && ok "hostile strings: what was said is there" || not_ok "hostile strings: $(tail -n 1 log)"
import json
lines = [json.loads(line) for line in open('r/r.json')]
a = next(l for l in lines if l['type'] == 'file' and l['file'] == 'a-hostile.lua')
assert a['tests'][5]['name'] == '</script><script>alert(1)</script><!-- -->', a['tests'][5]
assert a['tests'][6]['class'] == 'assertion' and a['tests'][6]['message'].startswith('</script><script>'), a['tests'][6]
assert a['tests'][9]['class'] == 'lua-error', a['tests'][9]
assert '\x1b[31m\x01\x07\x7f' in a['output'] and '\\x00\\xffout' in a['output'], a['output']
e = next(l for l in lines if l['type'] == 'file' and l['file'] == 'e-killed.lua')
assert e['message'] == 'killed by SIGKILL' and e['class'] == 'harness-error', e
PY
nothing_left "hostile strings"

# With a browser: the page loads, requests nothing else, and shows hostile names as text.
browser=$(command -v chromium || command -v google-chrome)
if [ -n "$browser" ]; then
    timeout 60 "$browser" --headless=new --no-sandbox --disable-gpu --user-data-dir="$work/chrome" \
        --virtual-time-budget=3000 --enable-logging=stderr --dump-dom "file://$work/r/r.html#e-killed.lua" >dom 2>log
    rm -rf "$work/chrome"
    if [ -s dom ]; then
        is "$(grep -o '<article class="file' dom | wc -l)" 6 "browser: an entry for each file"
        is "browser: the file of the address is open" "$(grep -c 'aria-expanded="true"' dom)" 1
        is "$(sed 's/<script type="application.*//' dom | grep -c '<script>alert')" 0 "browser: no markup of a test"
        is "browser: no messages on its console" "$(grep -c CONSOLE log)" 0
    else
        echo "# the browser here does not start: $(tail -n 1 log)"
    fi
fi

# TAP: prove(1), of Perl, reads it.
cp out human
"$PROVIUM" test -p 1 --tap t >tap 2>err
is "TAP: exit code" $? 1
is "TAP: the points" "$(grep -cE '^(not )?ok ' tap)" 62
if diff <(sed -E 's/[0-9]+\.[0-9]s\)/T)/' human) <(sed -E 's/[0-9]+\.[0-9]s\)/T)/' err) >log; then
    ok "TAP: the usual report is on standard error"
else not_ok "TAP: standard error differs: $(cat log)"; fi
prove -e cat tap >log 2>&1
shown=$(grep -c "Failed 24/62 subtests" log)
is "TAP: prove counts the same" "$shown" 1
if grep -qi "parse error" log; then not_ok "TAP: $(grep -i 'parse error' log)"; else ok "TAP: prove has nothing against it"; fi
if prove -e "$PROVIUM test --tap -q" t/b-good.lua t/c-skip.lua >log 2>&1; then ok "TAP: prove runs test files"; else
    not_ok "TAP: prove runs test files: $(cat log)"; fi

# In parallel, with --repeat, and with --retries.
mkdir p
for i in 1 2 3; do cp t/b-good.lua p/$i.lua; done
cat >p/flaky.lua <<'LUA'
local f = io.open("tried") or io.open("tried", "w"):close() and fail("the first time")
test("then it works", function() end)
LUA
echo 'test("never", function() fail("again") end)' >p/never.lua
provium test $reports -p 3 --retries 1 p
exits "--retries" 1
valid WHOLE "--retries"
is "--retries: JUnit has what failed before" \
    "$(xmllint --xpath 'string(//testsuite[@name="flaky.lua"]/testcase[@name="(file)"]/flakyFailure/@type)' r/r.xml)" assertion
is "--retries: and what failed again" \
    "$(xmllint --xpath 'count(//testsuite[@name="never.lua"]/testcase/rerunFailure)' r/r.xml)" 1
is "--retries: JSON says flaky" "$(grep -c '"flaky":true' r/r.json)" 1
rm tried
"$PROVIUM" test --tap -q --retries 1 p/flaky.lua 2>err >tap
is "--retries: TAP says flaky" "$(tail -n 2 tap | head -n 1)" "# p/flaky.lua: flaky, passed at attempt 2"
provium test $reports -p 2 --repeat 3 p/1.lua p/2.lua
exits "--repeat" 0
valid WHOLE "--repeat"
is "--repeat: HTML has all rounds" "$(wc -l <files.json)" 6

# The destinations of reports.
"$PROVIUM" test -p 1 --json - t/b-good.lua >r/r.json 2>err
is "--json -" $? 0
python3 "$here/check-json.py" r/r.json WHOLE >log 2>&1 && ok "--json -: valid" || not_ok "--json -: $(tail -n 1 log)"
"$PROVIUM" test -p 1 --junit - t/b-good.lua 2>err | xmllint --noout --schema "$here/junit.xsd" - 2>log && ok "--junit -" ||
    not_ok "--junit -: $(cat log)"
"$PROVIUM" test -p 1 --html - t/b-good.lua 2>err >page && python3 "$here/check-html.py" page >/dev/null && ok "--html -" ||
    not_ok "--html -"
provium test --html /dev/null --json /dev/null --junit /dev/null t/b-good.lua
exits "/dev/null" 0
[ -c /dev/null ] && ok "/dev/null is still there" || not_ok "/dev/null was replaced"
provium test --junit none/r.xml t
exits "directory missing" 2
warns "directory missing: says so" "--junit 'none/r.xml': there is no directory 'none'"
if [ ! -s out ]; then ok "directory missing: nothing has run"; else not_ok "directory missing: $(cat out)"; fi
for option in save-failed vmcore; do
    provium test --$option err t
    exits "--$option: a file" 2
    warns "--$option: a file: says so" "--$option 'err': 'err' is no directory"
    provium test --$option t/b-good.lua/x t
    exits "--$option: below a file" 2
    warns "--$option: below a file: says so" "--$option 't/b-good.lua/x': Not a directory; expected a directory"
    provium test --$option kept/deep t/b-good.lua
    exits "--$option: one that can be made" 0
    [ ! -e kept ] && ok "--$option: made when it is needed" || not_ok "--$option: made a directory for nothing"
done
provium test --json r --html x.html t
exits "a directory" 2
warns "a directory: says so" "--json 'r': is a directory"
provium test --json x --junit x t
exits "the same file" 2
warns "the same file: says so" "is the file of another report too"
provium test --tap --json - t
exits "two on standard output" 2
warns "two on standard output: says so" "--tap and --json can not both have standard output"
provium test --list --html x.html t
exits "a report of a list" 2
warns "a report of a list: says so" "--list runs nothing, so there is nothing for --html to report"
provium test --json /dev/full t/b-good.lua
exits "disk full" 2
warns "disk full: says so" "cannot write the report --json '/dev/full'"
provium test --json whole.json t/b-good.lua
for command in "merge whole.json" "fixture list" "help running" version; do
    # shellcheck disable=SC2086 # words
    timeout 60 "$PROVIUM" $command >/dev/full 2>err
    code=$?
    exits "disk full, $command" 2
    warns "disk full, $command: says so" "to standard output"
done
rm whole.json
timeout 60 "$PROVIUM" help running 2>err | head -n 1 >out
is "a pager that is left says nothing" "$(cat err)" ""
[ "$(ls -A)" = "$(ls -A | grep -v '^\.')" ] && ok "no hidden files are left" || not_ok "left over: $(ls -A)"
nothing_left "where they go"

# The run is stopped, and killed at random moments.
mkdir k
for i in $(seq 100 130); do
    echo 'for i = 1, 20 do test("t" .. i, function() print(("x"):rep(100)) end) end provium.sleep(0.02)' >k/$i.lua
done
echo 'io.open(os.getenv("READY"), "w"):close() while true do pcall(function() end) end' >k/105.lua
export READY=$work/ready
"$PROVIUM" test -p 1 $reports k >out 2>err &
top=$!
wait_for 10 test -e ready
kill -INT $top
wait $top
is "SIGINT: exit code" $? 130
valid WHOLE "SIGINT"
is "SIGINT: JUnit has every file" "$(xmllint --xpath 'count(//testsuite)' r/r.xml)" 31
is "SIGINT: and says which were not run" "$(xmllint --xpath 'count(//skipped[@type="not-run"])' r/r.xml)" 25
is "SIGINT: and which was stopped" "$(xmllint --xpath 'count(//skipped[@type="interrupted"])' r/r.xml)" 1
is "SIGINT: JSON says so" "$(tail -n 1 r/r.json | grep -c '"exit_code":130,"stopped_by":"SIGINT"')" 1
nothing_left SIGINT
rm k/105.lua
for i in $(seq 8); do
    rm -f r/*
    "$PROVIUM" test -p 1 $reports k >out 2>err &
    top=$!
    wait_for 5 test -s r/r.html
    sleep "0.$(printf %03d $((RANDOM % 800)))"
    kill -KILL $top 2>/dev/null # unless it has ended
    wait $top 2>/dev/null
    valid CUT "SIGKILL $i"
done
in_json=$(grep -c '"type":"file",' r/r.json) in_xml=$(xmllint --xpath 'count(//testsuite)' r/r.xml)
if [ "$in_json" -ge "$in_xml" ]; then ok "SIGKILL: JSON has at least what JUnit has"; else
    not_ok "SIGKILL: JSON has $in_json files, JUnit $in_xml"; fi
provium test t/b-good.lua # collects the run directories that killed runs without a running file left
nothing_left SIGKILL
finish
