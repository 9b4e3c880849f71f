#!/bin/bash
# SPDX-License-Identifier: MIT
# An initrd whose init switches to another root: injected files are there, whole, before anything runs from it, and boot
# returns when it is the root; or the VM ends, and the error names the file and why.
#
#     tests/e2e/switch-root.sh --full    other initrds too, one of which boot has to wait for in vain
#
# tests/long/initrds.sh does the same with the initrds of distributions.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest

# A busybox initrd. `how=` of the kernel's command line says what it does. The new root is a tmpfs.
mkdir -p r/bin r/new r/proc r/etc
cp "$(command -v busybox)" r/bin/busybox
for name in sh cat chroot cp grep insmod ln ls mkdir mount sed sleep sort stat switch_root touch tr; do
    ln -s busybox "r/bin/$name"
done
unpack() {
    case $1 in
    *.xz) xz -dc "$1" ;;
    *.zst) zstd -qdc "$1" ;;
    *) cat "$1" ;;
    esac
}
squashfs=$(find "$guest/modules" -name 'squashfs.ko*' | head -n 1)
unpack "$squashfs" >r/squashfs.ko || exit 1
cat >r/etc/new-init <<'I'
#!/bin/sh
mount -t proc proc /proc
echo "INIT sees $(cat /etc/x): $(stat -c '%a %u %g' /etc/x), root $(sed -n 's/^new \/ tmpfs \(r.\).*/\1/p' /proc/mounts)"
exec /bin/wait
I
cat >r/init <<'I'
#!/bin/sh
mount -t proc proc /proc
how=$(tr ' ' '\n' </proc/cmdline | sed -n 's/^how=//p')
echo "INITRD sees $(cat /etc/x) and is traced: $(grep -c 'TracerPid:.[1-9]' /proc/1/status)"
[ "$how" != stay ] || exec sleep 1000
if [ "$how" = squashfs ]; then
    insmod /squashfs.ko
    /bin/busybox mknod /vda b "$(sed -n 's/^ *\([0-9]*\) .* vda$/\1/p' /proc/partitions)" 0
    mount -t squashfs /vda /new
    exec switch_root /new /bin/sh
