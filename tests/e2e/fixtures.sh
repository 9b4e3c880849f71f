#!/bin/bash
# SPDX-License-Identifier: MIT
# Fixtures and their cache: changes that do and do not cause a rebuild, one build for many files, killed builders,
# failing scripts, damaged entries, a full disk. The cache and the project are the test's own.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
p=$work/project
mkdir -p "$XDG_CACHE_HOME" "$p/t/fixtures" "$p/tree" "$p/bin" "$p/lib"
cd "$p" || exit 1
cp "$guest/userland.cpio" initrd.cpio
qemu=$(command -v qemu-system-x86_64)
printf '#!/bin/sh\nexec %s "$@"\n' "$qemu" >bin/qemu-system-x86_64
chmod +x bin/qemu-system-x86_64
export PATH=$p/bin:$PATH

profile() {
    printf '[profile.p]\nkernel = "%s"\nmodules = "%s"\ninitrd = "initrd.cpio"\nappend = "%s"\nenv = { A = "%s" }\n' \
        "$guest/vmlinuz" "$guest/modules" "${1:-}" "${2:-1}" >provium.toml
}
profile
# Each build appends a line to `built`; appending does not make the file an input.
cat >t/fixtures/base.lua <<'LUA'
io.open("built", "a"):write("base\n"):close()
pcall(require, "lib.extra")
dofile("lib/dofile.lua")
assert(loadfile("lib/loadfile.lua"))()
require("lib.required")
for line in io.lines("lib/lines.txt") do assert(line) end
local text = assert(io.open("lib/open.txt")):read("a")
local env = os.getenv("PV_E2E_INPUT")
provium.depends("lib/depends.txt")
local vm = provium.create("p")
vm:boot({ memory = "128M", files = { ["/etc/tree"] = "tree" },
    disks = { { path = "top.qcow2", format = "qcow2", backing = true }, { path = "raw.img", readonly = true } } })
vm:push("lib/push.txt", "/etc/pushed")
vm:write_file("/etc/seen", text .. tostring(env))
LUA
cat >t/fixtures/top.lua <<'LUA'
io.open("built", "a"):write("top\n"):close()
local vm = provium.fixture("base")
vm:write_file("/etc/top", "top")
return vm
LUA
for f in dofile loadfile required; do echo "return 1" >lib/$f.lua; done
for f in lines open depends push; do echo "$f" >lib/$f.txt; done
echo one >tree/one
ln -s one tree/link
# A chain of three images, and a disk of its own.
head -c 64K /dev/urandom >base.img
qemu-img create -q -f qcow2 -b base.img -F raw middle.qcow2
qemu-img create -q -f qcow2 -b middle.qcow2 -F qcow2 top.qcow2
truncate -s 64K raw.img
cat >t/asks.lua <<'LUA'
local vm = provium.fixture("base")
test("it is the fixture", function() assert(vm:exec("test -e /etc/seen -a -e /etc/pushed -a -e /etc/tree/one").ok) end)
LUA

# run ARGUMENTS...: runs provium test; exit code in $code, output in out.
run() {
    timeout 120 "$PROVIUM" "$@" >out 2>&1
    code=$?
}

# builds NAME WANT: the number of builds since the last check.
builds() {
    run test t/asks.lua
    is "$1: passes" "$code" 0
    [ "$code" = 0 ] || sed 's/^/    /' out
    is "$1: builds" "$(wc -l 2>/dev/null <built || echo 0)" "$2"
    : >built
}

# stale NAME: `provium fixture stale` lists the entry; fits NAME: it does not.
stale() {
    run fixture stale base
    if [ "$code" = 0 ] && ! grep -q "nothing would be rebuilt" out; then ok "stale: $1"; else
        not_ok "stale: $1: $(cat out)"
    fi
}
fits() {
    run fixture stale base
    if grep -q "nothing would be rebuilt" out; then ok "fits: $1"; else not_ok "fits: $1: $(cat out)"; fi
}

