#!/bin/bash
# SPDX-License-Identifier: MIT
# `provium init`: what it makes passes at once, and no file that is there is touched.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest

# ---- a new directory ----
provium init new --ci github
is "init: exit code" "$code" 0
for f in provium.toml tests/first.test.lua tests/fixtures/ready.lua .gitignore .github/workflows/provium.yml; do
    contains "init tells $f" out "made  new/$f"
done
(cd new && timeout -k 5 240 "$PROVIUM" test >"$work/out" 2>&1)
is "its tests pass" $? 0
contains "three of them" out "OK: 1 passed, 0 failed"
contains "the fixture's too" out "a fixture is there at once ... ok"

# ---- once more: nothing changes ----
sum() { (cd new && find . -type f -exec sha256sum {} + | sort); }
echo '# mine' >>new/provium.toml
before=$(sum)
provium init new --ci gitlab
is "again: exit code" "$code" 0
contains "again: kept" out "kept  new/provium.toml (it was there before)"
contains "again: the other service's file is made" out "made  new/.gitlab-ci.yml"
rm new/.gitlab-ci.yml
is "again: no file changed" "$(sum)" "$before"

# ---- a link is a file that is there ----
mkdir linked
ln -s ../elsewhere linked/provium.toml
provium init linked
is "link: exit code" "$code" 0
is "link: not followed" "$(ls elsewhere 2>/dev/null)" ""

# ---- what is wrong is told ----
provium init --ci jenkins new
is "unknown service: exit code" "$code" 2
contains "unknown service" err "--ci 'jenkins' is not known; expected github or gitlab"
provium init a b
contains "two directories" err "expected at most one directory, got 'b' too"
echo x >plain
provium init plain
is "a file: exit code" "$code" 2
contains "a file is no directory" err "plain"
finish
