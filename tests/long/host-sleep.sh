#!/bin/bash
# SPDX-License-Identifier: MIT
# The host of a run sleeps in the middle of it: suspended to RAM (S3) for SECONDS, and hibernated to a disk and switched
# off, after which its clock is HOURS later. The run goes on, and nothing of it may fail, time out or be left behind.
#
# The host is an emulated machine (QEMU here, started by this script): Debian's generic kernel of tests/make-generic-kernel,
# which can hibernate, a root of this machine's QEMU, provium and the default guest, and a disk with a swap area. VMs in
# it run under KVM, by the emulated SVM of an EPYC, or with --accel tcg emulated twice, which is slower. A case is a
# `provium test` or `provium run`; when it is in the middle of what its name says, its host is put to sleep.
#
# Not part of `make check`: half an hour; 3 GB of memory and 3 GB of disk; needs no root. From the project's root:
#
#     tests/long/host-sleep.sh [--accel kvm|tcg] [--how mem|disk] [CASE...]
#
# Settings: SECONDS_ASLEEP=65, HOURS_ASLEEP=5, CASE_LIMIT=600 (seconds until the sleep, and after it), KEEP=DIR (for the
# consoles of the hosts).
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
PATH=$PATH:/usr/sbin:/sbin
asleep=${SECONDS_ASLEEP:-65} hours=${HOURS_ASLEEP:-5} limit=${CASE_LIMIT:-600}
accel=kvm hows="mem disk"
all="boot exec wait fixture snapshot pool paused resume run"
while [ $# -gt 0 ]; do
    case $1 in
    --accel) accel=$2; shift ;;
    --how) hows=$2; shift ;;
    -*) echo "usage: tests/long/host-sleep.sh [--accel kvm|tcg] [--how mem|disk] [CASE...]" >&2; exit 2 ;;
    *) break ;;
    esac
    shift
done
# Emulated twice, a resumed VM replies too late to have its clock set to within 100 ms.
[ "$accel" != tcg ] || all="boot exec wait pool paused run"
cases=${*:-$all}
qemu=${PROVIUM_QEMU:-$(command -v qemu-system-x86_64)} || skip "no qemu-system-x86_64"
deb=$(ls "$repo"/build/generic-kernel/linux-image-*.deb 2>/dev/null | head -n 1)
[ -n "$deb" ] || skip "no build/generic-kernel: tests/make-generic-kernel"
for p in cpio mke2fs mkswap depmod dpkg-deb ldd; do command -v "$p" >/dev/null || skip "no $p"; done
[ "$accel" = tcg ] || "$qemu" -accel tcg -M none -cpu help 2>/dev/null | grep -q '^x86 EPYC' || skip "$qemu emulates no EPYC"

# ---- the host: a kernel, an initrd, a root, a swap area ----

dpkg-deb -x "$deb" deb || exit 1
version=$(basename deb/boot/vmlinuz-* | sed 's/^vmlinuz-//')
grep -qx CONFIG_HIBERNATION=y "deb/boot/config-$version" && grep -qx CONFIG_SUSPEND=y "deb/boot/config-$version" ||
    skip "Linux $version of $deb can not sleep"
depmod -b deb "$version"
modules=deb/lib/modules/$version

# with_needs NAME...: the files of these modules, each behind those that it needs.
with_needs() {
    local m line
    for m; do
        line=$(grep "/$m\.ko:" "$modules/modules.dep" | head -n 1)
        [ -z "$line" ] || tr ' ' '\n' <<<"${line/:/}" | sed '/^$/d' | tac
    done | awk '!seen[$0]++'
}

# put_modules DIR NAME...: copies of them, and their order.
put_modules() {
    local dir=$1 f
    shift
    mkdir -p "$dir"
    for f in $(with_needs "$@"); do
        cp "$modules/$f" "$dir/" && basename "$f" >>"$dir/order" || return 1
    done
}

