#!/bin/bash
# SPDX-License-Identifier: MIT
# Guest init and the agent in real QEMU (software emulation), on a Debian kernel with a busybox userland that this
# script makes; guest-check drives the agent from inside the guest, over vsock_loopback.
#
#     qemu-test.sh AGENT GUEST_CHECK     the kernel: vmlinuz and modules/ in $PROVIUM_GUEST_DIR,
#                                      else in `guest` of the build directory; exit 77 without
set -u -o pipefail
agent=$(realpath "$1") check=$(realpath "$2")
guest=${PROVIUM_GUEST_DIR:-$(dirname "$agent")/../guest}
guest_dir=$(realpath -m "$guest")
kernel=$(realpath -m "$guest/vmlinuz") modules=$(realpath -m "$guest/modules")
PATH=$PATH:/usr/sbin:/sbin
for file in "$agent" "$check"; do
    [ -x "$file" ] || { echo "'$file' was not built"; exit 1; }
done
for need in cpio qemu-system-x86_64 busybox mkfs.ext4 debugfs modprobe; do
    command -v $need >/dev/null || { echo "skipped: no $need"; exit 77; }
done
[ -r "$kernel" ] && [ -d "$modules" ] || { echo "skipped: no kernel in $guest"; exit 77; }
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failed=0

mods="virtio_pci vmw_vsock_virtio_transport vsock_loopback" # that every guest loads
version=$(cat "$guest_dir/VERSION")
mkdir -p root/lib/modules && ln -s "$modules" "root/lib/modules/$version"

# with_deps NAME...: paths of the modules that are not built in and of those that they need, in order, each once
with_deps() {
    local name
    for name; do
        modprobe -C /dev/null -d "$PWD/root" -S "$version" --show-depends "$name" || echo "no module $name" >&2
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

# unpack FILE: a module as the guest init loads it
unpack() {
    case $1 in
    *.xz) xz -dc "$1" ;;
    *.zst) zstd -qdc "$1" ;;
    *.gz) gzip -dc "$1" ;;
    *) cat "$1" ;;
    esac
}

# userland DIR: a busybox root, its /sbin/init from stdin
userland() {
    mkdir -p "$1"/{bin,sbin,usr/lib,etc,tmp}
    ln -s usr/lib "$1/lib"
    cp "$(command -v busybox)" "$1/bin/busybox"
    cp "$check" "$1/bin/guest-check"
    for a in sh ls cat mount mkdir grep reboot stat sleep tr cp chmod switch_root setsid; do
        ln -s busybox "$1/bin/$a"
    done
    cat >"$1/sbin/init"
    chmod 755 "$1/sbin/init"
}

archive() { (cd "$1" && find . -mindepth 1 | sort | cpio -o -H newc -R 0:0 --quiet); }

# suppl DIR MODULE...: makes the supplementary initramfs; more lines of boot.conf from stdin
suppl() {
    local to=$1 file m
    shift
    rm -rf "$to"
    mkdir -p "$to"/.provium/modules "$to"/.provium/files/{lib,etc,bin}
    cp "$agent" "$to/provium-wrapper"
    # shellcheck disable=SC2086 # names, one a word
    with_deps $mods "$@" | while read -r file; do
        m=$(basename "$file") m=${m%%.ko*}
        unpack "$file" >"$to/.provium/modules/$m.ko"
        case $m in overlay) continue ;; esac
        echo "module $m.ko"
    done >"$to/.provium/boot.conf"
    cat >>"$to/.provium/boot.conf"
    echo injected >"$to/.provium/files/lib/injected"
    echo hosts >"$to/.provium/files/etc/hosts"
    cp "$agent" "$to/.provium/files/bin/tool"
    chmod 4711 "$to/.provium/files/bin/tool"
}

# boot APPEND QEMU-ARGS...: boots initrd.cpio and prints the console
boot() {
    local append=$1
    shift
    timeout 90 qemu-system-x86_64 -M q35,usb=off,smbus=off,sata=off,hpet=off,vmport=off -accel tcg -m 256M \
        -nodefaults -no-user-config -display none -serial stdio -no-reboot -kernel "$kernel" -initrd initrd.cpio \
        -append "console=ttyS0 panic=-1 quiet rdinit=/provium-wrapper no_timer_check $append" "$@" </dev/null 2>&1 |
        tr -d '\r'
}

