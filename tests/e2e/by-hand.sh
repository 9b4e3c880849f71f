#!/bin/bash
# SPDX-License-Identifier: MIT
# `provium run` and `provium shell`: with pipes, on a terminal (script(1) makes it), and what ends it.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
command -v script >/dev/null || skip "there is no script(1): apt install bsdutils"

# piped INPUT ARGUMENTS...: provium with INPUT as its standard input.
piped() {
    printf '%s' "$1" | timeout -k 5 120 "$PROVIUM" "${@:2}" >"$work/out" 2>"$work/err"
    code=$?
}

piped 'uname -s; echo to stderr >&2; tty; exit 7' shell
exits 'piped: the exit code of the shell' 7
is 'piped: what the commands printed, and no byte more' "$(cat "$work/out")" $'Linux\nnot a tty'
is 'piped: stderr is apart' "$(cat "$work/err")" 'to stderr'
piped 'kill -9 $$' shell
exits 'piped: killed by a signal' 137
head -c 3000000 /dev/zero >big
timeout 120 "$PROVIUM" shell >got <<<'head -c 3000000 /dev/zero'
is 'piped: all of a long output' "$(cksum <got)" "$(cksum <big)"
timeout 120 "$PROVIUM" shell <<<'yes' 2>"$work/err" | head -n 1 >got
is 'piped: a reader that goes away ends it' "$(cat got)" y
piped 'echo c >/proc/sysrq-trigger; sleep 60' shell
exits 'a panic' 1
warns 'a panic: the end of the console' 'sysrq triggered crash'
provium shell defalt
exits 'an unknown profile' 2
warns 'an unknown profile: the near one' "did you mean 'default'?"
provium shell a b
exits 'two profiles' 2
provium shell --fixture x --mem 1G
exits 'a fixture with --mem' 2
warns 'a fixture with --mem: why' '--fixture x excludes --mem'

echo content >host-file
piped data run --files host-file=/tmp/in --disk size=64M -- 'cat; cat /tmp/in /sys/block/vda/size; echo bad >&2; exit 9'
exits 'run: the exit code' 9
is 'run: its input, a file, a disk' "$(cat "$work/out")" "datacontent
131072"
is 'run: stderr is apart' "$(grep -v '^provium: .* boot, ' "$work/err")" bad
piped '' run no-such-program
exits 'run: no such program' 127
# shellcheck disable=SC2016
piped '' run -- 'kill -15 $$'
exits 'run: killed by SIGTERM' 143
mkdir -p tree/arch/x86/boot
cp "$guest/vmlinuz" tree/arch/x86/boot/bzImage
cp -r "$guest/modules/kernel" "$guest"/modules/modules.{order,builtin} tree
echo CONFIG_64BIT=y >tree/.config
provium run --kernel tree true
exits 'run: a kernel that cannot boot here' 2
warns 'run: a kernel that cannot boot here: what it lacks' CONFIG_VIRTIO_PCI
rm tree/.config
piped '' run --kernel tree uname -s
exits 'run: a build tree' 0
shows 'run: a build tree: its output' Linux
provium run --kernel 0.0.1 true
exits 'run: an unknown version' 2
warns 'run: an unknown version: the known ones' '/boot has'

# A version that Debian has: the real apt-get, with a repository of one package.
version=$(cat "$guest/VERSION")
package=$(echo "$guest/download/linux-image-${version}_"*.deb)
mkdir -p repo apt/lists/partial apt/cache/archives/partial
{
    dpkg-deb -f "$package"
    echo "Filename: ./${package##*/}"
    echo "Size: $(stat -c %s "$package")"
    echo "SHA256: $(sha256sum <"$package" | cut -d ' ' -f 1)"
} >repo/Packages
ln "$package" repo 2>/dev/null || cp "$package" repo
echo "deb [trusted=yes] file:$work/repo ./" >apt/sources
cat >apt/conf <<CONF
Dir::State::Lists "$work/apt/lists";
Dir::Cache "$work/apt/cache";
Dir::Etc::SourceList "$work/apt/sources";
Dir::Etc::SourceParts "/dev/null";
CONF

