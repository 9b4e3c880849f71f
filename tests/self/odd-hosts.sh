#!/bin/bash
# SPDX-License-Identifier: MIT
# Hosts and parents that leave something unusual to a run: signals, descriptors, limits, namespaces. No VM is started.
. "$(dirname "$0")/../lib/shell.sh"

cat >status.lua <<'LUA'
test("a command's status arrives", function()
    local ok, how, code = os.execute("exit 3")
    assert(ok == nil and how == "exit" and code == 3, tostring(how))
    local p = io.popen("exit 4")
    ok, how, code = p:close()
    assert(ok == nil and how == "exit" and code == 4, tostring(how))
end)
LUA
cat >crash.lua <<'LUA'
os.execute("kill -SEGV $PPID")
LUA
cat >limit.lua <<'LUA'
test("commands get the inherited limit", function()
    local p = io.popen("ulimit -Sn")
    assert(p:read("l") == os.getenv("WANT"), "io.popen changes the limit")
    p:close()
    assert(os.execute('test "$(ulimit -Sn)" = "$WANT"'), "os.execute changes the limit")
    assert(not pcall(os.execute, {}), "os.execute takes a table")
    for line in io.lines("/proc/self/limits") do
        local soft, hard = line:match("^Max open files%s+(%d+)%s+(%d+)")
        assert(soft == hard, "the file's process has its raised limit no more")
    end
end)
LUA
cat >empty.lua <<'LUA'
test("runs", function() end)
LUA
echo 'provium.create():boot()' >boot.lua

# inherits MASKED IGNORED COMMAND...: runs COMMAND with signals blocked and ignored.
cat >inherits <<'PY'
import os, signal, sys
signals = lambda names: [getattr(signal, "SIG" + n) for n in names.split(",") if n]
signal.pthread_sigmask(signal.SIG_BLOCK, signals(sys.argv[1]))
for s in signals(sys.argv[2]):
    signal.signal(s, signal.SIG_IGN)
os.execv(sys.argv[3], sys.argv[3:])
PY
inherits() {
    local masked=$1 ignored=$2
    shift 2
    timeout -k 5 60 python3 inherits "$masked" "$ignored" "$PROVIUM" "$@" >out 2>err
    code=$?
}

inherits "" CHLD test status.lua
exits "SIGCHLD ignored by the parent" 0
shows "SIGCHLD ignored: the sub-test ran" "OK: 1 passed"
inherits "" CHLD test crash.lua
shows "SIGCHLD ignored: a crash is told as one" "SIGSEGV"
inherits CHLD,TERM,INT,ALRM,USR1,PIPE,WINCH ALRM,USR1,USR2,WINCH,TSTP test status.lua
exits "many signals blocked and ignored" 0

# A masked SIGTERM stops a run as ever.
cat >waits.lua <<'LUA'
io.open(os.getenv("READY"), "w"):close()
os.execute("sleep 723")
LUA
export READY=$work/ready
python3 inherits TERM,CHLD CHLD "$PROVIUM" test waits.lua >out 2>err &
top=$!
wait_for 30 test -e "$READY" || not_ok "SIGTERM blocked: did not start"
kill -TERM $top
wait $top 2>/dev/null
code=$?
exits "SIGTERM blocked by the parent" 143
nothing_left "SIGTERM blocked by the parent"

soft=$(($(ulimit -Hn) / 2))
[ $soft -le 1024 ] || soft=1024
(ulimit -Sn $soft && WANT=$soft exec timeout 60 "$PROVIUM" test limit.lua >out 2>err)
code=$?
exits "a soft limit of $soft descriptors" 0
(ulimit -n 256 && WANT=256 exec timeout 60 "$PROVIUM" test limit.lua >out 2>err)
code=$?
exits "256 descriptors" 0
(umask 077 && exec timeout 60 "$PROVIUM" test --json report.json status.lua >out 2>err)
code=$?
exits "umask 077" 0
is "umask 077: it holds for reports" "$(stat -c %a report.json)" 600
timeout 60 "$PROVIUM" test status.lua <&- >&- 2>&-
code=$?
exits "no standard descriptors" 0
timeout 60 "$PROVIUM" test crash.lua <&- >&- 2>&-
code=$?
exits "no standard descriptors, a crash" 1

