#!/bin/bash
# SPDX-License-Identifier: MIT
# 1,000 runs of small test files that are right, four times as many side by side as there are CPUs: each must be ok, with
# nothing else to tell.
#
# Not part of `make check`: about half an hour. From the project's root: [RUNS=1000] [LOAD=4] tests/long/green.sh
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
runs=${RUNS:-1000}
jobs=$((${LOAD:-4} * $(nproc)))

cat >provium.toml <<TOML
[profile.default]
kernel = "$guest/vmlinuz"
modules = "$guest/modules"
initrd = "$guest/userland.cpio"
TOML
mkdir fixtures
cat >fixtures/kept.lua <<'LUA'
local vm = provium.create()
vm:boot()
vm:exec("echo kept >/mark")
LUA
cat >t/boot.lua <<'LUA'
test("boots", function()
    local vm = provium.create()
    vm:boot()
    assert(vm:exec("test -d /etc").ok)
end)
LUA
cat >t/two.lua <<'LUA'
test("a fixture", function() assert_eq("kept\n", provium.fixture("kept"):read_file("/mark")) end)
test("again", function() assert_eq("kept\n", provium.fixture("kept"):exec("cat /mark").stdout) end)
LUA
cat >t/saved.lua <<'LUA'
test("a snapshot and a clone", function()
    local vm = provium.fixture("kept")
    local s = vm:snapshot()
    vm:exec("rm /mark")
    local b = vm:clone()
    vm:restore(s)
    assert(vm:exec("test -e /mark").ok and not b:exec("test -e /mark").ok)
end)
LUA
cat >t/serial.lua <<'LUA'
test("serial, then a reboot", function()
    local vm = provium.create()
    vm:boot({transport = "serial"})
    vm:reboot()
    assert(vm:exec("true").ok)
    vm:shutdown()
end)
LUA
cat >t/work.lua <<'LUA'
test("a process, a worker and files", function()
    local vm = provium.fixture("kept")
    local p = vm:start("read a; echo got $a", {stdin = true})
    p:write("it\n")
    assert_contains(p:wait().stdout, "got it")
    vm:write_file("/big", string.rep("0123456789abcdef", 65536))
    assert_eq(1048576, #vm:read_file("/big"))
    assert(vm:spawn():exec("dd if=/dev/zero of=/x bs=1M count=8 2>/dev/null; sync; rm /x").ok)
end)
LUA
start=$(date +%s)
"$PROVIUM" test -p $jobs --repeat $((runs / 5)) t >out 2>err
code=$?
echo "load: $(cut -d' ' -f1-3 </proc/loadavg), $(($(date +%s) - start)) s, $(tail -n 1 out)"

is "exit code" $code 0
is "runs that are ok" "$(grep -c '\.lua.* \.\.\. ok' out)" $((runs / 5 * 5))
is "runs that are something else" "$(grep '\.lua.* \.\.\. ' out | grep -cv ' \.\.\. ok (')" 0
[ $code = 0 ] || { cat err; grep -A 12 ' \.\.\. FAIL' out | head -n 200; }
finish
