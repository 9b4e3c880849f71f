#!/bin/bash
# SPDX-License-Identifier: MIT
# `provium run --rootfs` with a directory and with `host`: what the guest reads, where its writes go with and without
# `--rw`, the working directory, and refusals before the boot. By 9p the guest is Debian's generic kernel of
# tests/make-generic-kernel, because the default guest's has no 9p; by virtiofs it is the default guest's.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
export PROVIUM_GUEST_DIR=$guest

# ---- refusals ----

provium run --rw true
exits '--rw alone' 2
warns '--rw alone: what it needs' '--rw needs --rootfs with a directory or `host`'
truncate -s 1M image
provium run --rootfs image --rw true
exits '--rw with an image' 2
warns '--rw with an image: the other option' '--disk FILE,rw'
provium run --rootfs no-such true
exits 'no such root' 2
warns 'no such root: the words' "--rootfs 'no-such': there is no such image and no such directory"
echo 'no root' >text
truncate -s 1G blank
for root in "text: is a text file; expected the image" "blank: is all zero bytes as far as"; do
    provium run --rootfs "${root%%:*}" true
    exits "a root that is no image, ${root%%:*}" 2
    warns "a root that is no image, ${root%%:*}: what it is" "--rootfs '$work/${root%%:*}': ${root#*: }"
done
(cd / && timeout 60 "$PROVIUM" run --rootfs host --rw true >"$work/out" 2>"$work/err")
code=$?
exits '--rw in /' 2
warns '--rw in /: the remedy' 'change to the directory that the command may write to'
provium run --share 9p true
exits '--share alone' 2
warns '--share alone: what it needs' '--share needs --rootfs with a directory or `host`'
provium run --rootfs host --share nfs true
exits '--share of something else' 2
warns '--share of something else: what there is' "--share is virtiofs or 9p, not 'nfs'"
provium run --rootfs host --share 9p true
exits 'a kernel without 9p' 2
warns 'a kernel without 9p: the driver' 'has no driver 9pnet_virtio'
warns 'a kernel without 9p: the remedy' 'linux-image-amd64 has it: apt download linux-image-'
PROVIUM_VIRTIOFSD=/bin/false provium run --rootfs host true
exits 'neither virtiofsd nor 9p' 2
warns 'neither: why not by virtiofs' "not by virtiofs: '/bin/false -h' tells of no virtiofsd that is known"
warns 'neither: the remedy' 'linux-image-amd64 has it: apt download linux-image-'
PROVIUM_VIRTIOFSD=/no/such provium run --rootfs host true
exits 'a virtiofsd that is not there' 2
warns 'a virtiofsd that is not there: the variable' "PROVIUM_VIRTIOFSD names '/no/such'"
PROVIUM_VIRTIOFSD=/ provium run --rootfs host true
exits 'a virtiofsd that is a directory' 2
warns 'a virtiofsd that is a directory: the variable' "PROVIUM_VIRTIOFSD names '/'"
PROVIUM_VIRTIOFSD='' provium doctor
cp out want
(unset PROVIUM_VIRTIOFSD && timeout 60 "$PROVIUM" doctor >"$work/out")
is 'an empty PROVIUM_VIRTIOFSD is none' "$(grep directories out)" "$(grep directories want)"
# What a daemon without a view of its own may do; it reads its own directory and the one above.
mkdir -p bin/fake shared
echo 'provium: a secret' >secret
cat >bin/fake/virtiofsd <<EOF
#!/bin/sh
[ "\$1" = -h ] && { echo '--shared-dir --readonly'; exit; }
cat $work/secret $work/shared/file >&2
echo new >$work/shared/file
exit 3
EOF
chmod +x bin/fake/virtiofsd
echo 'provium: shared' >shared/file
PROVIUM_VIRTIOFSD=$PWD/bin/fake/virtiofsd provium run --rootfs shared --share virtiofs true
exits 'a daemon that fails' 2
warns 'a daemon that fails: its words' "does not serve '$work/shared':"
if "$PROVIUM" doctor | grep -q 'opens only the files of its VM (Landlock'; then
    warns 'a daemon without a view of its own reads what is shared' 'provium: shared'
    is 'a daemon without a view of its own: the rest' "$(cat shared/file; grep -c 'a secret' err)" 'provium: shared
0'
fi
kernel_tree tree
provium run --rootfs host --kernel tree true
exits 'a configuration without 9p' 2
warns 'a configuration without 9p: the option' CONFIG_9P_FS

# ---- VMs, by virtiofs ----

# fs_run ARGUMENTS...: provium run of the default guest, with the host's directories by virtiofs.
fs_run() {
    timeout -k 5 120 "$PROVIUM" run --share virtiofs "$@" >"$work/out" 2>"$work/err" </dev/null
    code=$?
}
mkdir "a, b"
cd "a, b" || exit 1
if ! "$PROVIUM" doctor | grep -q 'directories .*virtiofs, by'; then
    echo "ok - # SKIP $("$PROVIUM" doctor | grep directories)"
else
    echo old >file
    echo 'provium: the host' >"$work/outside"
    # A guest that mounts the share once more, with writes, meets what the host lets it do.
    # shellcheck disable=SC2016 # the guest's shell
    fs_run --rootfs host -- 'pwd; cat file ../outside; echo new >file; mkdir /tmp/again
        mount -t virtiofs share0 /tmp/again; mount -o remount,rw /tmp/again
        while read -r _ at type opts _; do [ "$at" = / ] || [ "$at" = /tmp/again ] && echo "$at $type ${opts%%,*}"; done </proc/mounts
        cd "/tmp/again$PWD" && cat file
        (echo x >file) 2>&1 | grep -c Read-only; rm file ../outside; chmod 777 file; ls -A /tmp/again/proc /tmp/again/run; exit 5'
    exits 'virtiofs: the exit code' 5
    is 'virtiofs: what it reads and writes' "$(cat "$work/out")" "$work/a, b