# put FILE...: FILE and the shared libraries that it needs, at their places in the root.
put() {
    local f l
    for f; do
        mkdir -p "root${f%/*}"
        [ -e "root$f" ] || cp -L "$f" "root$f" || return 1
        for l in $(ldd "$f" 2>/dev/null | grep -o '/[^ )]*'); do
            [ -e "root$l" ] || { mkdir -p "root${l%/*}" && cp -L "$l" "root$l"; } || return 1
        done
    done
}

make_initrd() {
    mkdir -p initrd/bin initrd/modules && cp busybox initrd/bin/ || return 1
    put_modules initrd/modules virtio_pci virtio_blk crc32c_generic ext4 || return 1
    cat >initrd/init <<'SH'
#!/bin/busybox sh
/bin/busybox mkdir -p /bin /proc /sys /dev /root
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
while read -r m; do insmod "/modules/$m"; done </modules/order
i=0
while [ ! -b /dev/vdb ] && [ $i -lt 50 ]; do usleep 100000; i=$((i + 1)); done
# Where there is an image, the machine goes on in it, and this never returns.
cat /sys/block/vdb/dev >/sys/power/resume
mount -t ext4 /dev/vda /root
umount /proc /sys /dev
exec switch_root /root /host/init
SH
    chmod 755 initrd/init
    (cd initrd && find . | cpio -o -H newc --quiet -R 0:0) | gzip -1 >initrd.gz
}

