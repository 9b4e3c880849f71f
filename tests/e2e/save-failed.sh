#!/bin/bash
# SPDX-License-Identifier: MIT
# test --save-failed and resume: the VM as it was at the failure, elsewhere and as another user; what cannot be resumed.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
export PROVIUM_GUEST_DIR=$guest

cat >"$work/t/fails.test.lua" <<'LUA'
local vm, gone = provium.create("default", {name = "main"}), provium.create("default", {name = "gone"})
vm:boot({memory = "128M", disks = {{name = "data", size = "64M"}}})
vm:disk("data"):write(4096, "by the host")
test("expected", {expect_fail = "known"}, function() vm:exec("touch /tmp/expected") fail("as it should") end)
local again = false
test("retried", {retries = 1}, function()
    if not again then again = true fail("not yet") end
end)
test("caught", function() assert(not pcall(error, "x")) end)
test("slow", {timeout = 60}, function()
    vm:exec("touch /tmp/at-failure")
    vm:sh("printf 'by the guest' | dd of=/dev/vda bs=512 seek=16 conv=notrunc")
    assert(vm:disk("data"):unflushed() > 0)
    local closed <close> = setmetatable({}, {__close = function() vm:exec("rm /tmp/at-failure") end})
    defer(function() vm:kill() end)
    assert_eq(vm:exec("echo seen").stdout, "unseen")
end)
fail("later")
LUA
echo 'test("passes", function() end)' >"$work/t/passes.test.lua"
provium test --save-failed "$work/saved/new" --json "$work/r.json" t
exits "the verdict is the same" 1
shows "the summary names the file" "saved/new/t+fails.test.lua.pvsave"
shows "and the VMs" "main; not gone: it is not booted"
is "one file for the file that failed, nothing beside it" "$(ls -A "$work/saved/new")" "t+fails.test.lua.pvsave"
contains "JSON names it" "$work/r.json" '"saved_vms":"main; not gone: it is not booted"'
file=$work/saved/new/t+fails.test.lua.pvsave

provium resume "$file" --list
exits "--list" 0
shows "the failure" "test 'slow':"
shows "a VM that was saved" "main (default): saved"
shows "the reason of one that was not" "it is not booted"
shows "the calls" "main: running 'touch /tmp/at-failure'"
provium resume "$file" --console main
exits "--console" 0
provium resume "$file" --console nobody
exits "--console of no VM" 2
warns "which there are" "it has: main, gone"

mkdir "$work/elsewhere"
cd "$work/elsewhere" || exit 1
provium resume "$file" -- sh -c 'ls /tmp; exit 7'
exits "the command's exit code" 7
is "the VM is as it was" "$(cat "$work/out")" "$(printf 'at-failure\nexpected')"
provium resume "$file" -- sh -c 'echo 3 >/proc/sys/vm/drop_caches; for at in 8 16; do
    dd if=/dev/vda bs=512 skip=$at count=1 2>/dev/null | tr -d "\0"; echo; done; dd if=/dev/zero of=/dev/vda bs=1M count=8 conv=fsync'
exits "its scratch disk can be used" 0
is "and has what it had" "$(cat "$work/out")" "$(printf 'by the host\nby the guest')"
warns "the failure is told" "test 'slow':"
printf 'echo one\necho two; exit 5\n' >"$work/lines"
provium resume "$file" main <"$work/lines"
exits "lines of standard input" 5
is "are run" "$(cat "$work/out")" "$(printf 'one\ntwo')"
provium resume "$file" gone -- true
exits "a VM that was not saved" 2
warns "has a reason" "it is not booted"
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    mkdir "$work/other"
    cp "$file" "$work/other/f.pvsave"
    chmod 755 "$work"
    chown -R 65534 "$work/other"
    XDG_CACHE_HOME=$work/other TMPDIR=$work/other HOME=$work/other timeout 60 setpriv --reuid 65534 --regid 65534 \
        --clear-groups "$PROVIUM" resume "$work/other/f.pvsave" -- ls /tmp/at-failure >"$work/out" 2>"$work/err"
    code=$?
    [ "$code" != 126 ] && [ "$code" != 127 ] && exits "as another user" 0
fi

# ---- files that cannot be resumed ----

