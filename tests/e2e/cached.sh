#!/bin/bash
# SPDX-License-Identifier: MIT
# Cached boots by hand and in tests: which boots are resumes, and each change that makes one a boot again.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
export XDG_CACHE_HOME=$work/cache
mkdir project && cd project || exit 1
cp "$guest/vmlinuz" "$guest/userland.cpio" .
echo one >injected
truncate -s 1M disk
cat >provium.toml <<EOF
[profile.default]
kernel = "vmlinuz"
initrd = "userland.cpio"
modules = "$guest/modules"
boot_timeout = "120s"
EOF

# boots HOW NAME [ARGUMENTS...]: `provium run` with the files above says on its standard error that the boot was HOW.
boots() {
    local how=$1 name=$2
    shift 2
    provium run --files injected=/etc/injected --disk disk "$@" -- 'cat /etc/injected; cmp /dev/vda /dev/zero 2>&1'
    if [ "$code" = 1 ] && grep -q "^provium: $how boot" "$work/err"; then ok "$name"; else
        not_ok "$name: expected a $how boot, code $code:"
        sed 's/^/    /' "$work/err"
    fi
    shows "$name: the file that was injected" "$(cat injected)"
}
boots cold 'the first boot'
warns 'the first boot: why' 'there was none'
boots cached 'the second boot'
boots cold '--cold' --cold
echo two >injected
boots cold 'an injected file changed'
warns 'an injected file changed: why' "injected' changed"
echo one >injected
boots cached 'as before'
printf '\0\0' | dd of=disk bs=1 seek=4096 conv=notrunc 2>/dev/null
touch disk injected
boots cached 'times of files count for nothing'
truncate -s 2M disk
boots cold 'a disk changed'
warns 'a disk changed: why' "disk' changed"
boots cold 'memory' -m 256M
cp "$guest/userland.cpio" new && head -c 512 /dev/zero >>new && mv new userland.cpio
boots cold 'the initrd changed'
warns 'the initrd changed: why' "userland.cpio' changed"
printf '#!/bin/sh\nexec %s "$@"\n' "$(command -v qemu-system-x86_64)" >qemu
chmod +x qemu
sed -i '$a qemu = "qemu"' provium.toml
boots cold 'another QEMU'
warns 'another QEMU: why' 'QEMU'
find "$XDG_CACHE_HOME/provium/fixtures" -name memory | while read -r file; do
    chmod u+w "$file" && printf X | dd of="$file" bs=1 seek=1048576 conv=notrunc 2>/dev/null
done
boots cold 'a damaged one'
warns 'a damaged one: why' 'is damaged'

provium run --quiet --disk disk true
exits '--quiet' 0
is '--quiet: no line' "$(cat "$work/err")" ''
provium run --disk disk,rw true
exits 'a disk that is written to' 0
warns 'a disk that is written to: why' 'the guest writes to its disk'
provium fixture list
shows 'the list of fixtures has them' 'boot of default'

echo 'cached = true' >>provium.toml
cat >a.test.lua <<'EOF'
local vm <close> = provium.create()
test(vm:boot({ append = "a.mark=1" }), function() assert_eq(vm:sh("uname -s"), "Linux") end)
local nvme <close> = provium.create()
assert_eq(nvme:boot({ disks = { { path = "disk", snapshot = true, bus = "nvme" } } }), "cold")
EOF
for how in cold cached; do
    provium test a.test.lua
    exits "cached = true of a profile, $how" 0
    shows "cached = true of a profile: it is $how" "$how"
    shows "cached = true of a profile: a boot that cannot be kept, $how" 'bus = "nvme"'
done
sed -i 's/^cached = true/cached = 1/' provium.toml
provium test a.test.lua
exits 'cached = 1' 2
warns 'cached = 1: what is expected' "key 'cached': is a number; expected true or false"
sed -i 's/^cached = 1/cache = true/' provium.toml
provium test a.test.lua
warns 'cache = true: the near key' "did you mean 'cached'?"
finish
