#!/bin/bash
# SPDX-License-Identifier: MIT
# Selection, shards and merge on generated files. No VM is started.
. "$(dirname "$0")/../lib/shell.sh"

for i in 1 2 3 4 5 6 7; do
    echo "io.open(os.getenv('LOG'), 'a'):write('f$i\n') test('t', function() assert_eq(1, 1) end)" >t/f$i.lua
done
echo 'io.open(os.getenv("LOG"), "a"):write("bad\n") test("deny", function() assert_eq(0, os.getenv("GOOD") and 0) end)' >t/bad.lua
export LOG=$work/ran
ran() { sort "$LOG" | tr '\n' ' '; }
# did WANT NAME: exactly these files have run since the last check.
did() {
    if [ "$(ran)" = "$1" ]; then ok "$2"; else not_ok "$2: ran '$(ran)', expected '$1'"; fi
    : >"$LOG"
}
: >"$LOG"

# --rerun-failed
provium test --rerun-failed t
exits "--rerun-failed without a run" 2
warns "--rerun-failed without a run: says so" "no earlier run of this project is recorded here"
did "" "--rerun-failed without a run: runs nothing"
provium test t
exits "first run" 1
: >"$LOG"
provium test --rerun-failed t
exits "--rerun-failed" 1
did "bad " "--rerun-failed: only what failed"
shows "--rerun-failed: says so" "note: --rerun-failed: 1 of 8 files"
GOOD=1 provium test --rerun-failed t
exits "--rerun-failed, mended" 0
did "bad " "--rerun-failed, mended: still what failed"
provium test --rerun-failed t
exits "--rerun-failed, nothing failed" 0
did "" "--rerun-failed, nothing failed: runs nothing"
shows "--rerun-failed, nothing failed: says so" "none of the 8 files failed when it last ran"
provium test -f bad t
(cd t && timeout 20 "$PROVIUM" test --rerun-failed f1.lua bad.lua >"$work/out" 2>&1)
did "bad bad " "--rerun-failed: by another way to the same files"
provium test -f f1 t
: >"$LOG"
provium test --rerun-failed t
did "bad " "--rerun-failed: remembers what did not run in between"
hist=$(find "$XDG_CACHE_HOME/provium/history" -name '*.json')
echo '{' >"$hist"
provium test -f f1 t
exits "damaged history" 0
shows "damaged history: a notice" "is ignored: line "
: >"$LOG"
provium test --history t/f1.lua -f f2 t
exits "--history that is something else" 0
shows "--history that is something else: says so" "is not overwritten"
did "f2 " "--history that is something else: is left alone"
grep -q LOG t/f1.lua && ok "--history that is something else: really"

# --list, --shuffle
provium test --list -f f t --shard 1/2
exits "--list" 0
did "" "--list: runs nothing"
same "--list: names" <<'WANT'
f1.lua
f3.lua
f5.lua
f7.lua
WANT
provium test --list --json t -f f1
python3 -c 'import json,sys; d=json.load(open("out")); assert d["schema"]=="provium-list/1" and d["shuffle"] is None and [f["name"] for f in d["files"]]==["f1.lua"] and d["files"][0]["path"]=="t/f1.lua" and d["files"][0]["failed"] is False, d' &&
    ok "--list --json" || not_ok "--list --json"
provium test --list --json=list.json --shuffle=5 t && [ ! -s out ] && python3 -m json.tool list.json >/dev/null &&
    ok "--list --json=FILE" || not_ok "--list --json=FILE"
provium test --list --shuffle=7 t && cp out a && provium test --list --shuffle=7 t && cmp -s a out &&
    ok "--shuffle=SEED: the same order" || not_ok "--shuffle=SEED"
