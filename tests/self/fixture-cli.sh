#!/bin/bash
# SPDX-License-Identifier: MIT
# provium fixture, on an empty cache, one with a damaged entry, and wrong arguments. No VM is started.
. "$(dirname "$0")/lib.sh"

provium fixture list
exits 0 "list, empty"
shows "cache/provium/fixtures, at most 20G" "the place and the bound"
printf '[provium]\ncache_size = "512M"\n' >provium.toml
provium fixture list
shows "at most 512M" "cache_size"
: >provium.toml
provium fixture stale
shows "nothing would be rebuilt" "stale, empty"
provium fixture list --json
shows '"fixtures": []' "list --json, empty"
mkdir -m 700 "$work/cache/provium/fixtures/entries/0123"
echo junk >"$work/cache/provium/fixtures/entries/0123/manifest.json"
provium fixture list
exits 0 "list with a damaged entry"
shows "(damaged)" "the damaged one is shown"
provium fixture stale
shows "0123: manifest.json: it does not begin and end as one does" "and why"
provium fixture clean
shows "1 fixture removed" "clean takes it"
provium fixture list nope
exits 2 "an unknown name"
for wrong in "lst" "clean --json" "list --all" "clean --all x" "build" "list --nope"; do
    # shellcheck disable=SC2086
    provium fixture $wrong
    exits 2 "fixture $wrong"
done
chmod 777 "$work/cache/provium/fixtures"
provium fixture list
exits 2 "a cache that others can write to"
chmod 700 "$work/cache/provium/fixtures"
exit $status
