#!/bin/bash
# SPDX-License-Identifier: MIT
# `provium gdb`: real gdb, in batch mode, on the kernels of VMs that wait for it.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
command -v gdb >/dev/null || skip "gdb is not installed"

provium gdb
exits "no VM is there" 2
warns "what to do" "boot one with \`provium run --gdb\`"
provium gdb a b
exits "two VMs" 2
warns "arguments of gdb" "arguments of gdb come behind --"

# waits NUMBER: until so many VMs wait for a debugger.
waits() {
    for _ in $(seq 600); do
        [ "$(find tmp -name '*.gdb' -type s | wc -l)" != "$1" ] || return 0
        sleep 0.2
    done
    not_ok "$1 VMs wait for a debugger"
}

cat >provium.toml <<TOML
[profile.default]
kernel = "$guest/vmlinuz"
initrd = "$guest/userland.cpio"
modules = "$guest/modules"
debug = ["symbols"]
TOML
mkdir symbols
cp /bin/true symbols/vmlinux
echo 'print("commands of the kernel")' >symbols/vmlinux-gdb.py
cat >t/a.lua <<'LUA'
local vm = provium.create("default", { name = "one" })
vm:boot({ gdb = true })
assert(vm:exec("true").ok)
LUA
sed 's/"one"/"two"/' t/a.lua >t/b.lua
timeout -k 5 400 "$PROVIUM" test -p 2 --timeout 300 t/a.lua t/b.lua >test.out 2>&1 &
run=$!
waits 2
provium gdb
exits "several VMs" 2
warns "they are listed" "/002-b/two"
warns "each with its command" "provium gdb "
provium gdb three
exits "no VM of that name" 2
warns "the others are listed" "no VM 'three' has a socket for a debugger; there are:"
timeout -k 5 60 env PATH="$work/nothing" "$PROVIUM" gdb one >out 2>err
code=$?
exits "without gdb" 2
warns "gdb is named" "gdb is not installed (Debian: apt install gdb)"
provium gdb one -- -batch -ex 'print/x $eip' -ex 'info registers rip' -ex 'info files' -ex detach
exits "gdb attaches" 0
contains "it reads a register: the CPU's first instruction" out "0xfff0"
contains "it has the symbols" out "$work/symbols/vmlinux"
contains "and the scripts beside them" out "commands of the kernel"
name=$(find tmp -name two.gdb -printf '%h\n' | sed 's#.*/provium-##')
provium gdb "$name/two" -- -batch -ex detach
exits "by its whole name" 0
wait $run
is "the kernels that gdb left have started" $? 0
contains "a line says how to attach" test.out "one (default) waits for a debugger, without a boot timeout; in another terminal: provium gdb one"
is "nothing is left" "$(find tmp -name '*.gdb*')" ""

: >provium.toml
timeout -k 5 400 "$PROVIUM" run --gdb -- cat /proc/cmdline >run.out 2>run.err &
run=$!
waits 1
provium gdb -- -batch -ex 'hbreak *0x1000000' -ex 'info registers rip'
exits "the only VM needs no name" 0
contains "without symbols a line says so" err "no vmlinux is known"
wait $run
is "the command has run" $? 0
contains "in a kernel at its own addresses" run.out "nokaslr"
contains "run says how to attach" run.err "provium: vm1 (default) waits for a debugger"
is "its directory is gone" "$(ls tmp)" ""

timeout -k 5 100 "$PROVIUM" shell --gdb >run.out 2>run.err </dev/null &
run=$!
waits 1
kill -INT "$(pgrep -P $run)"
wait $run
is "SIGINT while it waits" $? 130
is "nothing is left then" "$(ls tmp)" ""
provium shell --gdb --fixture x
exits "a fixture has booted already" 2
finish