provium test --list --shuffle=8 t
cmp -s a out && not_ok "--shuffle: another seed, another order" || ok "--shuffle: another seed, another order"
provium test --shuffle t
seed=$(sed -n 's/.*--shuffle=\([0-9]*\) gives.*/\1/p' out)
order=$(sed -n 's/^  \([a-z0-9]*\.lua\) \.\.\. .*/\1/p' out)
provium test --list "--shuffle=$seed" t
[ -n "$seed" ] && [ "$order" = "$(cat out)" ] && ok "--shuffle: prints its seed" || not_ok "--shuffle: $seed: $order"
: >"$LOG"
for bad in x -1 1x 99999999999999999999; do
    provium test "--shuffle=$bad" t
    exits "--shuffle=$bad" 2
done

# nothing to run
mkdir void
provium test void
exits "no files" 2
provium test --allow-none void
exits "--allow-none" 0
shows "--allow-none: the last line" "OK: 0 passed, 0 failed"
provium test --allow-none -f zzz t
exits "--allow-none -f" 0
provium test --allow-none nowhere
exits "--allow-none is not for paths that do not exist" 2

# --tag: a file without a test that is selected
cat >tags.lua <<'LUA'
test("plain", function() end)
test("net", {tags = {"net"}}, function() end)
LUA
echo 'test("plain", function() end) test("more", function() end)' >plain.lua
provium test --tag net tags.lua plain.lua
exits "--tag" 0
same "--tag: the report" <<'WANT'
provium test

  plain.lua ... skip: none of its 2 tests is selected by --tag net
  tags.lua ... ok (1 test, T)
    · net ... ok

OK: 1 passed, 0 failed, 1 skipped
WANT

# --shard and merge
for bad in 0/3 4/3 x 1 1/0 auto; do
    provium test --shard $bad t
    exits "--shard $bad" 2
done
warns "--shard auto: names the variables" "CI_NODE_INDEX and CI_NODE_TOTAL (GitLab)"
mkdir r
: >"$LOG"
for k in 1 2 3; do
    CI_NODE_INDEX=$k CI_NODE_TOTAL=3 GOOD=1 provium test --shard auto --json r/$k.json t
    exits "shard $k" 0
    shows "shard $k: says so" "note: shard $k/3: "
done
did "bad f1 f2 f3 f4 f5 f6 f7 " "shards: each file once"
provium merge --json all.json --junit all.xml --html all.html r
exits "merge" 0
same "merge: the report" <<'WANT'
provium merge

  3 reports, 8 files

OK: 8 passed, 0 failed
WANT
python3 - <<'PY' && ok "merge: the whole report" || not_ok "merge: the whole report"
import json
lines = [json.loads(l) for l in open("all.json")]
assert lines[0]["shard"] is None and len(lines[0]["files"]) == 8, lines[0]
assert sorted(l["file"] for l in lines if l["type"] == "file") == sorted(lines[0]["files"])
assert lines[-1]["type"] == "end" and lines[-1]["totals"]["passed"] == 8 and lines[-1]["exit_code"] == 0, lines[-1]
assert lines[-1]["totals"]["tests"] == 8
each = [json.loads(l) for k in "123" for l in open(f"r/{k}.json")]
assert {l["file"]: l["tests"][0]["duration_ns"] for l in each if l["type"] == "file"} == {
    l["file"]: l["tests"][0]["duration_ns"] for l in lines if l["type"] == "file"}
PY
provium merge all.json --json again.json
exits "merge of a merge" 0
python3 - <<'PY' && ok "merge of a merge: the same" || not_ok "merge of a merge: the same"
import json
def files(p): return [l for l in open(p) if json.loads(l)["type"] == "file"]
assert files("all.json") == files("again.json")
PY

: >"$LOG"
provium test --list --json -f f3 t
if grep -qF '"duration_ns": null' out; then not_ok "merge: durations are kept"; else ok "merge: durations are kept"; fi
mv r/2.json 2.json
provium merge --junit part.xml r
exits "a shard is missing" 1
shows "a shard is missing: named" "missing: shard 2/3"
grep -qF "no result: shard 2/3 is missing" part.xml && ok "a shard is missing: its files fail in the reports" ||
    not_ok "a shard is missing: its files fail in the reports"
