#!/bin/bash
# SPDX-License-Identifier: MIT
# The initrds of initramfs-tools and dracut with a Debian root on a disk: a boot ends in that root, and the injected files
# are there when systemd runs. As root, with initramfs-tools and dracut-core (they can be installed beside each other), the
# images of tests/make-debian-image and the default guest; about 6 minutes.
#
#     tests/long/initrds.sh [TOOL...]    TOOL: initramfs-tools, dracut, dracut-plain (without systemd); all by default
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
image=$repo/build/debian-image/debian.ext4
version=$(cat "$guest/VERSION")
[ -s "$image" ] || skip "no $image: tests/make-debian-image"
[ "$(id -u)" = 0 ] || skip "it needs root"

mkdir deb
dpkg-deb -x "$guest"/download/linux-image-*"$version"*.deb deb || exit 1

# make TOOL: TOOL.img for the guest's kernel, in mounts of its own that look as if it were installed here
make() {
    unshare -m bash -eu -s "$1" "$version" "$work" >"$1.log" 2>&1 <<'S'
tool=$1 version=$2 work=$3
mount -t tmpfs modules /lib/modules 2>/dev/null || { mkdir -p /lib/modules && mount -t tmpfs modules /lib/modules; }
mkdir "/lib/modules/$version"
mount --bind "$work/deb/boot" /boot
mount --bind "$work/deb/lib/modules/$version" "/lib/modules/$version"
depmod "$version"
omit="dm dmraid lvm mdraid multipath iscsi nfs plymouth crypt zfs network network-legacy network-manager systemd-networkd"
case $tool in
initramfs-tools) mkinitramfs -c gzip -o "$work/$tool.img" "$version" ;;
dracut) dracut -f --no-hostonly --gzip --kver "$version" --omit "$omit" "$work/$tool.img" ;;
dracut-plain)
    dracut -f --no-hostonly --gzip --kver "$version" --omit "$omit systemd systemd-initrd dracut-systemd systemd-udevd" \
        "$work/$tool.img"
    ;;
esac
S
}

head -c 9M /dev/urandom >big
[ $# -gt 0 ] || set -- initramfs-tools dracut dracut-plain
for tool; do
    case $tool in
    initramfs-tools) command -v mkinitramfs >/dev/null ;;
    *) command -v dracut >/dev/null ;;
    esac || skip "$tool is not installed"
    make "$tool" || {
        tail "$tool.log"
        exit 1
    }
    init=/sbin/init # a link of the root, which an injected file replaces while it is executed
    [ "$tool" != dracut ] || init=/usr/bin/true # systemd in an initrd executes its own path in place of /sbin/init
    for mode in ro rw; do
        printf '[profile.%s]\nkernel = "%s"\nmodules = "%s"\ninitrd = "%s"\nappend = "root=/dev/vda %s"\nboot_timeout = "180s"\n' \
            "$tool-$mode" "$guest/vmlinuz" "$guest/modules" "$work/$tool.img" "$mode init=$init" >>provium.toml
        cat >"t/$tool-$mode.lua" <<LUA
local profile, mode, init, image, big = "$tool-$mode", "$mode", "$init", "$image", "$work/big"
LUA
        cat >>"t/$tool-$mode.lua" <<'LUA'

-- It writes what it sees before systemd begins: the root is as the initrd has left it.
local first = [[#!/bin/sh
mount -t proc proc /proc 2>/dev/null
mount -t tmpfs seen /mnt
{ cat /etc/x; stat -c '%a %u %g' /etc/x; sha256sum </opt/big; grep ' / ' /proc/mounts | tail -n 1; } >/mnt/part && mv /mnt/part /mnt/seen
exec /lib/systemd/systemd "$@"
]]

test(profile, function()
    local vm <close> = provium.create(profile)
    vm:boot({memory = "768M", disks = {{path = image, snapshot = true}}, files = {
        ["/etc/x"] = {content = "injected\n", mode = "0640", uid = 7, gid = 8},
        ["/lib/deep/y"] = {content = "y"}, -- /lib is a link
        ["/opt/big"] = big,
        [init] = {content = first, mode = "0755"},
    }})
    assert_eq("y", vm:read_file("/usr/lib/deep/y"))
    vm:wait_until(function() return vm:exec("test -s /mnt/seen").ok end, {timeout = "60s", desc = "init"})
    local f <close> = io.popen("sha256sum <" .. big)
    local seen = vm:read_file("/mnt/seen")
    log(seen)
    assert_eq("injected\n640 7 8\n" .. f:read("l") .. "\n", seen:match("^.*%-\n"))
    assert_contains(seen, "/ ext4 " .. mode .. ",")
    vm:wait_until(function()
        return vm:exec("systemctl is-system-running").stdout.value:find("running") or vm:exec("systemctl is-system-running").stdout.value:find("degraded")
    end, {timeout = "120s", interval = "1s", desc = "systemd"})
    assert_contains(vm:read_file("/proc/1/status"), "TracerPid:\t0\n")
end)
LUA
    done
done
timeout -k 5 1000 "$PROVIUM" test -p 1 t >"$work/out" 2>&1
is "exit code" $? 0
cat "$work/out"
finish
