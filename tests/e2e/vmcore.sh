#!/bin/bash
# SPDX-License-Identifier: MIT
# test --vmcore: a core of a kernel that panics, or reports and runs on; none of what a test expects; a full disk.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
export PROVIUM_GUEST_DIR=$guest

# is_core FILE: QEMU's kdump (flattened, as makedumpfile writes it to a pipe) or ELF.
is_core() {
    case $(head -c 12 "$1") in makedumpfile | $'\x7f'ELF*) ok "$1 is a core" ;; *) not_ok "$1 is no core" ;; esac
}
panic='echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger'
cat >t/a.test.lua <<LUA
local vm = provium.create("default", {name = "main"})
vm:boot{memory = "128M"}
test("expected", function()
    vm:expect_report("sysrq triggered crash", function() pcall(vm.exec, vm, "$panic") end)
end)
vm:boot()
test("runs on", function()
    vm:sh("echo '<1>kernel BUG at vmcore.sh:1!' >/dev/kmsg; sleep 0.2")
    assert_eq("alive", vm:sh("echo alive", {timeout = 5}))
end)
vm:kill()
vm:boot()
test("panics", function() vm:exec("$panic", {timeout = 5}) end)
LUA
# three boots and two cores: more than provium's 60 s on a machine with much to do
timeout -k 5 240 "$PROVIUM" test -p 1 --vmcore "$work/new/cores" --json "$work/r.json" t >"$work/out" 2>"$work/err"
code=$?
exits "the verdict is the same" 1
shows "an expected panic fails nothing" "expected ... ok"
shows "a report does" "kernel BUG at vmcore.sh:1!"
shows "the call is told of the panic, and no timeout" "panics ... FAIL (guest-panic): main (default) died: the guest's kernel panicked"
shows "the summary names the core" "new/cores/t+a.test.lua-main.vmcore"
is "one core of each run that failed, nothing beside them" "$(ls -A "$work/new/cores" | tr '\n' ' ')" \
    "t+a.test.lua-main-2.vmcore t+a.test.lua-main.vmcore "
for file in "$work"/new/cores/*; do
    is "of its owner" "$(stat -c %a "$file")" 600
    is_core "$file"
done
contains "JSON names it" "$work/r.json" "\"vmcores\":[{\"vm\":\"main\",\"path\":\"$work/new/cores/t+a.test.lua-main.vmcore\",\"format\":\"kdump-zlib\""

cat >t/a.test.lua <<LUA
local vm = provium.create()
vm:boot{memory = "128M"}
vm:exec("$panic")
LUA
: >"$work/file"
provium test --vmcore "$work/file" t
exits "no directory" 2
warns "is told" "is no directory; expected a directory"
provium test --guest-oopses report --vmcore "$work/none" t
is "none of what the options let pass" "$(ls -A "$work/none" 2>&1)" "ls: cannot access '$work/none': No such file or directory"
provium test --vmcore= t
exits "an empty name" 2

mkdir "$work/small"
if unshare -m true 2>/dev/null; then
    # shellcheck disable=SC2016
    unshare -m bash -c 'mount -t tmpfs -o size=1M none "$1" && exec "$2" test --vmcore "$1" t' - "$work/small" "$PROVIUM" >"$work/out" 2>"$work/err"
    code=$?
    exits "a full disk" 1
    shows "a notice" "it cannot be written: No space left on device"
fi
finish