: >built
builds "the first" 1
builds "nothing changed" 0
find . -path ./t/asks.lua -o -type f -exec touch {} +
touch initrd.cpio bin/qemu-system-x86_64
fits "touched"

# change NAME FILE: changes the content, which makes the entry stale, and restores it.
change() {
    cp -p "$2" "$work/saved"
    printf '%s' "${3--- changed}" >>"$2"
    stale "$1"
    cp "$work/saved" "$2"
    fits "$1, changed back"
}
change script t/fixtures/base.lua
change dofile lib/dofile.lua
change loadfile lib/loadfile.lua
change require lib/required.lua
change io.lines lib/lines.txt
change io.open lib/open.txt
change depends lib/depends.txt
change push lib/push.txt
change "injected tree" tree/one
change initrd initrd.cpio
change QEMU bin/qemu-system-x86_64 "# changed"
change "a raw disk" raw.img
change "a qcow2 disk" top.qcow2
change "the image below a qcow2 disk" middle.qcow2
change "the image at the end of the chain" base.img

# The guest's command line has the rate of the host's TSC, which another host or a measurement far off changes.
accel=$XDG_CACHE_HOME/provium/accel
cp -p "$accel" "$work/saved"
sed -i 's/^tsc .*/tsc 1234567/' "$accel"
stale "another rate of the TSC"
contains "the rate is named" out "tsc: 1234567 kHz"
khz=$(sed -n 's/^tsc //p' "$work/saved")
sed -e "s/^tsc .*/tsc $((khz + khz / 50000))/" -e 's/^boot ......../boot 00000000/' "$work/saved" >"$accel"
cp "$accel" "$work/other-boot"
"$PROVIUM" doctor >/dev/null 2>&1
run test t/asks.lua
is "a rate that is a little off is kept after a reboot of the host" "$(sed -n 's/^tsc //p' "$accel")" "$((khz + khz / 50000))"
: >built
cp -p "$work/saved" "$accel"
fits "the rate of before"

echo x >tree/two
stale "a file more in a tree"
rm tree/two
chmod 700 tree/one
stale "a mode in a tree"
chmod 644 tree/one
ln -sfn two tree/link
stale "a link's target in a tree"
ln -sfn one tree/link
cp bin/qemu-system-x86_64 bin/other
PROVIUM_QEMU=$p/bin/other stale "another QEMU, of the same content"
cp "$PROVIUM" other-provium
printf x >>other-provium
PROVIUM=$p/other-provium fits "the program with other bytes and the same agent"
rm other-provium
echo 'return 1' >lib/extra.lua
stale "a module that was not there"
rm lib/extra.lua
PV_E2E_INPUT=2 stale "the environment"
profile "quiet"
stale "append"
profile "" 2
stale "the profile's env"
profile
echo 'machine = "q35,accel=tcg,vmport=off"' >>provium.toml
stale "machine"
profile
echo 'cpu = "Nehalem"' >>provium.toml
stale "CPU model"
profile
echo 'qemu_args = ["-no-user-config"]' >>provium.toml
stale "QEMU's arguments"
profile
sed "s,$guest/vmlinuz,kernel," provium.toml >x && cp "$guest/vmlinuz" kernel && mv x provium.toml
stale "another kernel"
profile
rm kernel
fits "all as before"

# A root image.
mkdir root
(cd root && cpio -id --quiet <"$guest/userland.cpio" 2>/dev/null)
mke2fs -q -t ext2 -d root root.img 64M 2>/dev/null
printf '[profile.r]\nkernel = "%s"\nmodules = "%s"\nrootfs = "root.img"\n' "$guest/vmlinuz" "$guest/modules" >>provium.toml
echo 'provium.create("r"):boot()' >t/fixtures/rooted.lua
echo 'test("x", function() provium.fixture("rooted") end)' >t/rooted.lua
run test t/rooted.lua
is "a root image: passes" "$code" 0
run fixture stale rooted
contains "a root image: fits" out "nothing would be rebuilt"
printf x >>root.img
run fixture stale rooted
contains "a root image: stale, with its name" out "root.img"
rm -r root root.img t/rooted.lua t/fixtures/rooted.lua
profile

