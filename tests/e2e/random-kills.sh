#!/bin/bash
# SPDX-License-Identifier: MIT
# The top process, a file's process or a QEMU is killed at a random moment, from before the first boot to after the
# last shutdown, with two files side by side that wait for each other's memory at times: nothing is left, the exit
# code says what happened, and the reports can be read.
# ROUNDS: how often (default 9); SEED: of the moments, printed.
. "$(dirname "$0")/lib.sh"
export XDG_CACHE_HOME=$work/cache

: >"$work/provium.toml" # the default guest needs nothing of it
for f in a b; do
    cat >"$work/files/$f.lua" <<'LUA'
local a, b = provium.create(), provium.create()
a:boot{memory = "128M"}
test("first", function() assert(a:exec("true").ok) end)
b:boot{memory = "128M"}
test("second", function() assert(b:exec("sleep 0.2").ok) end)
a:shutdown()
b:kill()
LUA
done
echo 'test("no VM", function() provium.sleep(0.3) end)' >"$work/files/c.lua"
run=("$PROVIUM" test --config "$work/provium.toml" -p 2 --mem 384M --json "$work/r.json" --junit "$work/r.xml"
    --html "$work/r.html" "$work/files")

# reports EXIT-CODE: they parse, and the JSON one says how the run ended (137: it could not).
reports() {
    python3 - "$work" "$1" <<'PY'
import json, sys, xml.etree.ElementTree as xml
work, code = sys.argv[1], int(sys.argv[2])
lines = open(work + "/r.json", "rb").read().split(b"\n")
rest = lines.pop()
events = [json.loads(l) for l in lines]
assert events and events[0]["type"] == "run", "no first line"
if code != 137:
    assert not rest and events[-1]["type"] == "end", "no last line"
    assert events[-1]["exit_code"] == code, events[-1]
root = xml.parse(work + "/r.xml").getroot()
assert root.tag == "testsuites", root.tag
assert b"</html>" in open(work + "/r.html", "rb").read()
PY
}

RANDOM=${SEED:=$RANDOM}
echo "seed $SEED"
begin=$(date +%s%N)
"${run[@]}" >"$work/out" 2>&1
is "undisturbed" $? 0
span=$((($(date +%s%N) - begin) / 1000000 + 300))
check_nothing_left undisturbed

for i in $(seq 1 "${ROUNDS:-9}"); do
    whom=$((i % 3))
    rm -f "$work"/r.*
    "${run[@]}" >"$work/out" 2>&1 &
    top=$!
    ms=$(((RANDOM * 32768 + RANDOM) % span))
    sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
    victim=
    case $whom in
    0) victim=$top ;;
    1) victim=$(cat /proc/$top/task/*/children 2>/dev/null | tr ' ' '\n' | grep . | shuf -n 1) ;;
    2) victim=$(qemus | shuf -n 1) ;;
    esac
    hit=no
    [ -n "$victim" ] && kill -KILL "$victim" 2>/dev/null && hit=yes
    wait $top
    code=$?
    round="round $i (after $ms ms, exit code $code)"
    case $whom,$hit,$code in
    0,yes,137 | 1,yes,1 | 2,yes,1 | *,no,0) good "$round" ;;
    *,yes,0) good "$round: it was too late to matter" ;;
    *)
        bad "$round: whom $whom, hit $hit"
        cat "$work/out"
        ;;
    esac
    # Killed before it had opened them all: then there are none.
    if [ $code != 137 ] || [ -s "$work/r.html" ]; then
        reports $code 2>"$work/why" || bad "$round: reports: $(tail -n 1 "$work/why")"
    fi
    if [ $code = 1 ]; then
        find "$TMPDIR" -mindepth 1 -maxdepth 1 -name 'provium-*' -exec rm -rf {} + # the logs of the failed file
    fi
    check_nothing_left "$round"
done
exit $status
