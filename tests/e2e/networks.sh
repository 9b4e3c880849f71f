#!/bin/bash
# SPDX-License-Identifier: MIT
# Networks at every end of provium: a kill of the supervisor, of a file's process and of a QEMU leaves nothing, and captures
# that were closed are whole; two runs at once in one directory do not meet.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest

cat >t/net.lua <<'LUA'
local name = os.getenv("NAME")
local lan, other = provium.network("lan", {subnet = "10.7.0.0/24", hosts = true}), provium.network("other")
local a, b = provium.create(nil, {name = "a"}), provium.create(nil, {name = "b"})
local closed, open = lan:capture(name .. "-closed.pcapng"), lan:capture(name .. "-open.pcapng")
local stream = lan:capture()
local function boot(vm, nets)
    return function() vm:boot{nets = nets, memory = "128M", timeout = "4m"} end
end
provium.all{boot(a, {lan, other}), boot(b, {lan})}
provium.router{lan, other}
local port = lan:port{name = "port"}
test("they meet", function()
    assert(a:ip(lan):find("^10%.7%.0%.[12]$"), a:ip(lan)) -- no other run's VMs are on this network
    assert(b:exec("ping -c 2 -W 20 a").ok)
    assert(a:exec("ping -c 2 -W 20 " .. port:ip()).ok)
end)
closed:close()
lan:impair{latency = "10ms"}
io.open(name .. "-ready", "w"):close()
if os.getenv("HANG") then
    test("hangs", function()
        b:background("ping -i 0.01 a")
        a:exec("sleep 1000")
    end)
end
LUA
run=("$PROVIUM" test --config provium.toml t/net.lua)

# frames FILE: how many there are in a capture whose blocks are whole; "cut" when one is not.
frames() {
    python3 - "$1" <<'PY'
import struct, sys
data, at, n = open(sys.argv[1], "rb").read(), 0, 0
while at < len(data):
    kind, size = struct.unpack_from("<II", data, at) if at + 12 <= len(data) else (0, 0)
    if size < 12 or at + size > len(data) or struct.unpack_from("<I", data, at + size - 4)[0] != size:
        sys.exit(print("cut"))
    n += kind == 6
    at += size
print(n)
PY
}
# whole NAME FILE: it has the frames of two pings at least, and tools read them.
whole() {
    local n tool
    n=$(frames "$2")
    if [ "$n" != cut ] && [ "$n" -ge 10 ]; then ok "$1: $n frames"; else not_ok "$1: frames: $n"; fi
    for tool in tshark tcpdump; do
        command -v $tool >/dev/null || continue
        is "$1: $tool reads them all" "$($tool -n -r "$2" 2>"$work/err" | wc -l)" "$n"
    done
}

# qemu_of VM: its pid.
qemu_of() {
    local p
    for p in $(qemus); do
        grep -aq "guest=$1[^a-z]" "/proc/$p/cmdline" && echo "$p"
    done
}

ready_or_ended() { [ -e n-ready ] || ! kill -0 "$1" 2>/dev/null; }

# killed NAME VICTIM EXIT-CODE: kills supervisor, file or vm once the file hangs.
killed() {
    local top pid code
    rm -f ./*-ready ./*.pcapng
    NAME=n HANG=1 "${run[@]}" >out 2>&1 &
    top=$!
    wait_for 300 ready_or_ended $top
    if [ ! -e n-ready ]; then
        not_ok "$1: the VMs did not come up"
        cat out
        kill -KILL $top
        return
    fi
    case $2 in
    supervisor) pid=$top ;;
    file) pid=$(cat /proc/$top/task/*/children | tr ' ' '\n' | grep . | head -n 1) ;;
    vm) pid=$(qemu_of a) ;;
    esac
    kill -KILL "$pid"
    wait $top
    code=$?
    is "$1: exit code" $code "$3"
    whole "$1: the closed capture" n-closed.pcapng
}

killed "SIGKILL of the supervisor" supervisor 137
nothing_left "SIGKILL of the supervisor"
killed "SIGKILL of the file's process" file 1
contains "SIGKILL of the file's process: says so" out "SIGKILL"
only_logs_left "SIGKILL of the file's process"
killed "SIGKILL of a QEMU" vm 1
contains "SIGKILL of a QEMU: says so" out "SIGKILL"
contains "SIGKILL of a QEMU: the frames are kept" out "lan.pcapng"
whole "SIGKILL of a QEMU: the open capture" n-open.pcapng
only_logs_left "SIGKILL of a QEMU"

rm -f ./*-ready ./*.pcapng
NAME=one "${run[@]}" >out 2>&1 &
NAME=two "${run[@]}" >out2 2>&1
is "two runs at once: the second" $? 0
wait $!
is "two runs at once: the first" $? 0
for name in one two; do
    whole "two runs at once: the capture of $name" $name-closed.pcapng
    whole "two runs at once: the open capture of $name" $name-open.pcapng
done
nothing_left "two runs at once"
finish
