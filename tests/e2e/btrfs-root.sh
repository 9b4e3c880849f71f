#!/bin/bash
# SPDX-License-Identifier: MIT
# A root in a subvolume of btrfs, as Fedora and openSUSE install it: rootflags, and the hint without them.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
PATH=$PATH:/usr/sbin:/sbin
command -v mkfs.btrfs >/dev/null || skip "mkfs.btrfs is not installed: btrfs-progs"

truncate -s 200M root.img
mkfs.btrfs -q root.img >/dev/null 2>&1
for name in top sub; do
    printf '[profile.%s]\nkernel = "%s"\nmodules = "%s"\nrootfs = "root.img"\n' $name "$guest/vmlinuz" "$guest/modules"
    [ $name = top ] || echo 'rootflags = "subvol=@"'
done >provium.toml
mkdir -p lib/modules
ln -s "$guest/modules" "lib/modules/$(cat "$guest/VERSION")"
modprobe -d "$work" -S "$(cat "$guest/VERSION")" --show-depends btrfs | sed -n 's/^insmod //p' >list
GUEST=$guest
export GUEST

# The guest makes the subvolume, as that needs root and a mount.
cat >t/make.lua <<'LUA'
local BTRFS_IOC_SUBVOL_CREATE = 0x5000940e
local vm = provium.create()
vm:boot({ memory = "512M", disks = { { path = "root.img", format = "raw" } } })
vm:mount_vfs()
for path in io.lines("list") do
    path = path:match("^%S+")
    vm:push(path, "/tmp/" .. path:match("[^/]+$"))
    vm:sh("insmod /tmp/" .. path:match("[^/]+$"))
end
vm:sh("mkdir -p /b && mount -t btrfs /dev/vda /b")
vm:push(os.getenv("GUEST") .. "/userland.cpio", "/tmp/userland.cpio")
local fd = vm:syscall_buf("open", 0, "/b\0", 0, 0)
assert_eq(0, (vm:ioctl(fd, BTRFS_IOC_SUBVOL_CREATE, provium.pack("i64", 0) .. "@" .. ("\0"):rep(4087))))
vm:syscall("close", fd)
vm:sh("cd /b/@ && cpio -i </tmp/userland.cpio 2>/dev/null && echo from the subvolume >etc/origin && cd / && umount /b")
vm:shutdown()
LUA
cat >t/sub.lua <<'LUA'
local vm = provium.create("sub")
vm:boot()
assert_eq("from the subvolume", vm:sh("cat /etc/origin"))
LUA
echo 'provium.create("top"):boot()' >t/top.lua

provium test t/make.lua
exits "the image is made" 0
provium test t/sub.lua
exits "rootflags choose the subvolume" 0
provium test t/top.lua
exits "the top of the file system" 1
shows "the hint" "rootflags = \"subvol=NAME\" chooses a subvolume that has it: '@'"
logs_at_most "at the end"
finish
