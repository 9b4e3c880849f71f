#!/bin/bash
# SPDX-License-Identifier: MIT
# Low limits of open files: a run works, or ends at once with an error that names the limit. No VM is started.
. "$(dirname "$0")/../lib/shell.sh"

echo 'test("t", function() assert_eq(1, 1) end)' >t/a.lua
for n in 16 20 24 28 32 48 63 64 128 512; do
    (ulimit -n $n && timeout -k 5 60 "$PROVIUM" test t >out 2>err)
    code=$?
    if [ $n -lt 64 ]; then
        exits "ulimit -n $n" 2
        warns "ulimit -n $n: the error names the limit" "may have only $n open files"
    else
        exits "ulimit -n $n" 0
    fi
    nothing_left "ulimit -n $n"
done
finish
