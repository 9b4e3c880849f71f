#!/bin/bash
# SPDX-License-Identifier: MIT
# test --coverage: counters below debugfs become lcov files, at each end of a VM's run.  A program that gcc has
# instrumented writes them where a kernel with CONFIG_GCOV_KERNEL shows its own, in the same layout.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
export PROVIUM_GUEST_DIR=$guest
command -v lcov >/dev/null || skip "lcov is not installed"

cat >counted.c <<'C'
int main(int argc, char **argv)
{
    if (argc == 1)
        return 0;
    if (argv[1][0] == 'b')
        return 1;
    return 2;
}
C
gcc --coverage -O0 -c counted.c && gcc --coverage -static -o counted counted.o
cat >t/lib.lua <<LUA
local M = {}
function M.boot(name)
    local vm = provium.create("default", {name = name})
    vm:boot{memory = "128M"}
    vm:push("counted", "/counted")
    vm:sh("mount -t tmpfs none /sys/kernel/debug && mkdir -p /sys/kernel/debug/gcov$work")
    vm:symlink("$work/counted.gcno", "/sys/kernel/debug/gcov$work/counted.gcno")
    return vm
end
function M.count(vm, ...)
    return vm:exec({"/counted", ...}, {env = {GCOV_PREFIX = "/sys/kernel/debug/gcov"}}).exit_code
end
return M
LUA
cat >t/a.test.lua <<'LUA'
local lib = require("lib")
local vm = lib.boot("first")
test("before a kill", function()
    assert_eq(0, lib.count(vm))
    vm:kill()
end)
local other = lib.boot("second")
test("at the end of the file", function()
    assert_eq(1, lib.count(other, "b"))
end)
LUA
cat >t/b.test.lua <<'LUA'
local lib = require("lib")
local vm = lib.boot()
test("before a shutdown", function()
    assert_eq(2, lib.count(vm, "c"))
    vm:shutdown()
end)
LUA
# line FILE N: how often the line was reached.
line() { awk -F'[:,]' -v n="$2" '/^end_of_record/ { mine = 0 } /^SF:.*counted\.c$/ { mine = 1 } mine && $1 == "DA" && $2 == n { sum += $3 } END { print sum + 0 }' "$1"; }

timeout -k 5 240 "$PROVIUM" test -p 1 --coverage cov t >"$work/out" 2>"$work/err"
code=$?
exits "the verdict is the same" 0
shows "the summary" "coverage: cov/coverage.info: 100.0% (6 of 6 lines)"
is "the files" "$(ls -A cov | tr '\n' ' ')" "coverage.info lcov.log t+a.test.lua.info t+b.test.lua.info "
is "a test file's own: each of its runs" "$(line cov/t+a.test.lua.info 4),$(line cov/t+a.test.lua.info 6),$(line cov/t+a.test.lua.info 7)" 1,1,0
is "the other one's" "$(line cov/t+b.test.lua.info 4),$(line cov/t+b.test.lua.info 6),$(line cov/t+b.test.lua.info 7)" 0,0,1
is "all of them" "$(line cov/coverage.info 4),$(line cov/coverage.info 6),$(line cov/coverage.info 7)" 1,1,1
contains "named as the test file" cov/t+a.test.lua.info "TN:t_a_test_lua"

rm t/b.test.lua
cat >t/a.test.lua <<'LUA'
local vm = provium.create()
vm:boot{memory = "128M"}
LUA
provium test --coverage cov t
exits "a kernel without gcov" 0
shows "is told" "--coverage: none of vm1 (t/a.test.lua) was taken: its kernel was built without CONFIG_GCOV_KERNEL and CONFIG_KCOV"
shows "and so is the run without any" "coverage: none"
is "files of the run before are gone" "$(ls -A cov | grep -c 'a.test.lua\|coverage.info')" 0
: >"$work/file"
provium test --coverage file t
exits "a directory that is a file" 2
contains "is told, too" err "--coverage"
provium test --coverage cov --watch t
exits "with --watch" 2
mkdir bin && ln -s "$(command -v timeout)" bin/
PATH=$work/bin provium test --coverage cov t
exits "without lcov" 2
contains "says what to install" err "--coverage needs lcov: apt-get install lcov"
logs_at_most "at the end"
finish