echo "-- changed" >>t/fixtures/base.lua
builds "changed" 1
sed -i '$d' t/fixtures/base.lua
builds "the entry of before is still there" 0

# A fixture made from a stale fixture is stale too.
echo 'test("x", function() assert(provium.fixture("top"):exec("test -e /etc/top -a -e /etc/seen").ok) end)' >t/nested.lua
run test t/nested.lua
is "nested: passes" "$code" 0
is "nested: only the upper one is built" "$(cat built)" top
: >built
echo "changed" >>lib/open.txt
run test t/nested.lua
is "nested: passes after a change below" "$code" 0
is "nested: both are built" "$(sort built | tr '\n' ' ')" "base top "
: >built

# Eight files at once, one build.
"$PROVIUM" fixture clean --all >/dev/null
mkdir many
mkdir many/fixtures
cp t/fixtures/base.lua many/fixtures/
for i in 1 2 3 4 5 6 7 8; do cp t/asks.lua many/$i.lua; done
run test -p 8 many
is "eight files: pass" "$code" 0
is "eight files: one build" "$(wc -l <built)" 1
: >built

# A failed build fails every file that waited for it; a later request builds again.
cat >many/fixtures/broken.lua <<'LUA'
io.open("built", "a"):write("broken\n"):close()
local vm = provium.create("p")
vm:boot({ memory = "128M" })
provium.sleep(1)
error("broken on purpose")
LUA
for i in 1 2 3 4 5 6 7 8; do echo 'provium.fixture("broken")' >many/broken$i.lua; done
run test -p 8 -f broken many
is "eight files, a build that fails: exit code" "$code" 1
is "eight files, a build that fails: one build" "$(wc -l <built)" 1
is "eight files, a build that fails: all are told" "$(grep -c "broken.lua:5: broken on purpose" out)" 8
run test many/broken1.lua
is "a build that failed: who asks later has it built" "$(wc -l <built)" 2
rm many/broken*.lua
: >built

# Two runs at once share the build.
"$PROVIUM" fixture clean --all >/dev/null
for i in 1 2; do
    timeout 120 "$PROVIUM" test many/$i.lua >out.$i 2>&1 &
    pids[i]=$!
done
for i in 1 2; do
    wait "${pids[i]}"
    is "two runs: run $i passes" $? 0
done
is "two runs: one build" "$(wc -l <built)" 1
: >built

# After a builder is killed, another process builds.
"$PROVIUM" fixture clean --all >/dev/null
cp t/fixtures/base.lua "$work/base.lua"
sed -i 's/^io.open("built".*/&\nos.execute("[ -e killed ] || { touch killed; kill -9 $PPID; }")/' many/fixtures/base.lua
run test -p 2 many/1.lua many/2.lua
is "killed builder: the files pass" "$code" 0
contains "killed builder: it is told" out "ended too early (killed by SIGKILL)"
is "killed builder: two builds" "$(wc -l <built)" 2
: >built

# After the file that builds is killed, the other file builds.
"$PROVIUM" fixture clean --all >/dev/null
rm killed
sed -i 's/kill -9 $PPID; }/sleep 1; kill -9 $(ps -o ppid= -p $PPID); }/' many/fixtures/base.lua
run test -p 2 many/1.lua many/2.lua
is "killed file: one of two passes" "$(grep -c '\.\.\. ok (1 test' out)" 1
is "killed file: two builds" "$(wc -l <built)" 2
: >built

