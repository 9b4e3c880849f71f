#!/bin/bash
# SPDX-License-Identifier: MIT
# All that is odd about hosts at once, with a VM and a fixture: a long TMPDIR on a file system without programs (noexec), no
# /dev/shm, no /var/tmp, no HOME, a project that may only be read, umask 077, SIGCHLD ignored, 256 open files.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
unshare -rm true 2>/dev/null || skip "there are no user namespaces here"

mkdir -p project/t/fixtures tmp/empty
: >project/provium.toml
cat >project/t/fixtures/base.lua <<'LUA'
local vm = provium.create()
vm:boot()
vm:write_file("/etc/mark", "built")
return vm
LUA
cat >project/t/vm.lua <<'LUA'
test("a VM of a fixture", function()
    local vm = provium.fixture("base")
    assert_eq("built", vm:read_file("/etc/mark"))
    vm:push("provium.toml", "/etc/pushed")
    assert_eq("", vm:read_file("/etc/pushed"))
    local ok, how, code = os.execute("exit 3")
    assert(ok == nil and how == "exit" and code == 3, tostring(how))
end)
LUA
# There are no files in what is mounted on /dev/shm and /var/tmp, and none can be made.
cat >host <<'SH'
set -e
mount -t tmpfs -o noexec tmpfs "$1/tmp"
mount -t tmpfs -o ro,mode=000 none /dev/shm
mount -t tmpfs -o ro,mode=000 none /var/tmp
mount --bind "$1/project" "$1/project"
mount -o remount,ro,bind "$1/project"
export TMPDIR=$1/tmp/$(printf '%0120d/%0120d' 0 0)
mkdir -p "$TMPDIR"
cd "$1/project"
! touch x 2>/dev/null
umask 077
ulimit -n 256
exec env --ignore-signal=CHLD -u HOME -u XDG_CACHE_HOME -u XDG_DATA_HOME "$PROVIUM" test t
SH
PROVIUM=$PROVIUM PROVIUM_GUEST_DIR=$guest timeout -k 5 240 unshare -rm bash host "$work" >out 2>&1 </dev/null
is "exit code" $? 0
contains "the sub-test" out "OK: 1 passed, 0 failed"
contains "the cache of the run" out "neither XDG_CACHE_HOME nor HOME is set"
is "no process is left" "$(left_running)" ""
finish
