# SPDX-License-Identifier: MIT
# Sourced by the scripts beside it: a private TMPDIR, a mark on every process below, and checks that print what
# was expected. PROVIUM is the binary under test.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${PROVIUM:=$PWD/build/provium}"
work=$(mktemp -d "${TMPDIR:-/tmp}/provium-e2e.XXXXXX")
mkdir "$work/tmp" "$work/files"
export TMPDIR=$work/tmp
export PROVIUM_E2E_MARK=$work
trap 'rm -rf "$work"' EXIT
status=0

bad() {
    echo "not ok: $*"
    status=1
}

good() { echo "ok: $*"; }

# Pids of the processes that were started (by whomever) with our mark, this shell and its helpers apart.
marked() {
    local p exe
    for p in /proc/[0-9]*; do
        exe=$(readlink "$p/exe" 2>/dev/null) || continue
        case $exe in
        */provium | */qemu-system-*) ;;
        *) continue ;;
        esac
        tr '\0' '\n' 2>/dev/null <"$p/environ" | grep -qxF "PROVIUM_E2E_MARK=$work" && echo "${p#/proc/}"
    done
}

qemus() {
    local p
    for p in $(marked); do
        case $(readlink "/proc/$p/exe") in */qemu-system-*) echo "$p" ;; esac
    done
}

# wait_for SECONDS COMMAND...: polls until it succeeds.
wait_for() {
    local end=$(($(date +%s%N) + $1 * 1000000000))
    shift
    while ! "$@"; do
        [ "$(date +%s%N)" -lt "$end" ] || return 1
        sleep 0.05
    done
}

nothing_runs() { [ -z "$(marked)" ]; }
qemu_runs() { [ -n "$(qemus)" ]; }
tmp_is_empty() { [ -z "$(ls -A "$TMPDIR")" ]; }
nothing_left() { nothing_runs && tmp_is_empty; }

# check_nothing_left NAME: within 2 s no process, no file, no socket.
check_nothing_left() {
    if wait_for 2 nothing_left; then
        good "$1: nothing is left"
    else
        bad "$1: left over: processes '$(marked | tr '\n' ' ')', files '$(find "$TMPDIR" | tr '\n' ' ')'"
    fi
}

# The same, but the logs of the failed files are kept and named in the output, and are removed here.
check_only_logs_left() {
    local kept
    if ! wait_for 2 nothing_runs; then
        bad "$1: processes left: $(marked | tr '\n' ' ')"
    fi
    kept=$(find "$TMPDIR" -type f)
    if [ -z "$kept" ]; then
        bad "$1: no log was kept"
    elif find "$TMPDIR" -type f ! -name '*.log' ! -name kept | grep -q .; then
        bad "$1: more than logs is left: $(find "$TMPDIR")"
    else
        good "$1: only logs are left"
    fi
    if find "$TMPDIR" -type s | grep -q .; then
        bad "$1: a socket is left"
    fi
    rm -rf "${TMPDIR:?}"/*
}

contains() {
    if grep -qF -- "$3" "$2"; then
        good "$1"
    else
        bad "$1: '$3' is not in:"
        sed 's/^/    /' "$2"
    fi
}

is() {
    if [ "$2" = "$3" ]; then good "$1"; else bad "$1: expected '$3', got '$2'"; fi
}