mkdir "$work/x"
cat >"$work/edit.py" <<'PY'
"""edit.py DIR OUT KEY VALUE: packs DIR again, with a member of 1/machine.json or failure.json changed."""
import json, sys, tarfile
top, out, key, value = sys.argv[1:]
names = ['failure.json', '1/machine.json', '1/console', '1/state/memory', '1/state/state', '1/state/initrd', 'end']
where, *path = key.split('.')
name = {'vm': '1/machine.json', 'failure': 'failure.json'}[where]
data = json.load(open(f'{top}/{name}'))
inner = data
for step in path[:-1]:
    inner = inner[step]
inner[path[-1]] = json.loads(value)
json.dump(data, open(f'{top}/{name}.new', 'w'))
with tarfile.open(out, 'w', format=tarfile.PAX_FORMAT) as tar:
    for n in names:
        tar.add(f'{top}/{n}' + ('.new' if n == name else ''), n)
PY
if tar --zstd -xf "$file" -C "$work/x" 2>/dev/null; then
    refused() { # NAME KEY VALUE TEXT
        python3 "$work/edit.py" "$work/x" "$work/edited" "$2" "$3" || not_ok "edit for $1"
        provium resume "$work/edited" -- true
        exits "$1" 2
        warns "$1: why" "$4"
        rm -f "$work/edited"
    }
    refused "arguments of QEMU" vm.profile.qemu_args '["-monitor", "stdio"]' "are not taken from a file"
    refused "a machine with a path" vm.profile.machine '"q35,firmware=/etc/passwd"' "no plain model"
    refused "a later QEMU" failure.host.qemu '"99.1.0"' "older one"
    refused "another format" failure.format '"provium-save/9"' "provium-save/9"
    machine=$(python3 -c 'import json,sys; m=json.loads(json.load(open(sys.argv[1]))["machine"]); m["disks"]=[
        {"name":"vda","sector":0,"bus":0,"path":"/etc/passwd","format":"raw","readonly":False,"snapshot":False,"backing":0}]
print(json.dumps(json.dumps(m)))' "$work/x/1/machine.json")
    refused "a disk that writes to the host" vm.machine "$machine" "would write to"
    refused "a disk of which nothing is said" vm.machine "${machine//\\\"readonly\\\": false/\\\"readonly\\\": true}" \
        "says nothing"
    machine=$(python3 -c 'import json,sys; m=json.loads(json.load(open(sys.argv[1]))["machine"])
m["disks"].append(dict(m["disks"][0], name="more", path="/etc/passwd"))
print(json.dumps(json.dumps(m)))' "$work/x/1/machine.json")
    refused "a scratch disk without its content" vm.machine "$machine" "is not in the file"
    machine=$(python3 -c 'import json,sys; m=json.loads(json.load(open(sys.argv[1]))["machine"]); m["memory"]*=2
print(json.dumps(json.dumps(m)))' "$work/x/1/machine.json")
    refused "another size of memory" vm.machine "$machine" "has another size"
fi
head -c 100000 "$file" >"$work/cut"
for f in "$work/cut" /dev/zero /dev/null "$PROVIUM" "$work" "$work/none"; do
    provium resume "$f"
    exits "resume ${f##*/}" 2
done
provium resume
exits "no file" 2
warns "what to give" "which file?"
provium resume "$file" --
exits "no command" 2

# ---- a kernel report; a directory that cannot be written ----

cd "$work" || exit 1
rm t/*
cat >t/report.test.lua <<'LUA'
local vm = provium.create("default")
vm:boot({memory = "128M"})
test("reports", function() vm:exec("echo '<0>BUG: unable to handle page fault for address: 0' >/dev/kmsg; touch /tmp/r") end)
LUA
provium test --save-failed "$work/saved" t
exits "a report of the kernel" 1
provium resume "$work/saved/t+report.test.lua.pvsave" -- ls /tmp/r
exits "saves, too" 0
: >"$work/file"
provium test --save-failed "$work/file" t
exits "no directory" 2
warns "is told" "is no directory; expected a directory"
provium test --save-failed= t
exits "an empty one" 2
is "nothing is left" "$(ls -A "$TMPDIR" | grep -v '^provium-' || true)" ""
finish