# expect NAME TEXT PATTERN...: TEXT must match every PATTERN, and none that begins with !
expect() {
    local name=$1 text=$2 bad=0 p
    shift 2
    for p; do
        case $p in
        !*) grep -qE -- "${p#!}" <<<"$text" && { echo "$name: has '${p#!}'"; bad=1; } ;;
        *) grep -qE -- "$p" <<<"$text" || { echo "$name: lacks '$p'"; bad=1; } ;;
        esac
    done
    if [ $bad = 1 ]; then
        failed=$((failed + 1))
        echo "$name: FAILED; the console:"
        tail -n 40 <<<"$text"
    else
        echo "$name: ok"
    fi
}

disk() { echo "-drive if=virtio,format=raw,readonly=on,file=$1"; }

# ---- an initramfs ----
userland r1 <<'I'
#!/bin/sh
echo "INIT $$ $* foo=$foo HOME=$HOME TERM=$TERM"
ls -1a / /dev
cat /lib/injected; stat -c '%n %a' /bin/tool; ls -l /lib
mkdir -p /proc; mount -t proc proc /proc && echo proc-fresh
mount -t devtmpfs dev /dev && echo dev-fresh
for p in /proc/[0-9]*; do
    grep -qs provium-agent $p/comm && echo "AGENT $(tr '\0' ' ' <$p/cmdline) $(cat $p/oom_score_adj)"
done
guest-check 'echo from $((6 * 7)); cat /proc/self/oom_score_adj' -vfs 'cat /proc/mounts' 'T:sleep 100 & setsid sleep 101 & wait' \
    'T:b() { b | b & }; exec 2>/dev/null; b; sleep 100' 'echo "$(cat /proc/[0-9]*/comm | grep -c sleep) sleep"' -off
I
suppl s1 </dev/null
(archive r1; archive s1) >initrd.cpio
expect initramfs "$(boot 'foo=bar word')" 'INIT 1 word foo=bar HOME=/ TERM=linux' '!provium-wrapper' '!\.provium' \
    '^injected' '/bin/tool 4711' 'lib -> usr/lib' '^null$' proc-fresh dev-fresh 'AGENT @provium-agent +-1000' \
    'from 42' '-vfs: type 0x82' 'securityfs /sys/kernel/security' 'wait\]: .* code 137 flags 1' \
    'b; sleep 100\]: .* code 137 flags 1' '^0 sleep' '-off: type 0x82' 'Power down'

# ---- workers: forks and threads, 64 at once; no /dev, no /proc, nothing mounted ----
userland r1b <<'I'
#!/bin/sh
rm -rf /dev
guest-check -dmesg -fork -lonely -thread
mount -t proc proc /proc || mkdir /proc && mount -t proc proc /proc
echo "zombies: $(grep -ls '^State:.Z' /proc/[0-9]*/status | wc -l)"
guest-check 'kill -TERM $(cat /proc/[0-9]*/stat | grep provium-agent | cut -d" " -f1); kill -INT $PPID; echo alive' -off
I
ln -s busybox r1b/bin/id
for a in rm wc cut; do ln -s busybox r1b/bin/$a; done
(archive r1b; archive s1) >initrd.cpio
expect workers "$(boot '')" 'dmesg: type 0x82, 1 lines, begins \[    0.000000\] Linux version' \
    'fork: 64 up, 64 uids, main 0, descriptor seen by 0' 'fork: 64 commands' \
    'fork-exit: connection ended' 'fork-exit: type 0x8a running 0 code 3 signal 0' \
    'fork-closed: type 0x8a running 0 code 0 signal 0' 'fork spawns: errno 1$' 'fork-alive: type 0x8a running 1' \
    'fork-crash: type 0x8a running 0 code 139 signal 11' 'lonely: ended after 9 to 20 s: 1' \
    'thread: 64 up, 64 uids, main 0, descriptor seen by 64' 'thread: 64 commands' \
    'thread-exit: connection ended' 'thread-exit: type 0x8a running 0 code 3 signal 0' \
    'thread-closed: type 0x8a running 0 code 0' 'thread-alive: type 0x8a running 1' \
    'thread-crash: main 0' 'thread-crash: type 0x8a running 0 code 139 signal 11' \
    'thread-other: type 0x8a running 0 code 139 signal 11' '^still usable' '^zombies: 0' '^alive' 'Power down'

# ---- an initramfs that switches to another root ----
userland r2 <<'I'
#!/bin/sh
>/init
mount -t tmpfs t /tmp && cp -a /bin /sbin /tmp && mkdir /tmp/second-root
echo '#!/bin/sh
guest-check "ls /"; reboot -f' >/tmp/sbin/init
exec switch_root /tmp /sbin/init
I
(archive r2; archive s1) >initrd.cpio
expect switch_root "$(boot '')" 'CHECK READY' '^second-root'