cp r/1.json r/copy.json
cp 2.json r/2.json
provium merge r
exits "a shard is there twice" 2
warns "a shard is there twice: named" "shard 1/3 is there twice: 'r/1.json' and 'r/copy.json'"
rm r/copy.json

# the report of a killed run: a cut line, no end record
victim=$(sed -n 's/.*"type":"file","file":"\([^"]*\)".*/\1/p' 2.json | tail -n 1)
grep -v '"type":"end"' 2.json | head -c -20 >r/2.json
provium merge r
exits "a killed shard" 1
shows "a killed shard: named" "killed: the run of r/2.json"
shows "a killed shard: its file fails" "$victim ... FAIL"
shows "a killed shard: says why" "no result: the run that 'r/2.json' tells of was killed"

# files that are missing, duplicate, or of another run
grep -v "\"type\":\"file\",\"file\":\"$victim\"" 2.json >r/2.json
provium merge r
exits "a file's result is missing" 1
shows "a file's result is missing: named" "no result: 'r/2.json' should have it"
{ cat 2.json; grep "\"type\":\"file\",\"file\":\"$victim\"" 2.json; } >r/2.json
provium merge r
exits "a file's result is there twice" 2
warns "a file's result is there twice: named" "has the result of '$victim' twice"
cp t/f1.lua t/f8.lua
provium test --shard 2/3 --json r/2.json t
provium merge r
exits "another set of files" 2
warns "another set of files: named" "only one of them has the file 'f8.lua'"
rm t/f8.lua
# The longest file is the first shard's: the second one has other files than before.
echo '{"schema": "provium-history/1", "files": {"t/'"$victim"'": {"duration_ns": 60000000000, "failed": false}}}' >h.json
provium test --shard 2/3 --history h.json --json r/2.json t
provium merge r
case $code in 1 | 2) ok "another history: noticed" ;; *) not_ok "another history: exit code $code" ;; esac
cat out err | grep -q "same history" && ok "another history: says what shards need" || not_ok "another history: $(cat out err)"
provium test --shard 2/4 --json r/2.json t
provium merge r
exits "another number of shards" 2
echo '{"version": 1}' >r/2.json
provium merge r
exits "no report" 2
warns "no report: named" "r/2.json: no report of provium test --json"
printf '{"type":"run","schema":"provium-report/1","files":["a"],"selected":["a"]}\n{"type":"file","file":"a","verdict":"ok","tests":[5]}\n' >x.json
provium merge x.json
exits "a malformed report" 2
warns "a malformed report: line and key" "x.json:2: 'tests' is not a list of objects"
provium merge void
exits "no reports" 2
provium merge
exits "nothing to merge" 2
provium merge r nowhere
exits "no such directory" 2
cp 2.json r/2.json

# failures, a shard without files, repetitions, a stopped run
rm r/*.json
for k in 1 2 3 4 5 6 7 8 9; do
    provium test --shard $k/9 --repeat 2 --json r/$k.json t
done
exits "a shard without files" 0
shows "a shard without files: says so" "note: shard 9/9: 0 of 8 files"
provium merge r
exits "merge of failures" 1
shows "merge of failures: counts" "FAIL: 14 passed, 2 failed"
shows "merge of failures: shows them" "deny ... FAIL: "
rm r/*.json
echo 'os.execute("kill -INT $(cut -d\\  -f4 /proc/$PPID/stat)") provium.sleep(20)' >t/zz.lua
provium test -p 1 --json r/1.json t
exits "a stopped run" 130
provium merge r
exits "merge of a stopped run" 130
shows "merge of a stopped run: says so" "stopped by SIGINT"
# with the environment of an indexed Job of Kubernetes
rm -r r t/zz.lua t/bad.lua && mkdir r
for i in 0 1 2 3; do
    JOB_COMPLETION_INDEX=$i PROVIUM_SHARDS=4 provium test --shard auto --json r/$i.json t
done
provium merge r
exits "Kubernetes" 0
shows "Kubernetes: all files" "OK: 7 passed, 0 failed"
nothing_left "shards"
finish
