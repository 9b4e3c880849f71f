#!/bin/bash
# SPDX-License-Identifier: MIT
# Source lines in the report of an oops in a module with debug information.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
module=$repo/build/module
[ -s "$module/provium_demo.ko" ] || "$repo/examples/module/build" >/dev/null || skip "examples/module does not build"

cat >"$work/t/oops.lua" <<LUA
local vm = provium.create()
vm:boot({ files = { ["/lib/demo.ko"] = "$module/provium_demo.ko" } })
vm:mount_vfs()
vm:sh("insmod /lib/demo.ko")
local fd = vm:syscall_buf("openat", 1, "/dev/provium_demo\\0", -100, 0, 2)
test("oops", function() vm:syscall("ioctl", fd, ("P"):byte() << 8 | 6, 0) end)
LUA
profile() {
    printf '[profile.default]\nboot_timeout = "120s"\nkernel = "%s/vmlinuz"\nmodules = "%s/modules"\ninitrd = "%s/userland.cpio"\n' "$guest" "$guest" "$guest"
    echo "$@"
}
line=$(grep -n 0xdead "$module/provium_demo.c" | cut -d: -f1)

profile "debug = [\"$module\"]" >provium.toml
provium test --json r.json t/oops.lua
is "exit code" "$code" 1
contains "the line of the oops" out "[provium_demo] ($module/provium_demo.c:$line)"
contains "the same in the JSON report" r.json "provium_demo.c:$line)"

profile >provium.toml
provium test t/oops.lua
contains "without debug files: as the kernel told it" out "RIP: 0010:demo_ioctl+"
is "and no line" "$(grep -c 'provium_demo.c:[0-9]*)' out)" 0

profile "debug = \"$PROVIUM\"" >provium.toml
provium test t/oops.lua
contains "a program that is no vmlinux of this kernel" out "'$PROVIUM' is of another build of the kernel"
finish