# ---- fatal failures ----
(archive r1; archive s1) >initrd.cpio
expect init-missing "$(boot provium.init=/sbin/none)" \
    "^provium: fatal: cannot run init '/sbin/none': No such file or directory" '!INIT' '!panic'
expect init-no-program "$(boot provium.init=/etc/hosts)" \
    "^provium: fatal: cannot run init '/etc/hosts': Permission denied \(not executable"
userland r3 <<<'#!/none/sh'
(archive r3; archive s1) >initrd.cpio
expect no-interpreter "$(boot '')" "fatal: cannot run init '/sbin/init': its interpreter '/none/sh': No such file"
suppl s2 <<<'initfallback /bin/last'
userland r4 <<<'#!/bin/sh'
mv r4/sbin/init r4/bin/last
echo 'echo LAST $$; reboot -f' >>r4/bin/last
(archive r4; archive s2) >initrd.cpio
expect fallback "$(boot '')" 'LAST 1'
suppl s3 <<<'wrong thing'
(archive r1; archive s3) >initrd.cpio
expect bad-conf "$(boot '')" "fatal: /.provium/boot.conf line [0-9]+: 'wrong' is no setting"
mods_all=$mods mods=''
suppl s4 <<<''
mods=$mods_all
(archive r1; archive s4) >initrd.cpio
expect no-vsock "$(boot '')" 'fatal: the agent cannot listen on vsock port 5123: Address family not supported'

# ---- a root file system ----
userland r5 <<'I'
#!/bin/sh
echo "INIT $$"
mount -t proc proc /proc; cat /proc/mounts; echo written >/written; cat /written /lib/injected /etc/hosts
stat -c '%n %a' / /bin/tool
guest-check 'ls /' -off
I
mkdir r5/{dev,proc,sys}
truncate -s 24M bare.img
mkfs.ext4 -q -L rootlabel -d r5 bare.img
debugfs -w -R 'set_inode_field / mode 040750' bare.img >/dev/null 2>&1
good=('INIT 1' '^overlay / overlay' '^devtmpfs /dev' '^written' '^injected' '^hosts' '^/ 750' '/bin/tool 4711'
    'CHECK exec \[ls /\]' 'Power down')
root() { # its setting, then the image
    printf 'fsmodule overlay overlay.ko\nrootfs vda\n%s\n' "$1" | suppl s5 virtio_blk overlay
    archive s5 >initrd.cpio
    boot '' $(disk "$2")
}
sum=$(cksum <bare.img)
expect bare "$(root '' bare.img)" "${good[@]}"
[ "$(cksum <bare.img)" = "$sum" ] || { echo "bare: the image was written to"; failed=$((failed + 1)); }

# A DOS partition table: 4 MiB of FAT's type with nothing in it, the root, another small one.
# shellcheck disable=SC2059 # the formats are bytes, written as escapes
le32() { printf "\\x$(printf %02x $(($1 & 255)))\\x$(printf %02x $(($1 >> 8 & 255)))\\x$(printf %02x $(($1 >> 16 & 255)))\\x$(printf %02x $(($1 >> 24)))"; }
# shellcheck disable=SC2059
part() { printf "\\0\\0\\0\\0\\x$1\\0\\0\\0"; le32 "$2"; le32 "$3"; }
truncate -s 32M part.img
{ part 0c 2048 8192; part 83 10240 49152; part 83 59392 2048; } | dd of=part.img bs=1 seek=446 conv=notrunc status=none
printf '\x55\xaa' | dd of=part.img bs=1 seek=510 conv=notrunc status=none
dd if=bare.img of=part.img bs=512 seek=10240 conv=notrunc status=none
expect partitioned "$(root '' part.img)" "${good[@]}"
expect by-label "$(root 'root LABEL=rootlabel' part.img)" "${good[@]}"
expect by-name "$(root 'root /dev/vda2' part.img)" "${good[@]}"
expect wrong-label "$(root 'root LABEL=other' part.img)" \
    "fatal: root 'LABEL=other' is not on /dev/vda \(vda: nothing known, vda2: ext4 LABEL=rootlabel"
expect wrong-part "$(root 'root /dev/vda1' part.img)" "fatal: root '/dev/vda1': no known file system"
cp bare.img unclean.img
debugfs -w -R 'feature needs_recovery' unclean.img >/dev/null 2>&1
expect unclean "$(root '' unclean.img)" "${good[@]}" 'not unmounted cleanly; mounted with noload'
truncate -s 4M empty.img
expect empty "$(root '' empty.img)" 'fatal: root file system: none on /dev/vda'
expect no-disk "$(boot '')" 'fatal: root file system: no block device /dev/vda after 3 s'

exit $((failed > 0))
