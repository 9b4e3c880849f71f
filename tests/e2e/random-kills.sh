#!/bin/bash
# SPDX-License-Identifier: MIT
#
# ROUNDS=5 SEED=N tests/e2e/random-kills.sh
#
# The supervisor, a file's process or a QEMU is killed at a random moment, from before the first boot to after the last
# shutdown, or in a guest its agent or a worker, while two files with VMs wait for each other's memory at times. Each time
# the exit code and the reports name the kill, unless it came too late to matter, and nothing is left. SEED sets the
# moments; it is printed.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest

# begun-PID and ending-PID are the progress of a file's process. Both VMs are used once more after ending-PID was
# looked for, so a VM that is killed before that file exists cannot be missed.
progress='
local pid = assert(io.open("/proc/self/stat")):read("n")
local function mark(name) assert(io.open(os.getenv("PROVIUM_TEST_MARK") .. "/" .. name .. "-" .. pid, "w")):close() end
mark("begun")'
# PROVIUM_TEST_KILL is "agent" (the process that serves calls on the VM), "agents" (all of its guest's) or "worker"; it is
# killed PROVIUM_TEST_AFTER seconds after the boot. Its console tells that, and that the last call has come.
for f in a b; do
    cat >"t/$f.lua" <<LUA
$progress
local a, b = provium.create(), provium.create()
a:boot{memory = "128M"}
local worker = a:spawn()
local victim = "$f" == "a" and os.getenv("PROVIUM_TEST_KILL")
if victim then
    local pids = victim == "agents" and "\$(pidof provium-agent)" or
        string.format("%d", (victim == "agent" and a or worker):syscall("getpid"))
    a:exec("(sleep " .. os.getenv("PROVIUM_TEST_AFTER") .. "; kill -9 " .. pids ..
        "; echo random-kills: killed >/dev/console) >/dev/null 2>&1 &")
end
test("first", function() assert(a:exec("true").ok) end)
b:boot{memory = "128M"}
test("second", function() assert(b:exec("sleep 0.2").ok) end)
mark("ending")
test("both", function()
    assert(worker:exec("true").ok)
    assert(b:exec("true").ok)
    for _, side in ipairs{worker, a} do assert(side:exec("echo random-kills: last of $f >/dev/console").ok) end
end)
a:shutdown()
b:kill()
LUA
done
cat >t/c.lua <<LUA
$progress
test("no VM", function() provium.sleep(0.3) end)
mark("ending")
LUA
run=("$PROVIUM" test --config provium.toml -p 2 --mem 384M --json r.json --junit r.xml --html r.html t)

# reports EXIT-CODE TOLD WORDS: the reports are whole, and the JSON report has the exit code and, where TOLD is yes, exactly
# one file that failed, with WORDS (a pattern) in its message or its test's. After exit code 137 the reports end anywhere.
reports() {
    python3 - "$@" <<'PY'
import json, re, sys, xml.etree.ElementTree as xml
code, told, words = int(sys.argv[1]), sys.argv[2] == "yes", sys.argv[3]
lines = open("r.json", "rb").read().split(b"\n")
rest = lines.pop()
rows = [json.loads(l) for l in lines]
assert rows and rows[0]["type"] == "run", "no first line"
if code != 137:
    assert not rest and rows[-1]["type"] == "end", "no last line"
    assert rows[-1]["exit_code"] == code, rows[-1]
    failed = [r for r in rows if r["type"] == "file" and r["verdict"] == "fail"]
    assert len(failed) == (1 if code else 0), [r["file"] for r in failed]
    if told:
        messages = [failed[0]["message"]] + [t["message"] for t in failed[0]["tests"]]
        assert any(re.search(words, m or "") for m in messages), messages
root = xml.parse("r.xml").getroot()
assert root.tag == "testsuites", root.tag
assert b"</html>" in open("r.html", "rb").read()
PY
}

# stop_process PID: sends SIGSTOP; fails when the process has ended.
stop_process() {
    kill -STOP "$1" 2>/dev/null && wait_for 2 stopped_or_ended "$1"
    if stopped "$1"; then return 0; fi
    kill -CONT "$1" 2>/dev/null
    return 1
}
# seconds MILLISECONDS
seconds() { printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)); }
state_of() { sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null; }
stopped() { [ "$(state_of "$1")" = T ]; }
ended() { case $(state_of "$1") in "" | Z | X) return 0 ;; *) return 1 ;; esac; }
stopped_or_ended() { stopped "$1" || ended "$1"; }
children() { cat "/proc/$1/task/$1/children" 2>/dev/null; }

# Both print the pid of a victim at random, or nothing. Probes of QEMU have no name.
a_file() { children "$1" | tr ' ' '\n' | grep . | shuf -n 1; }
a_vm() {
    local p
    for p in $(qemus); do
        grep -aq 'guest=vm' "/proc/$p/cmdline" && echo "$p"
    done | shuf -n 1
}
parent() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f2; }