# As an ordinary user in a user namespace /tmp belongs to the overflow user.
if [ "$(id -u)" = 0 ]; then user=(setpriv --reuid 65534 --regid 65534 --clear-groups); else user=(); fi
mkdir -m 1777 theirs
chmod 755 .
if [ "$(id -u)" = 0 ] && "${user[@]}" unshare -r true 2>/dev/null && "${user[@]}" test -x "$PROVIUM"; then
    in_namespace() {
        "${user[@]}" env -u XDG_CACHE_HOME -u HOME TMPDIR="$1" timeout 60 unshare -r "$PROVIUM" test empty.lua >out 2>err
        code=$?
    }
    in_namespace "$work/theirs"
    exits "a user namespace: a sticky directory of the host's root" 0
    mkdir -m 777 open
    in_namespace "$work/open"
    exits "a user namespace: a directory that others can change" 2
    rm -rf open
    chown 65533 theirs
    "${user[@]}" env TMPDIR="$work/theirs" "$PROVIUM" test empty.lua >out 2>err
    code=$?
    exits "another user's directory, in no namespace" 2
else
    echo "# not root, or no user namespaces: these are not tried"
fi
chmod 700 .
rmdir theirs

for dir in "$work/none" /proc; do
    (TMPDIR=$dir exec timeout 60 "$PROVIUM" test empty.lua >out 2>err)
    code=$?
    exits "TMPDIR=$dir" 2
    warns "TMPDIR=$dir: is named" "cannot use '$dir' for temporary files"
    warns "TMPDIR=$dir: what to set" "set TMPDIR to a directory that you can write to"
done

# ---- variables that name something else than they should ----
# odd NAME CODE TEXT VARIABLE=VALUE ARGUMENTS...: the run fails at once, and TEXT is in what it says.
odd() {
    local name=$1 want=$2 text=$3
    env "${@:4:1}" timeout -k 5 60 "$PROVIUM" "${@:5}" >out 2>err </dev/null
    code=$?
    exits "$name" "$want"
    cat out >>err
    warns "$name: is told" "$text"
}
mkdir -p empty/sub
echo text >file
advice="the environment variable PROVIUM_GUEST_DIR says, '$work/empty': there is no 'vmlinuz' in it that can be read"
odd "PROVIUM_GUEST_DIR without a guest" 2 "$advice" PROVIUM_GUEST_DIR=empty run true
odd "PROVIUM_GUEST_DIR without a guest, doctor" 1 "$advice" PROVIUM_GUEST_DIR="$work/empty" doctor
odd "PROVIUM_GUEST_DIR without a guest, test" 1 "unset the variable" PROVIUM_GUEST_DIR="$work/file" test boot.lua
odd "--rerun-failed without a cache" 2 "are not recorded, because the cache is not used; set XDG_CACHE_HOME" \
    XDG_CACHE_HOME="$work/file" test --rerun-failed empty.lua
odd "a cache below a file" 2 "file/provium': Not a directory; set XDG_CACHE_HOME to a directory of your own" \
    XDG_CACHE_HOME="$work/file" fixture list
# What is started in another directory finds what relative paths named.
cat >elsewhere.lua <<'LUA'
local p = io.popen("cd empty/sub && pwd && printenv PROVIUM_GUEST_DIR PROVIUM_VIRTIOFSD PROVIUM_QEMU TMPDIR")
local here = p:read("l"):sub(1, -#"/empty/sub" - 1)
assert_eq(here .. "/empty", p:read("l"))
assert_eq(here .. "/bin/none", p:read("l"))
assert_eq("qemu", p:read("l"))
assert_eq(here .. "/tmp", p:read("l"))
LUA
(PROVIUM_GUEST_DIR=empty PROVIUM_VIRTIOFSD=bin/none PROVIUM_QEMU=qemu TMPDIR=tmp exec timeout 60 "$PROVIUM" test elsewhere.lua >out 2>err)
code=$?
exits "relative paths, in another directory" 0
nothing_left "odd variables"
finish
