#!/bin/bash
# SPDX-License-Identifier: MIT
# The top process, a file's process or a QEMU is killed at a random moment, from before the first boot to after the
# last shutdown: nothing is left, and the exit code says what happened.
. "$(dirname "$0")/lib.sh"

cat >"$work/files/two.lua" <<'LUA'
local a, b = provium.create("minimal"), provium.create("minimal")
a:boot()
b:boot()
a:exec("sleep 0.2")
a:shutdown()
b:kill()
LUA
run=("$PROVIUM" test --config tests/provium.toml)

for i in $(seq 1 "${ROUNDS:-9}"); do
    whom=$((i % 3))
    "${run[@]}" "$work/files/two.lua" >"$work/out" 2>&1 &
    top=$!
    # shellcheck disable=SC2004
    sleep "$(printf '%d.%03d' $((RANDOM % 4)) $((RANDOM % 1000)))"
    victim=
    case $whom in
    0) victim=$top ;;
    1) victim=$(cat /proc/$top/task/*/children 2>/dev/null | tr ' ' '\n' | grep . | head -n 1) ;;
    2) victim=$(qemus | head -n 1) ;;
    esac
    hit=no
    [ -n "$victim" ] && kill -KILL "$victim" 2>/dev/null && hit=yes
    wait $top
    code=$?
    case $whom,$hit,$code in
    0,yes,137 | 1,yes,1 | 2,yes,1 | *,no,0) good "round $i: exit code $code" ;;
    *,yes,0) good "round $i: it was too late to matter" ;;
    *) bad "round $i: whom $whom, hit $hit, exit code $code"; cat "$work/out" ;;
    esac
    if [ $code = 1 ]; then
        find "$TMPDIR" -mindepth 1 -maxdepth 1 -name 'provium-*' -exec rm -rf {} + # the logs of the failed file
    fi
    check_nothing_left "round $i"
done
exit $status