# kill_supervisor PID: prints "late" when no file's process was there that could remove the run's directory, or it was
# about to end: the next run does. (Stopped ones would get SIGHUP of the kernel.)
kill_supervisor() {
    local p told=late
    for p in $(children "$1"); do
        ended "$p" || [ -e "ending-$p" ] || told=yes
    done
    kill -KILL "$1"
    echo "$told"
}

# kill_one KIND SUPERVISOR: kills one of that kind while its side is stopped. Prints "no" when there was none,
# "yes" when the run must tell of it, "late" when the file had come to its end.
kill_one() {
    local victim file told=yes
    case $1 in
    supervisor)
        stop_process "$2" && kill_supervisor "$2" || echo no
        return
        ;;
    file) victim=$(a_file "$2") file=$victim ;;
    vm) victim=$(a_vm) file=$([ -z "$victim" ] || parent "$victim") ;;
    esac
    [ -n "$file" ] && stop_process "$file" || { echo no; return; }
    if [ "$victim" != "$file" ] && ! stop_process "$victim"; then
        kill -CONT "$file"
        echo no
        return
    fi
    [ ! -e "ending-$file" ] || told=late
    kill -KILL "$victim"
    [ "$victim" = "$file" ] || kill -CONT "$file"
    echo "$told"
}

# killed_in_guest: what the output of a run (with --live) says of a kill in the guest of a.lua: "yes" when it was killed
# before its last call, "late" when after that, "no".
killed_in_guest() {
    awk '/\| random-kills: killed/ && !told { told = last ? "late" : "yes" }
        /\| random-kills: last of a/ { last = 1 }
        END { print told ? told : "no" }' out
}

RANDOM=${SEED:=$RANDOM}
echo "seed $SEED"
begin=$(date +%s%N)
"${run[@]}" >out 2>&1
is "undisturbed" $? 0
span=$((($(date +%s%N) - begin) / 1000000 + 300))
nothing_left undisturbed

kinds=(supervisor file vm agent worker)
hits=0
rounds=${ROUNDS:-5}
for i in $(seq "$rounds"); do
    kind=${kinds[i % 5]}
    words=SIGKILL
    rm -f r.* begun-* ending-*
    ms=$(((RANDOM * 32768 + RANDOM) % span))
    case $kind in
    agent | worker)
        ms=$((ms / 3)) # from the boot on
        [ $kind = worker ] || [ $((RANDOM % 2)) = 0 ] || kind=agents
        words="worker 1|agent"
        PROVIUM_TEST_KILL=$kind PROVIUM_TEST_AFTER=$(seconds $ms) "${run[@]::${#run[@]}-1}" --live t/a.lua >out 2>&1
        code=$?
        told=$(killed_in_guest)
        ;;
    *)
        "${run[@]}" >out 2>&1 &
        supervisor=$!
        sleep "$(seconds $ms)"
        # Waits until such a process exists.
        told=no
        while [ "$told" = no ] && ! ended $supervisor; do
            told=$(kill_one "$kind" $supervisor)
        done
        wait $supervisor
        code=$?
        ;;
    esac
    # A process that serves calls and is killed between two of them is replaced, with a note.
    if [ "$kind,$told,$code" = agent,yes,0 ]; then
        grep -q 'note: the agent process of vm1 .* went away between two calls' out && told=noted
    fi
    round="round $i, $kind after $ms ms, told: $told, exit code $code"
    [ "$told" = no ] || hits=$((hits + 1))
    case $kind,$told,$code in
    supervisor,yes,137 | supervisor,late,137 | agent,noted,0) ok "$round" ;;
    file,yes,1 | vm,yes,1 | agent*,yes,1 | worker,yes,1) ok "$round" ;;
    file,late,[01] | vm,late,[01] | agent*,late,[01] | worker,late,[01] | *,no,0) ok "$round" ;;
    *)
        not_ok "$round"
        cat out
        ;;
    esac
    # A supervisor that is killed before it has opened the reports leaves none.
    if [ $code != 137 ] || [ -s r.html ]; then
        reports $code "$told" "$words" 2>why || not_ok "$round: reports: $(tail -n 1 why)"
    fi
    if [ "$kind,$told" = supervisor,late ]; then
        wait_for 2 nothing_runs || not_ok "$round: processes left: $(left_running | tr '\n' ' ')"
        "$PROVIUM" test t/c.lua >out 2>&1 || not_ok "$round: the next run fails: $(cat out)"
    fi
    if [ $code = 1 ]; then logs_at_most "$round"; else nothing_left "$round"; fi
done
if [ "$hits" -ge $((rounds / 3)) ]; then ok "$hits of $rounds kills hit"; else not_ok "only $hits of $rounds kills hit"; fi
finish