# A damaged entry is detected before a test uses it.
"$PROVIUM" fixture clean --all >/dev/null
builds "a fresh cache" 1
for f in memory state manifest.json; do
    file=$(echo "$XDG_CACHE_HOME"/provium/fixtures/entries/*/$f)
    size=$(stat -c %s "$file")
    chmod u+w "$file"
    at=$(grep -obUaP -m 1 '[^\0]{64}' "$file" | head -n 1 | cut -d: -f1)
    printf '\377' | dd of="$file" bs=1 seek=$((at + 7)) conv=notrunc status=none
    builds "damaged $f of $size bytes" 1
    contains "damaged $f: it is told" out "damaged"
done

# Failing scripts.
fails() {
    printf '%s\n' "$2" >t/fixtures/bad.lua
    echo 'provium.fixture("bad")' >t/bad.lua
    run test --timeout 60 t/bad.lua
    is "bad script, $1: exit code" "$code" 1
    contains "bad script, $1" out "$3"
}
fails "Lua error" 'error("boom")' "fixture 'bad' failed: t/fixtures/bad.lua:1: boom"
fails "syntax" 'x = = 1' "fixture 'bad' failed: t/fixtures/bad.lua:1: unexpected symbol"
fails "os.exit" 'os.exit(0)' "fixture 'bad' failed: ended by os.exit(0)"
fails "no VM" 'provium.create("p")' "the script ended without a running VM"
fails "two VMs" 'local a, b = provium.create("p"), provium.create("p") a:boot{memory="96M"} b:boot{memory="96M"}' \
    "the script ended with 2 VMs running (vm1, vm2)"
fails "a test" 'test("x", function() end)' "test(\"x\") does not belong into a fixture"
fails "itself" 'provium.fixture("bad")' "a fixture can not be made from itself: bad needs bad"
fails "a crash" 'local vm = provium.create("p") vm:boot() vm:mount_vfs() vm:exec("echo c >/proc/sysrq-trigger")' "panicked"
contains "bad script, a crash: the console" out "--- console of vm1 of fixture bad"
fails "a vsock" 'provium.create("p"):boot{transport = "vsock"}' 'transport = "serial"'
fails "an input that changes" 'local f = assert(io.open("lib/open.txt")) io.open("lib/open.txt", "a"):write("x"):close()
provium.create("p"):boot()' "each time that it was built"
echo 'while true do end' >t/fixtures/bad.lua
echo 'provium.fixture("bad", {timeout = "500ms"})' >t/bad.lua
run test t/bad.lua
contains "bad script, for ever" out "fixture 'bad' was not there within 0.5 s: it was still being built"
echo 'skip("not here")' >t/fixtures/bad.lua
echo 'test("x", function() provium.fixture("bad") end)' >t/bad.lua
run test t/bad.lua
contains "a script that skips" out "x ... skip: not here"
rm t/bad.lua t/fixtures/bad.lua

# A full disk gives a clear error and no entry; with room again, the build succeeds.
full=$work/full
mkdir "$full"
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=40M full "$full" 2>"$work/mount-error"; then
    trap 'umount "$full" 2>/dev/null; rm -rf "$work"' EXIT
    XDG_CACHE_HOME=$full run test t/asks.lua
    is "full disk: exit code" "$code" 1
    contains "full disk: it is told" out "No space left on device ("
    contains "full disk: where, and what to do" out "still to be written): free some, remove fixtures with"
    is "full disk: nothing is left of the build" \
        "$(find "$full"/provium/fixtures/{entries,tmp,trash} -mindepth 1 | wc -l)" 0
    mount -o remount,size=1G "$full"
    XDG_CACHE_HOME=$full run test t/asks.lua
    is "full disk: with room it is built" "$code" 0
    umount "$full"
else
    echo "skip: full disk: a small tmpfs cannot be mounted$([ "$(id -u)" = 0 ] || echo ': not root')"
fi

# Neither failed builds nor anything else leave files.
is "no temporary directory is left in the cache" "$(find "$XDG_CACHE_HOME"/provium/fixtures -name 'tmp*' -mindepth 2 | wc -l)" 0
logs_at_most "fixtures"
finish
