# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# The library of shell tests (tests/self, tests/e2e): . "$(dirname "$0")/../lib/shell.sh"
#
# Gives a test its own working directory, $work, as the current one, with an empty project file, an empty folder t for
# test files, its own TMPDIR and its own cache; and checks, each of which prints one line that begins with "ok" or
# "not ok". NAME is the title of a check. A test ends with `finish`.
#
#   $PROVIUM  the program under test         $here  the directory of the test
#   $repo     the top of the repository      $guest the default guest
set -u
# shellcheck disable=SC2034 # for the test
here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
guest=$repo/build/guest
: "${PROVIUM:=$repo/build/provium}"
work=$(mktemp -d "${TMPDIR:-/tmp}/provium-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/tmp" "$work/t"
export TMPDIR=$work/tmp XDG_CACHE_HOME=$work/cache XDG_DATA_HOME=$work/data
# A mark on every process that the test starts, directly or not.
export PROVIUM_TEST_MARK=$work
cd "$work" || exit 1
# The upward search for a project ends here.
: >provium.toml
status=0

ok() { echo "ok - $*"; }
not_ok() {
    echo "not ok - $*"
    status=1
}
finish() { exit $status; }

# skip REASON: ends the test as skipped.
skip() {
    echo "$*"
    exit 77
}
needs_guest() { [ -s "$guest/vmlinuz" ] || skip "there is no default guest: make setup"; }

# is NAME GOT WANT
is() { if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1: expected '$3', got '$2'"; fi; }

# contains NAME FILE TEXT
contains() {
    if grep -qF -- "$3" "$2"; then
        ok "$1"
    else
        not_ok "$1: '$3' is not in $2:"
        sed 's/^/    /' "$2"
    fi
}

# provium ARGUMENTS...: runs it with a limit of 60 s; output in out and err, exit code in $code. Test files run one
# after the other unless -p is among the arguments, so that the output has an order.
provium() {
    [ "${1-}" != test ] || set -- test -p 1 "${@:2}"
    timeout -k 5 60 "$PROVIUM" "$@" >"$work/out" 2>"$work/err"
    code=$?
}

# exits NAME WANT: the exit code of the last provium.
exits() {
    if [ "$code" = "$2" ]; then
        ok "$1: exit code $2"
    else
        not_ok "$1: exit code $code, expected $2"
        cat "$work/out" "$work/err" 2>/dev/null | sed 's/^/    /'
    fi
}

# shows NAME TEXT: TEXT is in the output of the last provium; warns NAME TEXT: on its standard error.
shows() { contains "$1" "$work/out" "$2"; }
warns() { contains "$1" "$work/err" "$2"; }

# same NAME: the output of the last provium equals standard input, but for times and the path of the program.
same() {
    cat >"$work/want"
    sed -E -e 's/[0-9]+\.[0-9]s\)/T)/' -e "s|^    rerun: $PROVIUM |    rerun: provium |" "$work/out" >"$work/got"
    if diff -u "$work/want" "$work/got" >"$work/diff"; then
        ok "$1"
    else
        not_ok "$1: the output differs:"
        sed 's/^/    /' "$work/diff"
    fi
}

# wait_for SECONDS COMMAND...: polls until COMMAND succeeds.
wait_for() {
    local end=$(($(date +%s%N) + $1 * 1000000000))
    shift
    until "$@"; do
        [ "$(date +%s%N)" -lt "$end" ] || return 1
        sleep 0.05
    done
}

# Prints the pids of processes with the mark: provium, QEMU, and commands of test files (`sleep 7NN`). A zombie has no
# environment and does not count.
left_running() {
    local p
    for p in $(grep -lzxF "PROVIUM_TEST_MARK=$work" /proc/[0-9]*/environ); do
        p=${p#/proc/} p=${p%/environ}
        case $(readlink "/proc/$p/exe") in
        "$PROVIUM" | */provium | */qemu-system-*) echo "$p" ;;
        *) case $(tr '\0' ' ' <"/proc/$p/cmdline") in sleep\ 7[0-9][0-9]*) echo "$p" ;; esac ;;
        esac
    done
} 2>/dev/null

# qemus: the pids of this test's QEMUs.
qemus() {
    local p
    for p in $(left_running); do
        case $(readlink "/proc/$p/exe") in */qemu-system-*) echo "$p" ;; esac
    done
}

nothing_runs() { [ -z "$(left_running)" ]; }
nothing_is_there() { nothing_runs && [ -z "$(ls -A "$TMPDIR")" ]; }

# kernel_tree DIR: a kernel's build tree: the default guest's bzImage, and a configuration with what every guest needs only.
kernel_tree() {
    local option
    mkdir -p "$1/arch/x86/boot"
    cp "$guest/vmlinuz" "$1/arch/x86/boot/bzImage"
    for option in 64BIT BLK_DEV_INITRD BINFMT_ELF PROC_FS PCI VIRTIO_PCI SERIAL_8250_CONSOLE VIRTIO_CONSOLE; do
        echo "CONFIG_$option=y" >>"$1/.config"
    done
    touch -r "$guest/vmlinuz" "$1/.config" "$1/arch/x86/boot/bzImage"
}

# nothing_left NAME: within 2 s there is no process, file or socket of a run any more.
nothing_left() {
    if wait_for 2 nothing_is_there; then
        ok "$1: nothing is left"
    else
        not_ok "$1: left over: processes '$(left_running | tr '\n' ' ')', files '$(find "$TMPDIR" -mindepth 1 | tr '\n' ' ')'"
    fi
}

# logs_at_most NAME: within 2 s no process of a run is left, and no file but the kept logs and frames of failed files, which
# this check removes.
logs_at_most() {
    local more
    wait_for 2 nothing_runs || not_ok "$1: processes left: $(left_running | tr '\n' ' ')"
    more=$(find "$TMPDIR" -mindepth 1 ! -type d \( ! -type f -o ! -name '*.log' ! -name '*.pcapng' ! -name kept \))
    # A directory that does not hold a kept log should be gone.
    more+=$(find "$TMPDIR" -mindepth 1 -maxdepth 1 -type d ! -exec test -e {}/kept \; -print)
    if [ -z "$more" ]; then ok "$1: nothing but logs is left"; else not_ok "$1: more than logs is left: $more"; fi
    rm -rf "${TMPDIR:?}"/*
}

# only_logs_left NAME: the same, and there is a log.
only_logs_left() {
    [ -n "$(find "$TMPDIR" -name '*.log' -type f)" ] || not_ok "$1: no log was kept"
    logs_at_most "$1"
}
