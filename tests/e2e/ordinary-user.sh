#!/bin/bash
# SPDX-License-Identifier: MIT
# An ordinary user without capabilities, /dev/kvm and /dev/vhost-vsock, as in most CI containers.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest

[ "$(id -u)" = 0 ] || skip "needs root to become another user"
# Copies: the other user may lack permission to read the checkout.
cp "$PROVIUM" "$work/provium"
mkdir "$work/guest"
cp -a "$guest/vmlinuz" "$guest/userland.cpio" "$guest/modules" "$work/guest/"
sed 's/provium.create("minimal")/provium.create()/' "$repo/examples/01-first.lua" >"$work/t/01-first.lua"
chmod -R a+rX "$work"
mkdir "$work/home"
chown -R 65534:65534 "$work/home" "$work/tmp"
cat >"$work/run" <<EOF
grep CapEff /proc/self/status
test ! -e /dev/kvm && test ! -e /dev/vhost-vsock || exit 9
cd "$work" && ./provium doctor && ./provium test t/01-first.lua || exit
./provium run --rootfs / echo by a virtiofsd
echo "run: \$?"
EOF
as_nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs
    env HOME="$work/home" XDG_CACHE_HOME= bash "$work/run")
if [ ! -e /dev/kvm ] && [ ! -e /dev/vhost-vsock ]; then
    "${as_nobody[@]}" >"$work/out" 2>&1
elif unshare --mount true 2>/dev/null; then
    # A mount namespace whose /dev has only the devices that every container has.
    unshare --mount bash -c '
        set -e
        work=$1
        shift
        mkdir "$work/dev"
        mount -t tmpfs none "$work/dev"
        for n in null zero full random urandom tty; do
            touch "$work/dev/$n"
            mount --bind "/dev/$n" "$work/dev/$n"
        done
        ln -s /proc/self/fd "$work/dev/fd"
        mkdir "$work/dev/shm"
        mount -t tmpfs none "$work/dev/shm"
        mount --move "$work/dev" /dev
        exec "$@"' bash "$work" "${as_nobody[@]}" >"$work/out" 2>&1
else
    skip "cannot hide /dev/kvm: unshare --mount is not permitted here"
fi
is "exit code" $? 0
contains "no capabilities" "$work/out" "CapEff:	0000000000000000"
contains "our own vsock device" "$work/out" "vhost-user-vsock"
contains "says why not KVM" "$work/out" "/dev/kvm"
contains "passes" "$work/out" "1 passed, 0 failed"
# The one of C, which Debian 12 has, needs root, and for a user with more groups than one also to tell what it is.
if grep -q 'directories .*virtiofs, by' "$work/out"; then
    contains "the host's root by virtiofs" "$work/out" "cannot be seen); by virtiofs"
    contains "its command" "$work/out" "by a virtiofsd"
    contains "its exit code" "$work/out" "run: 0"
else
    contains "no virtiofsd for this user: why" "$work/out" "$(
        [ -e /usr/lib/qemu/virtiofsd ] && echo 'needs root' || echo 'not by virtiofs: there is no virtiofsd')"
    contains "no virtiofsd for this user: the exit code" "$work/out" "run: 2"
fi
[ $status = 0 ] || cat "$work/out"
finish
