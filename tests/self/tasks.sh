#!/bin/bash
# SPDX-License-Identifier: MIT
# Tasks that end badly, in the report and on the timeline; Ctrl-C and the file's timeout end a file with tasks. No VM.
. "$(dirname "$0")/../lib/shell.sh"
mkdir r

cat >t/tasks.lua <<'LUA'
test("waited for", function()
    local task = provium.async(function() provium.sleep(0.01) fail("boom") end)
    task:wait()
end)
test("nobody waited", function()
    provium.async(function() fail("boom") end)
end)
test("not ended", function()
    provium.async(function() while true do pcall(provium.sleep, 100) end end)
end)
test("fine", function() assert_eq({1, 2}, provium.all{function() provium.sleep(0.01) return 1 end, function() return 2 end}) end)
provium.async(function() provium.sleep(100) end)
LUA
provium test --json r/tasks.json t
exits tasks 1
same "tasks: the report" <<'WANT'
provium test

  tasks.lua ... FAIL (T)
    · waited for ... FAIL: boom
        at t/tasks.lua:2
          > 2 | local task = provium.async(function() provium.sleep(0.01) fail("boom") end)
        in a task begun at t/tasks.lua:2
        waited for at t/tasks.lua:3
          > 3 | task:wait()
    · nobody waited ... FAIL: boom
        at t/tasks.lua:6
          > 6 | provium.async(function() fail("boom") end)
        in a task begun at t/tasks.lua:6
        nobody waited for this task
    · not ended ... FAIL: the task begun at t/tasks.lua:9 had not ended with the test and was given up
    · fine ... ok
    the task begun at t/tasks.lua:12 had not ended with the file and was given up
    rerun: provium test t/tasks.lua

FAIL: 0 passed, 1 failed
WANT
contains "tasks: a track of the timeline" r/tasks.json '"vm":"task 1","text":"begun at t/tasks.lua:2"'

is "tasks: calls of a task that is given up are no steps" "$(grep -o '"vm":"task 3"' r/tasks.json | wc -l)" 2

cat >t/tasks.lua <<'LUA'
provium.all{function() provium.sleep(100) end, function() while true do end end}
LUA
provium test --timeout 1s t
exits "tasks: the file's timeout" 1
contains "tasks: the file's timeout is told" "$work/out" "timed out after 1 s"
finish
