#!/bin/bash
# SPDX-License-Identifier: MIT
# An initramfs larger than the guest's memory takes: boot says which files did not arrive, with the numbers, or says before
# it starts QEMU that it can not be. A profile's archive of zeros is small on disk and large in the guest.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest

# archive MIB: prints a cpio archive with the default userland and a file of zeros
archive() {
    local dir
    dir=$(mktemp -d "$work/tmp/zeros.XXXXXX")
    cat "$guest/userland.cpio"
    truncate -s "$1"M "$dir/zeros"
    (cd "$dir" && echo zeros | cpio -o -H newc -R 0:0 --quiet)
    rm -rf "$dir"
}
profile() {
    printf '[profile.%s]\nkernel = "%s"\nmodules = "%s"\ninitrd = "%s"\n' "$1" "$guest/vmlinuz" "$guest/modules" "$2"
}

archive 190 >190.cpio
zstd -q 190.cpio -o 190.cpio.zst
zstd -q <190.cpio >190-unsized.cpio.zst
gzip -1 <190.cpio >190.cpio.gz
head -c 45M /dev/urandom >big
{
    profile fat "$work/190-unsized.cpio.zst"
    profile sized "$work/190.cpio.zst"
    profile gz "$work/190.cpio.gz"
} >provium.toml

# run NAME CODE FILE: `provium test` with the file's text on standard input
run() {
    cat >t/a.lua
    timeout -k 5 400 "$PROVIUM" test -p 1 t >"$work/out" 2>&1
    is "$1: exit code" $? "$2"
}

run "whole or told" 0 <<LUA
local big = "$work/big"

test("a file that does not fit is named, with the numbers", function()
    local vm = provium.create("fat")
    local ok, why = pcall(vm.boot, vm, { memory = "512M", timeout = "120s", files = { ["/data/big"] = big } })
    assert(not ok, "boot said ok")
    assert_contains(why, "the initramfs did not arrive whole: /data/big (47185920 bytes: another content)")
    assert_contains(why, "memory of the VM: ")
    assert_contains(why, "boot it with more memory")
end)

test("with more memory it arrives", function()
    local vm = provium.create("fat")
    vm:boot({ memory = "1G", timeout = "120s", files = { ["/data/big"] = big } })
    local f <close> = io.popen("sha256sum <" .. big)
    assert_eq(f:read("l"):sub(1, 64), vm:sh("sha256sum </data/big"):sub(1, 64))
    vm:kill()
end)

-- The compressed archive lies in memory while it is unpacked, so both together have to fit.
test("what can not be is told before QEMU starts", function()
    local vm = provium.create("sized")
    local ok, why = pcall(vm.boot, vm, { memory = "200M", files = { ["/data/big"] = big } })
    assert(not ok, "boot said ok")
    assert_contains(why, "the initramfs needs at least")
    assert_contains(why, "MiB of the VM's 200 MiB of memory")
    assert_eq("", vm:console():log())
end)

test("a kernel that panics without its root tells of the initramfs", function()
    local vm = provium.create("gz")
    local ok, why = pcall(vm.boot, vm, { memory = "300M", timeout = "120s" })
    assert(not ok, "boot said ok")
    assert_contains(why, "could not unpack the initramfs: write error (it needs more memory than the VM has)")
end)
LUA
[ "$status" = 0 ] || cat "$work/out"
finish
