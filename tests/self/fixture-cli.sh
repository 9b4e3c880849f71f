#!/bin/bash
# SPDX-License-Identifier: MIT
# provium fixture, on an empty cache, one with a damaged entry, and wrong arguments. No VM is started.
. "$(dirname "$0")/../lib/shell.sh"

provium fixture list
exits "list, empty" 0
shows "the place and the bound" "cache/provium/fixtures, at most 20G"
printf '[provium]\ncache_size = "512M"\n' >provium.toml
provium fixture list
shows "cache_size" "at most 512M"
: >provium.toml
provium fixture stale
shows "stale, empty" "nothing would be rebuilt"
provium fixture list --json
shows "list --json, empty" '"fixtures": []'
mkdir -m 700 "$work/cache/provium/fixtures/entries/0123"
echo junk >"$work/cache/provium/fixtures/entries/0123/manifest.json"
provium fixture list
exits "list with a damaged entry" 0
shows "the damaged one is shown" "(damaged)"
provium fixture stale
shows "and why" "0123: manifest.json: it does not begin and end as one does"
provium fixture clean
shows "clean takes it" "1 fixture removed"
provium fixture list nope
exits "an unknown name" 2
for wrong in "lst" "clean --json" "list --all" "clean --all x" "build" "list --nope"; do
    # shellcheck disable=SC2086
    provium fixture $wrong
    exits "fixture $wrong" 2
done
chmod 777 "$work/cache/provium/fixtures"
provium fixture list
exits "a cache that others can write to" 2
chmod 700 "$work/cache/provium/fixtures"
finish
