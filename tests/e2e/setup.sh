#!/bin/bash
# SPDX-License-Identifier: MIT
# `provium setup`: an installed program makes its own default guest, and says what is missing where it cannot.  The packages
# come from build/guest/download, so that nothing asks the network.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
[ -n "$(ls "$guest"/download/*.deb 2>/dev/null)" ] || skip "build/guest/download has no packages"
[ -s "$repo/build/scripts/provium.1" ] || skip "build/ has not been built"
unset PROVIUM_GUEST_DIR
export HOME=$work

# ---- installed, without a guest ----
make -s -C "$repo" -o build install DESTDIR="$work/dest" PREFIX=/usr >log 2>&1
code=$?
is "make install" $code 0
[ $code = 0 ] || { cat log; finish; }
rm -r "$work/dest/usr/share/provium"
PROVIUM=$work/dest/usr/bin/provium
echo 'local vm = provium.create() vm:boot() test("it runs", function() assert_eq("ok", vm:sh("echo ok"):trim()) end)' >t/a.lua
provium run true
is "run without a guest" "$code" 2
warns "run names the command" 'the default guest is not set up: run `provium setup`'
provium test t
contains "a test names it, too" out 'run `provium setup`'
provium doctor
contains "so does doctor" out '-> provium setup'
provium setup --check
is "--check without a guest" "$code" 1
is "--check made nothing" "$(ls -A "$XDG_DATA_HOME" 2>/dev/null)" ""

# ---- what is missing is told ----
mkdir bin empty
for program in bash sed sha256sum cut cat uname mkdir dirname mktemp rm flock find sort tail cpio depmod; do
    ln -s "$(PATH=$PATH:/usr/sbin:/sbin command -v $program)" bin/
done
# without NAME PROGRAM TEXT: setup where PROGRAM is not there says TEXT.  The script adds the system's sbin, so depmod stays.
without() {
    mkdir -p other && rm -f other/* && cp -P bin/* other/ && rm -f "other/$2"
    env PATH="$work/other" "$PROVIUM" setup >out 2>&1
    is "$1: exit code" $? 1
    contains "$1" out "$3"
}
without "no cpio" cpio "missing: cpio; as root: apt-get install cpio"
without "no dpkg" dpkg-deb "there is no dpkg-deb"
ln -s "$(command -v dpkg-deb)" bin/
without "no apt" apt-get "there is no apt-get here"
# An apt that reaches nothing.
printf '#!/bin/sh\necho "E: Temporary failure resolving" >&2; exit 100\n' >bin/apt-get
printf '#!/bin/sh\nexit 0\n' >bin/apt-cache
chmod +x bin/apt-get bin/apt-cache
ln -s "$(command -v head)" "$(command -v grep)" bin/
without "no network" none "is there a network"
contains "no network: apt's word" out "Temporary failure resolving"
contains "no network: the way without" out "provium setup --packages DIRECTORY"
is "nothing of a failed one is left" "$(find "$XDG_DATA_HOME" -name '*.tmp.*')" ""
provium setup --packages empty
is "no packages: exit code" "$code" 1
warns "no packages" "has no linux-image-[0-9]*.deb"
provium setup --packages nowhere
warns "no directory" "there is no such directory"
provium setup --packges x
warns "a wrong option" "did you mean"
: >file
XDG_DATA_HOME=$work/file provium setup --packages "$guest/download"
warns "a place that cannot be written" "set XDG_DATA_HOME to a directory that you can write"

# ---- it makes one ----
timeout -k 5 240 "$PROVIUM" setup --packages "$guest/download" >out 2>&1
is "setup" $? 0
contains "it says where" out "building the default guest in $XDG_DATA_HOME/provium/guest"
contains "and which" out "default guest: Linux $(cat "$guest/VERSION")"
is "the same bytes as those of make setup" "$(sha256sum <"$XDG_DATA_HOME/provium/guest/userland.cpio")" "$(sha256sum <"$guest/userland.cpio")"
provium setup
is "once more: exit code" "$code" 0
shows "once more: it stays" "the default guest is there: $XDG_DATA_HOME/provium/guest"
provium setup --check
is "--check with a guest" "$code" 0

# ---- a kernel in several packages, as Debian has it since Linux 7 ----
release=$(cat "$guest/VERSION")
split() { # split PART: the Debian package of the files in split/PART, which needs the others if it is the image's
    mkdir -p "split/$1/DEBIAN" parts
    printf 'Package: linux-%s-%s\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n' "$1" "$release" >"split/$1/DEBIAN/control"
    [ "$1" != image ] || printf 'Depends: linux-base-%s, linux-binary-%s (= 1) | x, linux-modules-%s (= 1)\n' "$release" "$release" "$release" >>"split/$1/DEBIAN/control"
    dpkg-deb -Znone --root-owner-group -b "split/$1" "parts/linux-$1-${release}_1_all.deb" >/dev/null
}
tree=usr/lib/modules/$release
mkdir -p split/{base,binary,modules}/$tree
cp -r "$guest/modules/." split/modules/$tree
mv split/modules/$tree/modules.{builtin,builtin.modinfo,order} split/base/$tree
cp "$guest/vmlinuz" split/binary/$tree/vmlinuz
mkdir parts
cp "$guest"/download/busybox-static_*.deb parts
for part in image base binary; do split $part; done
XDG_DATA_HOME=$work/several provium setup --packages parts
warns "several packages: the one that is missing" "has no linux-modules-$release"
split modules
XDG_DATA_HOME=$work/several timeout -k 5 240 "$PROVIUM" setup --packages parts >out 2>&1
is "several packages: setup" $? 0
is "several packages: the same kernel" "$(sha256sum <"$work/several/provium/guest/vmlinuz")" "$(sha256sum <"$guest/vmlinuz")"
is "several packages: its modules" "$(grep -c . "$work/several/provium/guest/modules/modules.dep")" "$(grep -c . "$guest/modules/modules.dep")"

provium test t
exits "a test with it" 0
shows "it passed" "OK: 1 passed, 0 failed"
nothing_left "at the end"
finish
