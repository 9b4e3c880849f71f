#!/bin/bash
# SPDX-License-Identifier: MIT
# The timeout of a sub-test ends its request to a real guest, and the guest serves the next sub-test.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest

cat >"$work/t/t.lua" <<'LUA'
local vm = provium.create()
vm:boot({timeout = 60})
local pid = vm:syscall("getpid")
test("exec", {timeout = 1}, function() vm:exec("sleep 600") end)
test("caught", {timeout = 1}, function()
    pcall(vm.exec, vm, "sleep 601")
    while true do pcall(vm.exec, vm, "true") end
end)
test("wait_until", {timeout = 1}, function()
    vm:wait_until(function() return false end, {timeout = 60, desc = "doomsday"})
end)
test("blocking system call", {timeout = 1}, function() vm:syscall("pause") end)
test("job", {timeout = 1}, function() vm:job_wait(vm:background("sleep 602"), 60) end)
test("goes on", function()
    assert_eq("alive", vm:exec("echo alive").stdout:trim())
    assert(not vm:exec("pgrep -f 'sleep 60[01]'").ok, "the command was not killed")
end)
test("same process", function() assert_eq(pid, vm:syscall("getpid")) end)
test("boot", {timeout = "10ms"}, function()
    provium.create():boot()
end)
LUA
start=$(date +%s)
timeout 150 "$PROVIUM" test "$work/t/t.lua" >"$work/out" 2>&1
is "exit code" $? 1
contains "exec" "$work/out" "exec ... FAIL: timed out after 1 s, running 'sleep 600' in vm1"
contains "caught" "$work/out" "caught ... FAIL: timed out after 1 s"
contains "wait_until" "$work/out" "wait_until ... FAIL: timed out after 1 s, waiting for doomsday"
contains "system call" "$work/out" "blocking system call ... FAIL: timed out after 1 s, system call pause in vm1"
contains "job" "$work/out" "job ... FAIL: timed out after 1 s, waiting for job"
contains "the guest goes on" "$work/out" "goes on ... ok"
contains "its agent is the same" "$work/out" "same process ... ok"
contains "boot" "$work/out" "boot ... FAIL: timed out after 0.01 s, booting vm2"
if [ $(($(date +%s) - start)) -lt 100 ]; then ok "ends early"; else not_ok "took $(($(date +%s) - start)) s"; fi
only_logs_left "timeouts"
[ $status = 0 ] || cat "$work/out"
finish