APT_CONFIG=$work/apt/conf apt-get -q -o APT::Sandbox::User=root update >apt/log 2>&1 || cat apt/log
APT_CONFIG=$work/apt/conf piped '' run --kernel "$version" uname -r
exits 'run: a version of Debian' 0
shows 'run: a version of Debian: it runs' "$version"
warns 'run: a version of Debian: it says so' "getting linux-image-$version"
rm -r repo apt
piped '' run --kernel "$version" true
exits 'run: a version of Debian, again' 0
is 'run: it was kept' "$(grep -c getting "$work/err")" 0
is 'run: nothing else is left' "$(ls "$XDG_CACHE_HOME/provium/packages" | tr '\n' ' ')" "linux-image-$version lock "
provium run --kernel 6.0.99-no-such-amd64 true
exits 'run: no version of Debian' 2
warns 'run: no version of Debian: why' 'apt-get cannot get linux-image-6.0.99-no-such-amd64: E: '
mkdir -p bin
printf '#!/bin/sh\nexec sleep 60\n' >bin/apt-get
chmod +x bin/apt-get
PATH=$work/bin:$PATH timeout -s TERM --foreground 2 "$PROVIUM" run --kernel 6.0.99-no-such-amd64 true >out 2>err
is 'run: SIGTERM ends a download' $? 124
is 'run: a download that ended leaves nothing' "$(ls "$XDG_CACHE_HOME/provium/packages" | tr '\n' ' ')" "linux-image-$version lock "
for i in 0 1 2 3 4 5 6 7; do
    mkdir "$XDG_CACHE_HOME/provium/packages/old$i"
    touch -d "2020-01-0$((i + 1))" "$XDG_CACHE_HOME/provium/packages/old$i"
done
provium run --kernel "$version" true
is 'run: eight packages are kept' "$(ls "$XDG_CACHE_HOME/provium/packages" | tr '\n' ' ')" "linux-image-$version lock old1 old2 old3 old4 old5 old6 old7 "

provium run --wait-system true
exits 'run: --wait-system without systemd' 2
warns 'run: --wait-system without systemd: why' 'wait_system needs systemd'
provium shell --fixture base --wait-system
warns 'shell: --wait-system of a fixture' 'excludes --wait-system'
provium run --disk no-such-file true
exits 'run: a missing disk' 2
provium run --memm 1G true
warns 'run: an unknown option' "did you mean '--mem'?"

mkdir fixtures
echo 'local vm = provium.create("default"); vm:boot(); vm:write_file("/tmp/made", "by the script")' >fixtures/base.lua
piped 'cat /tmp/made; hostname' shell --fixture base
exits 'a fixture' 0
shows 'a fixture: its state' 'by the script'
piped '' shell --fixture bas
exits 'an unknown fixture' 2
warns 'an unknown fixture: the near one' 'base'

# On a terminal. await TEXT: waits until the screen has shown it.
mkfifo keys
await() {
    for _ in $(seq 600); do
        grep -qaF -- "$1" screen && return
        sleep 0.2
    done
    not_ok "the terminal never showed '$1':"
    sed 's/^/    /' screen
    finish
}
: >screen
script -qfec "stty rows 33 cols 101; '$PROVIUM' shell; echo \"code=\$?\"; stty -a" screen <keys >/dev/null 2>&1 &
exec 5>keys
await 'Ctrl-] three times'
await '# '
# A command that says so once it has the terminal.
foreground() { echo "sh -c 'echo has-\$((40 + $1)); exec sleep 1000'"; }
echo "stty size; echo \$((6 * 7))th; tty; $(foreground 1)" >&5
await '33 101'
await 42th
await /dev/pts/
await has-41
printf '\003' >&5
echo "echo st=\$((100 + 30)); $(foreground 2)" >&5
await st=130
await has-42
printf '\032' >&5
await Stopped
ok 'a terminal: its size, Ctrl-C and Ctrl-Z reach the guest'
printf '\035\035\035' >&5
await code=137
await ' echo '
ok 'a terminal: Ctrl-] three times ends it, and the settings are back'
exec 5>&-
wait
if pgrep -f -- "$work" >/dev/null 2>&1; then not_ok 'a process is left'; else ok 'no process is left'; fi
is 'no file is left' "$(ls "$TMPDIR")" ''
finish
