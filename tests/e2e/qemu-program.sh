#!/bin/bash
# SPDX-License-Identifier: MIT
# The choice of the QEMU program: the profile's key, PROVIUM_QEMU, a wrong path, one without seccomp, and one that
# offers no saving without memory, with which fixtures and resets work all the same.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
export PROVIUM

mkdir -p q t/fixtures
install -m 755 "$repo/tests/lib/qemu-hiding.py" q/qemu
cat >t/fixtures/base.lua <<'LUA'
local vm = provium.create()
vm:boot()
vm:exec("echo built >/etc/mark"):assert_ok()
return vm
LUA
cat >t/fixture.lua <<'LUA'
local vm = provium.fixture("base")
test("fixture", function() assert(vm:read_file("/etc/mark") == "built\n") end)
test("clone", function() assert(vm:clone():read_file("/etc/mark") == "built\n") end)
test("restore", function()
    local s = vm:snapshot()
    vm:write_file("/etc/mark", "changed\n")
    vm:restore(s)
    assert(vm:read_file("/etc/mark") == "built\n")
end)
LUA
echo 'provium.create():boot()' >t/boot.lua

# run NAME CODE ARGUMENTS...: `provium test`, all output in out.
run() {
    local name=$1 want=$2
    shift 2
    timeout -k 5 240 "$PROVIUM" test -p 1 "$@" >"$work/out" 2>&1
    is "$name: exit code" $? "$want"
}
profile() { printf '[profile.default]\nkernel = "%s"\nqemu = "%s"\n' "$guest/vmlinuz" "$1" >provium.toml; }

# ---- a wrong path, named with its key and file ----
PROVIUM_QEMU=$work/none run "variable, no file" 1 t/boot.lua
contains "the variable is named" out "PROVIUM_QEMU is '$work/none', which is not there"
PROVIUM_QEMU=$work/t/boot.lua run "variable, no program" 1 t/boot.lua
contains "no program" out "which is no program that may be executed"
PROVIUM_QEMU=$work run "variable, a directory" 1 t/boot.lua
contains "a directory is named" out "PROVIUM_QEMU is '$work'"
PROVIUM_QEMU=$work/none "$PROVIUM" doctor >out 2>&1
is "doctor: exit code" $? 1
contains "doctor names the variable" out "PROVIUM_QEMU"
profile "$work/none"
run "key, no file" 2 t/boot.lua
contains "the key is named" out "provium.toml:3: profile 'default': key 'qemu': '$work/none' does not exist"
profile t/boot.lua
run "key, no program" 2 t/boot.lua
contains "the key is named, no program" out "key 'qemu': '$work/t/boot.lua' may not be executed"
: >provium.toml

# ---- a QEMU without seccomp and without x-ignore-shared: told, and all works ----
touch q/no-seccomp
echo ignore-shared >q/hide
PROVIUM_QEMU=$work/q/qemu "$PROVIUM" doctor >out 2>&1
is "doctor, no seccomp: exit code" $? 0
contains "doctor tells of seccomp" out "has no seccomp"
PROVIUM_QEMU=q/qemu run "variable, fixture" 0 t/fixture.lua
contains "told of seccomp" out "has no seccomp"
contains "told of the slow way" out "cannot save a VM's devices apart from its memory"
PROVIUM_QEMU=$work/q/qemu "$PROVIUM" fixture stale base >out 2>&1
contains "fits with the same QEMU" out "nothing would be rebuilt"
"$PROVIUM" fixture stale base >out 2>&1
contains "another QEMU makes the fixture stale" out "qemu"

# ---- /usr/libexec/qemu-kvm, with a /usr/libexec of the test's own ----
if [ -d /usr/libexec ] && unshare -rm mount -t tmpfs none /usr/libexec 2>/dev/null; then
    qemu=$(command -v qemu-system-x86_64) PATH=$work/bin /usr/bin/unshare -rm \
        /bin/sh -c '/bin/mount -t tmpfs none /usr/libexec && /bin/ln -s "$qemu" /usr/libexec/qemu-kvm &&
            exec "$PROVIUM" doctor' >out 2>&1
    contains "qemu-kvm is found" out "(/usr/libexec/qemu-kvm)"
fi

profile q/qemu
run "key, boot" 0 t/boot.lua
contains "the key's program runs" out "has no seccomp"
logs_at_most "QEMU program"
finish
