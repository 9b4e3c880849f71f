#!/bin/bash
# SPDX-License-Identifier: MIT
# The reports for machines and browsers: valid whatever tests say and however the run ends. No VM is started.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
mkdir "$work/r"

# valid WHOLE|CUT NAME: what is in $work/r is valid, and nothing else is there.
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
is() { if [ "$1" = "$2" ]; then ok "$3"; else not_ok "$3: got '$1', expected '$2'"; fi; }

cat >t/a-mean.lua <<'LUA'
local mean = {"]]> <![CDATA[ &x; <b a='\"'>", "</script><script>alert(1)</script><!-- -->", "\27[31m\1\7\127",
    "\255\254 \192\175 \237\160\128 \239\191\191", "\226\128\168 \226\128\174", "# SKIP no # TODO no \\#", "two\nlines",
    "1..9\nok 1\nBail out!", " ", "---\n...", "\\u0000 \\ \" '"}
for i, s in ipairs(mean) do
    test(s, function() end)
    test(s, function() print(s) fail(s) end)
    test(s, function() skip(s) end)
    test(s, function() todo(s) end)
    test(s, function() error(s) end)
end
io.write("\0\255out\27]0;x\7")
error(table.concat(mean))
LUA
echo 'test("one", function() end) test("two", function() end)' >t/b-good.lua
echo 'skip("no reason # TODO")' >t/c-skip.lua
echo 'return {}' >t/d-helper.lua
echo 'os.execute("kill -KILL $PPID")' >t/e-killed.lua
mkdir "$(printf 't/n\033[31m\377<b>&"')" && cp t/b-good.lua "$(printf 't/n\033[31m\377<b>&"')/f.lua"
provium test $reports t
exits 1 "mean files"
valid WHOLE "mean files"
is "$(counts)" "62 11 13" "mean files: JUnit counts them"
is "$(xmllint --xpath 'count(//testcase)' r/r.xml)" 62 "mean files: JUnit's counts are right"
is "$(wc -l <files.json)" 6 "mean files: HTML has them all"
python3 - >log 2>&1 <<'PY' && ok "mean files: what was said is there" || not_ok "mean files: $(tail -n 1 log)"
import json
lines = [json.loads(line) for line in open('r/r.json')]
a = next(l for l in lines if l['type'] == 'file' and l['file'] == 'a-mean.lua')
assert a['tests'][5]['name'] == '</script><script>alert(1)</script><!-- -->', a['tests'][5]
assert a['tests'][6]['class'] == 'assertion' and a['tests'][6]['message'].startswith('</script><script>'), a['tests'][6]
assert a['tests'][9]['class'] == 'lua-error', a['tests'][9]
assert '\x1b[31m\x01\x07\x7f' in a['output'] and '\\x00\\xffout' in a['output'], a['output']
e = next(l for l in lines if l['type'] == 'file' and l['file'] == 'e-killed.lua')
assert e['message'] == 'killed by SIGKILL' and e['class'] == 'harness-error', e
PY
clean "mean files"

# Where there is a browser: the page comes up, nothing else does, and hostile names are text in it.
browser=$(command -v chromium || command -v google-chrome)
if [ -n "$browser" ]; then
    timeout 60 "$browser" --headless=new --no-sandbox --disable-gpu --user-data-dir="$work/chrome" \
        --virtual-time-budget=3000 --enable-logging=stderr --dump-dom "file://$work/r/r.html#e-killed.lua" >dom 2>log
    rm -rf "$work/chrome"
    if [ -s dom ]; then
        is "$(grep -o '<article class="file' dom | wc -l)" 6 "browser: an entry for each file"
        is "$(grep -c 'aria-expanded="true"' dom)" 1 "browser: the file of the address is open"
        is "$(sed 's/<script type="application.*//' dom | grep -c '<script>alert')" 0 "browser: no markup of a test"
        is "$(grep -c CONSOLE log)" 0 "browser: no complaints"
    else
        echo "# the browser here does not start: $(tail -n 1 log)"
    fi
fi

# TAP: prove(1), of Perl, reads it.
cp out human
"$PROVIUM" test -p 1 --tap t >tap 2>err
is $? 1 "TAP: exit code"
is "$(grep -cE '^(not )?ok ' tap)" 62 "TAP: the points"
if diff <(sed -E 's/[0-9]+\.[0-9]s\)/T)/' human) <(sed -E 's/[0-9]+\.[0-9]s\)/T)/' err) >log; then
    ok "TAP: the usual report is on standard error"
else not_ok "TAP: standard error differs: $(cat log)"; fi
prove -e cat tap >log 2>&1
shown=$(grep -c "Failed 24/62 subtests" log)
is "$shown" 1 "TAP: prove counts the same"
if grep -qi "parse error" log; then not_ok "TAP: $(grep -i 'parse error' log)"; else ok "TAP: prove has nothing against it"; fi
if prove -e "$PROVIUM test --tap -q" t/b-good.lua t/c-skip.lua >log 2>&1; then ok "TAP: prove runs test files"; else
    not_ok "TAP: prove runs test files: $(cat log)"; fi

# Side by side, several times, and once more after a failure.
mkdir p
for i in 1 2 3; do cp t/b-good.lua p/$i.lua; done
cat >p/flaky.lua <<'LUA'
local f = io.open("tried") or io.open("tried", "w"):close() and fail("the first time")
test("then it works", function() end)
LUA
echo 'test("never", function() fail("again") end)' >p/never.lua
provium test $reports -p 3 --retries 1 p
exits 1 "--retries"
valid WHOLE "--retries"
is "$(xmllint --xpath 'string(//testsuite[@name="flaky.lua"]/testcase[@name="(file)"]/flakyFailure/@type)' r/r.xml)" \
    assertion "--retries: JUnit has what failed before"
is "$(xmllint --xpath 'count(//testsuite[@name="never.lua"]/testcase/rerunFailure)' r/r.xml)" 1 \
    "--retries: and what failed again"
is "$(grep -c '"flaky":true' r/r.json)" 1 "--retries: JSON says flaky"
rm tried
"$PROVIUM" test --tap -q --retries 1 p/flaky.lua 2>err >tap
is "$(tail -n 2 tap | head -n 1)" "# p/flaky.lua: flaky, passed at attempt 2" "--retries: TAP says flaky"
provium test $reports -p 2 --repeat 3 p/1.lua p/2.lua
exits 0 "--repeat"
valid WHOLE "--repeat"
is "$(wc -l <files.json)" 6 "--repeat: HTML has all rounds"

# Where they go.
"$PROVIUM" test -p 1 --json - t/b-good.lua >r/r.json 2>err
is $? 0 "--json -"
python3 "$here/check-json.py" r/r.json WHOLE >log 2>&1 && ok "--json -: valid" || not_ok "--json -: $(tail -n 1 log)"
"$PROVIUM" test -p 1 --junit - t/b-good.lua 2>err | xmllint --noout --schema "$here/junit.xsd" - 2>log && ok "--junit -" ||
    not_ok "--junit -: $(cat log)"
"$PROVIUM" test -p 1 --html - t/b-good.lua 2>err >page && python3 "$here/check-html.py" page >/dev/null && ok "--html -" ||
    not_ok "--html -"
provium test --html /dev/null --json /dev/null --junit /dev/null t/b-good.lua
exits 0 "/dev/null"
[ -c /dev/null ] && ok "/dev/null is still there" || not_ok "/dev/null was replaced"
provium test --junit none/r.xml t
exits 2 "directory missing"
complains "--junit 'none/r.xml': there is no directory 'none'" "directory missing: says so"
if [ ! -s out ]; then ok "directory missing: nothing has run"; else not_ok "directory missing: $(cat out)"; fi
provium test --json r --html x.html t
exits 2 "a directory"
complains "--json 'r': is a directory" "a directory: says so"
provium test --json x --junit x t
exits 2 "the same file"
complains "is the file of another report too" "the same file: says so"
provium test --tap --json - t
exits 2 "two on standard output"
complains "--tap and --json can not both have standard output" "two on standard output: says so"
provium test --list --html x.html t
exits 2 "a report of a list"
complains "--list runs nothing, so there is nothing for --html to report" "a report of a list: says so"
provium test --json /dev/full t/b-good.lua
exits 2 "disk full"
complains "cannot write the report --json '/dev/full'" "disk full: says so"
[ "$(ls -A)" = "$(ls -A | grep -v '^\.')" ] && ok "no hidden files are left" || not_ok "left over: $(ls -A)"
clean "where they go"

# Stopped while it runs, and killed at any moment.
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
is $? 130 "SIGINT: exit code"
valid WHOLE "SIGINT"
is "$(xmllint --xpath 'count(//testsuite)' r/r.xml)" 31 "SIGINT: JUnit has every file"
is "$(xmllint --xpath 'count(//skipped[@type="not-run"])' r/r.xml)" 25 "SIGINT: and says which were not run"
is "$(xmllint --xpath 'count(//skipped[@type="interrupted"])' r/r.xml)" 1 "SIGINT: and which was stopped"
is "$(tail -n 1 r/r.json | grep -c '"exit_code":130,"stopped_by":"SIGINT"')" 1 "SIGINT: JSON says so"
clean SIGINT
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
provium test t/b-good.lua # collects what was left where no file ran at that moment
clean SIGKILL
finish