make_root() {
    local f firmware
    mkdir -p root/usr/{bin,sbin,lib,lib64} root/{proc,sys,dev,tmp,root,etc,run,var/tmp,host} "root$guest"
    for f in bin sbin lib lib64; do ln -s "usr/$f" "root/$f"; done
    cp busybox root/host/
    ./busybox --list | while read -r f; do ln -s /host/busybox "root/usr/bin/$f"; done
    put "$(readlink -f "$qemu")" "$PROVIUM" || return 1
    # QEMU's emulation is a module of it in Debian.
    mapfile -t firmware < <(find /usr/lib/*/qemu -name 'accel-tcg-x86_64.so' 2>/dev/null; find /usr/share/qemu /usr/share/seabios /usr/share/qboot -maxdepth 1 \( -name 'bios*' -o \
        -name 'linuxboot*' -o -name 'kvmvapic*' -o -name 'pvh.bin' -o -name 'efi-virtio*' -o -name 'vgabios-stdvga*' \) 2>/dev/null)
    put "${firmware[@]}" || return 1
    cp -r "$guest"/{vmlinuz,userland.cpio,modules,VERSION} "root$guest/" || return 1
    put_modules root/host/modules kvm-amd vhost_vsock tun || return 1
    cp -r "$here/host-sleep" root/host/project && cat >root/host/project/provium.toml <<TOML || return 1
[profile.default]
kernel = "$guest/vmlinuz"
modules = "$guest/modules"
initrd = "$guest/userland.cpio"
boot_timeout = "300s"
append = "pci=lastbus=0"
TOML
    mv root/host/project/init root/host/init
    echo "PROVIUM='$PROVIUM' PROVIUM_QEMU='$qemu' ACCEL=$accel" >root/host/settings
    echo 'root:x:0:0:root:/root:/bin/sh' >root/etc/passwd
    mke2fs -q -t ext4 -d root root.ext4 "$(($(du -sm root | cut -f1) + 1000))M" >mke2fs.log 2>&1
}

(cd "$work" && cpio -idm --quiet bin/busybox <"$guest/userland.cpio" && mv bin/busybox busybox && rmdir bin) || exit 1
make_initrd && make_root || { cat mke2fs.log; exit 1; }
truncate -s 3G swap && mkswap -q swap >/dev/null 2>&1 || exit 1
rm -rf root initrd

# ---- one life of the host ----

pid=""
host_off() {
    [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null
    [ -z "$pid" ] || wait "$pid" 2>/dev/null
    pid=""
}
trap 'host_off; [ -z "${KEEP-}" ] || { mkdir -p "$KEEP" && cp ./*.log* "$KEEP"; }; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
mkfifo monitor.in
exec 7<>monitor.in

# host_on LOG TIME WORDS: its QEMU, whose clock begins at TIME; the console goes to LOG.
host_on() {
    # QEMU emulates no XSAVE for a guest of KVM that is consistent.
    "$qemu" -accel tcg,thread=multi -machine pc -cpu EPYC,+svm,-xsave -smp 2 -m 3G -nodefaults -no-user-config -display none \
        -global PIIX4_PM.disable_s3=0 -global PIIX4_PM.disable_s4=0 -rtc "base=$2" \
        -kernel "deb/boot/vmlinuz-$version" -initrd initrd.gz \
        -append "console=ttyS0 panic=-1 mitigations=off hibernate=nocompress no_console_suspend $3" \
        -drive file=root.ext4,format=raw,if=none,id=a,cache=unsafe -device virtio-blk-pci,drive=a \
        -drive file=swap,format=raw,if=none,id=b,cache=unsafe -device virtio-blk-pci,drive=b \
        -serial "file:$1" -monitor stdio -no-reboot <&7 >monitor.out 2>qemu.err &
    pid=$!
}
host_runs() { kill -0 "$pid" 2>/dev/null; }
host_ended() { ! host_runs; }
says() { grep -qas "$1" "$log"; }
suspended() { echo "info status" >&7; sleep 0.2; tail -n 3 monitor.out | grep -q 'suspended'; }
awake_or_ended() { says "^host: awake" || says "^host: end" || host_ended; }
asks() { says "^host: sleeps" || says "^host: end" || host_ended; }
passed=0 failed=0
not_passed() {
    not_ok "$@"
    failed=$((failed + 1))
    sed 's/^/    /' "$log" "$log.2" 2>/dev/null | tail -n 60
}

# try CASE HOW
try() {
    local case=$1 how=$2 begin=$SECONDS code
    log=$work/$case-$how.log
    rm -f "$log" "$log.2"
    : >monitor.out
    cp --sparse=always root.ext4.orig root.ext4 && mkswap -q swap >/dev/null 2>&1
    host_on "$log" "$(date -u +%Y-%m-%dT%H:%M:%S)" "case=$case how=$how"
    wait_for "$limit" asks
    if ! says "^host: sleeps"; then
        host_off
        not_passed "$case, $how: the host does not get to its sleep"
        return
    fi
    if [ "$how" = mem ]; then
        if ! wait_for 60 suspended; then
            host_off
            not_passed "$case, $how: the host does not sleep"
            return
        fi
        sleep "$asleep"
        echo system_wakeup >&7
    else
        if ! wait_for 120 host_ended; then
            host_off
            not_passed "$case, $how: the host does not go off"
            return
        fi
        host_off
        cp "$log" "$log.1"
        sleep 2
        host_on "$log.2" "$(date -u -d "+$hours hours" +%Y-%m-%dT%H:%M:%S)" "case=none how=none"
        log=$log.2
    fi
    wait_for "$limit" host_ended || not_passed "$case, $how: the case did not end"
    host_off
    code=$(sed -n 's/^host: code \([0-9]*\).*/\1/p' "$log" | tail -n 1)
    if [ "$code" = 0 ] && says "^host: awake" && says "^host: left nothing"; then
        ok "$case, $how: $(sed -n 's/^host: awake *//p' "$log" | tr -d '\r'); $((SECONDS - begin)) s"
        passed=$((passed + 1))
    else
        not_passed "$case, $how: code ${code:-none}"
    fi
    sed -n "s,^ *log: note: ,    ,p" "$log" | tr -d "\r"
}

mv root.ext4 root.ext4.orig
for how in $hows; do
    for c in $cases; do
        try "$c" "$how"
    done
done
echo "host-sleep: $accel: $passed cases passed, $failed failed, in $SECONDS s"
[ "$passed" -gt 0 ] || status=1
finish
