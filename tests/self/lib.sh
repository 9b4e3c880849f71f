# SPDX-License-Identifier: MIT
# Sourced by the tests beside it: a working directory and a TMPDIR of its own, and checks that print ok lines.
# PROVIUM is the program under test.
set -u
: "${PROVIUM:?the program under test}"
work=$(mktemp -d "${TMPDIR:-/tmp}/pv-self.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/tmp" "$work/t"
export TMPDIR=$work/tmp
# What is remembered of earlier runs.
export XDG_CACHE_HOME=$work/cache
export PV_SELF_MARK=$work
cd "$work" || exit 1
# No project of the surroundings is to be found by searching upward.
: >provium.toml
status=0

ok() { echo "ok - $*"; }
not_ok() {
    echo "not ok - $*"
    status=1
}

# provium ARGUMENTS...: runs it with a limit; output in $work/out and $work/err, exit code in $code.
# Test files run one after the other unless -p is among the arguments, so that the output has an order.
provium() {
    [ "${1-}" != test ] || set -- test -p 1 "${@:2}"
    timeout -k 5 60 "$PROVIUM" "$@" >"$work/out" 2>"$work/err"
    code=$?
}

# exits WANT NAME
exits() { if [ "$code" = "$1" ]; then ok "$2: exit code $1"; else
    not_ok "$2: exit code $code, expected $1"
    sed 's/^/    /' "$work/out" "$work/err"
fi; }

# shows TEXT NAME: the output holds it.
shows() { if grep -qF -- "$1" "$work/out"; then ok "$2"; else
    not_ok "$2: '$1' is not in the output:"
    sed 's/^/    /' "$work/out" "$work/err"
fi; }

complains() { if grep -qF -- "$1" "$work/err"; then ok "$2"; else
    not_ok "$2: '$1' is not on stderr:"
    sed 's/^/    /' "$work/err"
fi; }

# same NAME: the output is exactly what comes on stdin, times and the path of the program apart.
same() {
    cat >"$work/want"
    sed -E -e 's/[0-9]+\.[0-9]s\)/T)/' -e "s|^    rerun: $PROVIUM |    rerun: provium |" "$work/out" >"$work/got"
    if diff -u "$work/want" "$work/got" >"$work/diff"; then ok "$1"; else
        not_ok "$1: the output differs:"
        sed 's/^/    /' "$work/diff"
    fi
}

# Processes of the program and of tests that carry our mark; a zombie has no environment any more.
left_running() {
    local f
    for f in $(grep -lzxF "PV_SELF_MARK=$work" /proc/[0-9]*/environ); do
        case $(tr '\0' ' ' <"${f%environ}cmdline") in
        *provium*\ test* | sleep\ 7[0-9][0-9]* | qemu-system*) echo "$f" ;;
        esac
    done
} 2>/dev/null

# wait_for SECONDS COMMAND...
wait_for() {
    local end=$(($(date +%s%N) + $1 * 1000000000))
    shift
    until "$@"; do
        [ "$(date +%s%N)" -lt "$end" ] || return 1
        sleep 0.05
    done
}

nothing_left() { [ -z "$(ls -A "$TMPDIR")" ] && [ -z "$(left_running)" ]; }

clean() { if wait_for 2 nothing_left; then ok "$1: nothing is left"; else
    not_ok "$1: left over: $(ls -A "$TMPDIR") processes $(left_running)"
fi; }

finish() { exit $status; }