fi
mount -t tmpfs -o size=8m new /new
mkdir -p /new/bin /new/sbin /new/etc /new/usr/lib /new/proc /new/dev
ln -s usr/lib /new/lib
cp -a /bin/* /new/bin/
cat >/new/bin/wait <<'W'
#!/bin/sh
while :; do sleep 1000; done
W
cp /etc/new-init /new/sbin/init
/bin/busybox chmod 755 /new/sbin/init /new/bin/wait
[ "$how" = blocked ] && touch /new/opt
[ "$how" = rw ] || mount -o remount,ro /new
[ "$how" = early ] && sleep 1
[ "$how" = chroot ] && exec chroot /new /sbin/init
exec switch_root /new /sbin/init
I
chmod 755 r/init
archive() { (cd "$1" && find . -mindepth 1 | sort | cpio -o -H newc -R 0:0 --quiet); }
archive r >plain.cpio
touch r/etc/initrd-release
archive r >release.cpio
profile() {
    printf '[profile.%s]\nkernel = "%s"\nmodules = "%s"\ninitrd = "%s"\n' "$1" "$guest/vmlinuz" "$guest/modules" "$2"
    shift 2
    printf '%s\n' "$@"
}
{
    profile plain plain.cpio
    profile told plain.cpio 'switch_root = true' 'transport = "serial"'
    profile untold plain.cpio 'switch_root = false'
    profile release release.cpio
} >provium.toml
head -c 9M /dev/urandom >big
cp "$(command -v busybox)" other-busybox
printf 'Z' >>other-busybox
mksquashfs r root.squashfs -quiet -no-progress >/dev/null || skip "no mksquashfs"

cat >t/common.luainc <<LUA
work = "$work/"
LUA
cat >>t/common.luainc <<'LUA'
local files = {["/etc/x"] = {content = "injected", mode = "0640", uid = 7, gid = 8}, ["/lib/deep/y"] = {content = "y"}}

function boot(profile, how, opts)
    local vm = provium.create(profile)
    opts = opts or {}
    opts.append, opts.files, opts.memory = "how=" .. how, opts.files or files, "256M"
    local ok, why = pcall(vm.boot, vm, opts)
    return vm, ok, why
end

-- The line that the new root's init has printed; READY may have come before it.
function init_line(vm)
    return vm:wait_until(function() return vm:console():log():match("INIT sees [^\r\n]*") end, {timeout = "30s"})
end

function expect_switched(profile, how)
    local vm <close> = boot(profile, how)
    assert_eq("y", vm:exec("cat /usr/lib/deep/y").stdout.value) -- through the new root's link
    assert_eq("640 7 8", vm:exec("stat -c '%a %u %g' /etc/x").stdout.trim())
    assert_eq("INIT sees injected: 640 7 8, root " .. (how == "rw" and "rw" or "ro"), init_line(vm))
    assert_eq("0\n", vm:exec("grep -c 'TracerPid:.[1-9]' /proc/1/status").stdout.value)
    assert_contains(vm:console():log(), "INITRD sees injected and is traced: 1")
end

function expect_failure(profile, how, opts, text)
    local vm <close>, ok, why = boot(profile, how, opts)
    assert(not ok, "boot said ok")
    assert_contains(why, text)
end
LUA
cat t/common.luainc - >t/a.lua <<'LUA'

test("boot ends in the new root, with the files", function() expect_switched("release", "ro") end)

test("an initrd that does not say that it switches: boot does not wait, and the files are in both roots", function()
    local vm <close> = boot("plain", "early")
    assert_eq("injected", vm:exec("cat /etc/x").stdout.value)
    assert_eq("INIT sees injected: 640 7 8, root ro", init_line(vm))
    assert_eq("y", vm:exec("cat /usr/lib/deep/y").stdout.value)
end)

test("an injected init and an injected program run in place of the root's", function()
    local script = {content = "#!/bin/busybox sh\necho \"INIT sees its own: $0 $*\"\nexec /bin/wait\n", mode = "0755"}
    local vm <close> = boot("told", "rw",
        {files = {["/sbin/init"] = script, ["/bin/busybox"] = {path = work .. "other-busybox", mode = "0755"}}})
    assert_eq("INIT sees its own: /sbin/init ", init_line(vm))
    vm:mount_vfs()
    assert_eq("Z", vm:read_file("/proc/1/exe"):sub(-1))
end)
LUA
cat t/common.luainc - >t/b.lua <<'LUA'

test("a file that does not fit ends the VM, with the reason", function()
    expect_failure("told", "ro", {files = {["/opt/big"] = work .. "big"}},
        "provium: fatal: cannot inject '/opt/big' into the root that the initrd switched to: No space left on device")
end)

test("a root that takes no writes does so too", function()
    expect_failure("told", "squashfs", {disks = {{path = work .. "root.squashfs", readonly = true}}},
        "cannot inject '/etc/x' into the root that the initrd switched to: it is read-only and cannot be made writable")
end)
LUA
[ "${1-}" != --full ] || cat t/common.luainc - >t/full.lua <<'LUA'

test("a writable root", function() expect_switched("told", "rw") end)
test("a root that chroot changes to", function() expect_switched("release", "chroot") end)

test("an initrd that stays is let be", function()
    local vm <close> = boot("plain", "stay")
    assert_eq("injected", vm:exec("cat /etc/x").stdout.value)
    local vm2 <close> = boot("untold", "stay")
    vm2:wait_until(function() return vm2:console():log():find("is traced: 0") end, {timeout = "30s"})
end)

test("one that should have switched: the error says what boot waited for", function()
    expect_failure("told", "stay", {timeout = "40s"},
        "provium: boot waits for the initrd to switch to its root file system")
end)

test("a file in the place of a directory ends the VM, with the reason", function()
    expect_failure("told", "blocked", {files = {["/opt/x"] = {content = "x"}}},
        "cannot inject directory '/opt' into the root that the initrd switched to: a file of this name is there")
end)

test("a root that takes no writes serves without injected files", function()
    local vm <close> = boot("told", "squashfs", {files = {}, disks = {{path = work .. "root.squashfs", readonly = true}}})
    assert_contains(vm:exec("cat /init").stdout, "squashfs")
end)
LUA
rm t/common.luainc
timeout -k 5 500 "$PROVIUM" test -p 1 t >"$work/out" 2>&1
is "exit code" $? 0
[ "$status" = 0 ] || cat "$work/out"
finish
