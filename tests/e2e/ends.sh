#!/bin/bash
# SPDX-License-Identifier: MIT
# Whatever way the harness ends with VMs running, nothing of it is left within 2 s.
. "$(dirname "$0")/lib.sh"

cat >"$work/files/ok.lua" <<'LUA'
local vm = provium.create("minimal")
vm:boot()
test("runs", function() assert_eq("hi\n", vm:exec("echo hi").stdout) end)
LUA
cat >"$work/files/luaerror.lua" <<'LUA'
local vm = provium.create("minimal")
vm:boot()
error("on purpose")
LUA
cat >"$work/files/hang.lua" <<'LUA'
local a, b = provium.create("minimal"), provium.create("minimal")
a:boot()
b:boot()
io.open(os.getenv("READY"), "w"):close()
a:exec("sleep 1000")
LUA
cat >"$work/files/spin.lua" <<'LUA'
local a = provium.create("minimal")
a:boot()
io.open(os.getenv("READY"), "w"):close()
while true do pcall(function() end) end
LUA
cat >"$work/files/exit.lua" <<'LUA'
local a = provium.create("minimal")
a:boot()
os.exit(0)
LUA
export READY=$work/ready
run=("$PROVIUM" test --config tests/provium.toml)

"${run[@]}" "$work/files/ok.lua" >"$work/out" 2>&1
is "success: exit code" $? 0
check_nothing_left success

"${run[@]}" "$work/files/luaerror.lua" >"$work/out" 2>&1
is "Lua error: exit code" $? 1
contains "Lua error: message" "$work/out" "luaerror.lua:3: on purpose"
check_only_logs_left "Lua error"

"${run[@]}" "$work/files/exit.lua" >"$work/out" 2>&1
is "os.exit: exit code" $? 1
contains "os.exit: message" "$work/out" "os.exit"
check_only_logs_left "os.exit"

"${run[@]}" --timeout 12 "$work/files/hang.lua" "$work/files/ok.lua" >"$work/out" 2>&1
is "file timeout: exit code" $? 1
contains "file timeout: message" "$work/out" "timed out"
contains "file timeout: the next file runs" "$work/out" "ok.lua ... ok"
check_only_logs_left "file timeout"

# interrupted NAME FILE SIGNAL WHOM EXIT-CODE: starts, waits for the VMs, sends, waits for the end.
interrupted() {
    local name=$1 file=$2 sig=$3 whom=$4 want=$5 top pid code
    rm -f "$READY"
    "${run[@]}" "$work/files/$file" >"$work/out" 2>&1 &
    top=$!
    if ! wait_for 60 test -e "$READY"; then
        bad "$name: the VMs did not come up"
        cat "$work/out"
        kill -KILL $top
        return
    fi
    case $whom in
    top) pid=$top ;;
    file) pid=$(cat /proc/$top/task/*/children | tr ' ' '\n' | grep . | head -n 1) ;;
    esac
    kill -"$sig" "$pid"
    wait $top
    code=$?
    is "$name: exit code" $code "$want"
}

for file in hang.lua spin.lua; do
    interrupted "SIGINT, $file" $file INT top 130
    contains "SIGINT, $file: says so" "$work/out" "nterrupted"
    rm -rf "${TMPDIR:?}"/provium-*/ # logs of the interrupted file may be kept
    check_nothing_left "SIGINT, $file"
    interrupted "SIGTERM, $file" $file TERM top 143
    rm -rf "${TMPDIR:?}"/provium-*/
    check_nothing_left "SIGTERM, $file"
    interrupted "SIGKILL of the top process, $file" $file KILL top 137
    check_nothing_left "SIGKILL of the top process, $file"
    interrupted "SIGKILL of the file's process, $file" $file KILL file 1
    contains "SIGKILL of the file's process, $file: says so" "$work/out" "SIGKILL"
    check_only_logs_left "SIGKILL of the file's process, $file"
done
exit $status