old
provium: the host
/ overlay rw
/tmp/again virtiofs rw
old
1
/tmp/again/proc:

/tmp/again/run:"
    warns 'virtiofs: the line says so' 'cannot be seen); by virtiofs'
    is 'virtiofs: the host has not changed' "$(cat file "$work/outside" && stat -c %a file && ls)" 'old
provium: the host
644
file'
    fs_run --rootfs host --rw -- 'echo new >file; mkdir -p made/deep; ln -s x made/link; mv file moved; rm -r ../outside
        echo x >../beside; chmod 600 moved; head -c 3000000 /dev/zero >made/big; mknod made/null c 1 3; umount "$PWD"; ls'
    exits 'virtiofs, --rw: the exit code' 0
    is 'virtiofs, --rw: below it is the read-only tree' "$(cat "$work/out")" 'made
moved'
    is 'virtiofs, --rw: the working directory is written' "$(cat moved && readlink made/link && stat -c %a moved && ls made && stat -c %s made/big)" 'new
x
600
big
deep
link
3000000'
    is 'virtiofs, --rw: the rest is not' "$(cat "$work/outside" && ls "$work/beside" 2>&1 | grep -c 'No such')" 'provium: the host
1'
    rm -r made moved
    # The end of the daemon is the end of the VM, and is told as what it is.
    timeout -k 5 120 "$PROVIUM" run --rootfs host --share virtiofs 'echo up; sleep 100' >"$work/out" 2>"$work/err" </dev/null &
    run=$!
    wait_for 60 grep -q up "$work/out"
    kill -9 "$(pgrep -P "$(pgrep -P $run provium)" virtiofsd)"
    wait $run
    code=$?
    exits 'virtiofs: its daemon is killed' 1
    warns 'virtiofs: its daemon is killed: it is told' "gives the guest the host's directory '/', ended: killed by SIGKILL"
fi
rm -f file "$work/outside"

# ---- VMs, by 9p ----

cd "$work" || exit 1

kernel=$(find "$repo/build/generic-kernel" -name 'linux-image-*.deb' 2>/dev/null | sort | tail -n 1)
if [ -z "$kernel" ]; then
    echo "ok - # SKIP no generic kernel: tests/make-generic-kernel"
    finish
fi
cat >provium.toml <<EOF
[profile.default]
kernel = "$guest/vmlinuz"
boot_timeout = "240s"
EOF
# root_run ARGUMENTS...: provium run with that kernel.
root_run() {
    PROVIUM_VIRTIOFSD=/bin/false timeout -k 5 300 "$PROVIUM" run -m 1G --kernel "$kernel" "$@" >"$work/out" 2>"$work/err" </dev/null
    code=$?
}
cd "a, b" || exit 1
echo old >file
echo 'provium: the host' >"$work/outside"
# shellcheck disable=SC2016 # the guest's shell
root_run --rootfs host -- 'pwd; cat file ../outside; echo new >file; rm ../outside; mkdir made; cat file; id -u
    : >/etc/provium-made && ls /etc/provium-made; cmp /bin/sh /proc/$$/exe && echo same; ls -d /proc/1 /sys/kernel /run; exit 5'
exits 'host: the exit code' 5
is 'host: what it reads and writes' "$(cat "$work/out")" "$work/a, b
old
provium: the host
new
0
/etc/provium-made
same
/proc/1
/run
/sys/kernel"
warns 'host: why it is not cached' 'not cached: its root is a directory of the host'
warns 'host: why it is by 9p' "by 9p: '/bin/false -h' tells of no virtiofsd that is known"
is 'host: the host has not changed' "$(cat file "$work/outside" && ls)" 'old
provium: the host
file'
if [ -e /etc/provium-made ]; then not_ok 'host: a file in /etc of the host'; else ok 'host: no file in /etc'; fi

root_run --rootfs host --rw -- 'echo new >file; mkdir -p made/deep; ln -s x made/link; mv file moved; rm -r ../outside
    echo x >../beside; chmod 600 moved; head -c 3000000 /dev/zero >made/big'
exits 'host, --rw: the exit code' 0
is 'host, --rw: the working directory is written' "$(cat moved && readlink made/link && stat -c %a moved && ls -d made/deep && stat -c %s made/big)" 'new
x
600
made/deep
3000000'
is 'host, --rw: the rest is not' "$(cat "$work/outside" && ls "$work/beside" 2>&1 | grep -c 'No such')" 'provium: the host
1'

cd "$work" || exit 1
dpkg-deb -x "$guest"/download/busybox-static_*.deb root
[ -e root/bin/busybox ] || { mkdir -p root/bin && mv root/usr/bin/busybox root/bin; }
ln -s busybox root/bin/sh
before=$(find root | sort)
root_run --rootfs root -- 'busybox pwd; echo x >/made; busybox cat /made; busybox ls /bin'
exits 'a directory: the exit code' 0
is 'a directory: it is the root' "$(cat out)" '/
x
busybox
sh'
is 'a directory: it has not changed' "$(find root | sort)" "$before"
root_run --rootfs root --rw -- 'echo x >/made; busybox rm /bin/busybox'
exits 'a directory, --rw: the exit code' 0
is 'a directory, --rw: it is written' "$(cat root/made; ls root/bin)" 'x
sh'
if pgrep -f -- "$work" >/dev/null 2>&1; then not_ok 'a process is left'; else ok 'no process is left'; fi
is 'no file is left' "$(ls "$TMPDIR")" ''
finish
