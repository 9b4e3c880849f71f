#!/bin/bash
# SPDX-License-Identifier: MIT
# Every end of provium while VMs run leaves no process, file or socket within 2 s.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest

cat >"$work/t/ok.lua" <<'LUA'
local vm = provium.create()
vm:boot()
test("runs", function() assert_eq("hi\n", vm:exec("echo hi").stdout) end)
LUA
cat >"$work/t/luaerror.lua" <<'LUA'
local vm = provium.create()
vm:boot()
error("on purpose")
LUA
cat >"$work/t/hang.lua" <<'LUA'
local a, b = provium.create(), provium.create()
a:boot()
b:boot()
io.open(os.getenv("READY"), "w"):close()
a:exec("sleep 1000")
LUA
cat >"$work/t/spin.lua" <<'LUA'
local a = provium.create()
a:boot()
io.open(os.getenv("READY"), "w"):close()
while true do pcall(function() end) end
LUA
cat >"$work/t/exit.lua" <<'LUA'
local a = provium.create()
a:boot()
os.exit(0)
LUA
export READY=$work/ready
run=("$PROVIUM" test)

"${run[@]}" "$work/t/ok.lua" >"$work/out" 2>&1
is "success: exit code" $? 0
nothing_left success

"${run[@]}" "$work/t/luaerror.lua" >"$work/out" 2>&1
is "Lua error: exit code" $? 1
contains "Lua error: message" "$work/out" "luaerror.lua:3: on purpose"
only_logs_left "Lua error"

"${run[@]}" "$work/t/exit.lua" >"$work/out" 2>&1
is "os.exit: exit code" $? 1
contains "os.exit: message" "$work/out" "os.exit"
only_logs_left "os.exit"

"${run[@]}" --timeout 25 "$work/t/hang.lua" "$work/t/ok.lua" >"$work/out" 2>&1
is "file timeout: exit code" $? 1
contains "file timeout: message" "$work/out" "timed out"
contains "file timeout: the next file runs" "$work/out" "ok.lua ... ok"
only_logs_left "file timeout"

# interrupted NAME FILE SIGNAL top|file EXIT-CODE: runs FILE, sends SIGNAL once its VMs are up to the supervisor or to
# the file's process, and checks provium's exit code.
interrupted() {
    local name=$1 file=$2 sig=$3 target=$4 want=$5 top pid code
    rm -f "$READY"
    "${run[@]}" "$work/t/$file" >"$work/out" 2>&1 &
    top=$!
    if ! wait_for 60 test -e "$READY"; then
        not_ok "$name: the VMs did not come up"
        cat "$work/out"
        kill -KILL $top
        return
    fi
    case $target in
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
    logs_at_most "SIGINT, $file"
    interrupted "SIGTERM, $file" $file TERM top 143
    logs_at_most "SIGTERM, $file"
    interrupted "SIGKILL of the supervisor, $file" $file KILL top 137
    nothing_left "SIGKILL of the supervisor, $file"
    interrupted "SIGKILL of the file's process, $file" $file KILL file 1
    contains "SIGKILL of the file's process, $file: says so" "$work/out" "SIGKILL"
    only_logs_left "SIGKILL of the file's process, $file"
done
finish
