#!/bin/bash
# SPDX-License-Identifier: MIT
#
# ROUNDS=3 SEED=N tests/e2e/disk-kills.sh
#
# The supervisor, the file's process or a QEMU is killed while disks are served: while writes to them are recorded, or
# while states of the recording are in clones. Each time the exit code tells it, nothing is left, and the image on the
# host, of which the guest has a snapshot, has its old digest. SEED sets the moments; it is printed.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest

head -c 8388608 /dev/urandom >image.img
digest=$(sha256sum <image.img)
cat >t/disks.lua <<LUA
local function mark(name) assert(io.open("$work/" .. name, "w")):close() end
local vm = provium.create()
vm:boot{transport = "serial", memory = "128M", disks = {
    {name = "scratch", size = "16M"},
    {name = "image", path = "$work/image.img", format = "raw", faults = true, snapshot = true}}}
local both = provium.record{vm:disk("scratch"), vm:disk("image")}
mark("recording")
for i = 1, 8 do
    for _, name in ipairs{"scratch", "image"} do
        vm:sh("dd if=/dev/urandom of=" .. vm:disk(name):device() .. " bs=64k count=4 seek=" .. i .. " oflag=direct conv=fsync 2>/dev/null")
    end
end
both:stop()
mark("checking")
both:check(vm, function(clone)
    provium.sleep(0.3)
    clone:sh("true")
end, {at = "write", jobs = 2})
vm:sh("true")
LUA

# victim KIND SUPERVISOR: a pid of that kind, or nothing.
victim() {
    case $1 in
    supervisor) echo "$2" ;;
    file) tr ' ' '\n' <"/proc/$2/task/$2/children" 2>/dev/null | grep . | head -n 1 ;;
    vm) for p in $(qemus); do grep -aq 'guest=vm' "/proc/$p/cmdline" && echo "$p"; done | shuf -n 1 ;;
    esac
}

RANDOM=${SEED:=$RANDOM}
echo "seed $SEED"
kinds=(vm supervisor file vm file supervisor)
phases=(recording checking recording checking checking recording)
for i in $(seq 0 $((${ROUNDS:-3} - 1))); do
    kind=${kinds[i % 6]} phase=${phases[i % 6]}
    rm -f recording checking
    "$PROVIUM" test --config provium.toml --timeout 120s t >out 2>&1 &
    supervisor=$!
    wait_for 100 test -e $phase || not_ok "the file gets to $phase"
    ms=$((RANDOM % 700))
    sleep "0.$(printf '%03d' $ms)"
    pid=$(victim "$kind" $supervisor)
    [ -n "$pid" ] && kill -KILL "$pid"
    wait $supervisor
    code=$?
    round="$kind killed $ms ms after the beginning of $phase"
    if [ "$kind" = supervisor ]; then
        is "$round: exit code" $code 137
        nothing_left "$round"
    elif [ "$kind $phase $code" = "vm checking 0" ]; then # it was done with its state, or a standby VM
        contains "$round" out "OK: 1 passed, 0 failed"
        logs_at_most "$round"
    else
        is "$round: exit code" $code 1
        contains "$round" out SIGKILL
        logs_at_most "$round"
    fi
    is "$round: the image" "$(sha256sum <image.img)" "$digest"
done
finish
