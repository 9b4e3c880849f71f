#!/bin/bash
# SPDX-License-Identifier: MIT
# HOME and XDG_CACHE_HOME of somebody else: a note, a cache of the run's own, and nothing made or left there.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
[ "$(id -u)" = 0 ] || skip "needs root to give a directory to another user"

mkdir -p t/fixtures home
cat >t/fixtures/f.lua <<'LUA'
local vm = provium.create()
vm:boot({ memory = "128M" })
vm:write_file("/tmp/made", "once")
LUA
cat >t/a.lua <<'LUA'
test("a fixture without the user's cache", function()
    for _ = 1, 2 do assert_eq("once", provium.fixture("f"):read_file("/tmp/made")) end
end)
LUA
chown 65534:65534 home
HOME=$work/home XDG_CACHE_HOME='' provium test t/a.lua
exits "HOME of somebody else" 0
shows "the note has the owner" "the cache is not used: '$work/home' belongs to user 65534, not to user 0"
shows "and the remedy" "set XDG_CACHE_HOME to a directory of your own; this run has one of its own"
shows "passes" "1 passed, 0 failed"
is "nothing was made there" "$(ls -A home)" ""
nothing_left "without the user's cache"

printf 'fail("on purpose")\n' >t/b.lua
XDG_CACHE_HOME=$work/home provium test t/b.lua
exits "XDG_CACHE_HOME of somebody else" 1
shows "is told" "the cache is not used: '$work/home' belongs to user 65534"
is "a kept directory has no cache" "$(find "$TMPDIR" -name .cache)" ""

# The cache of this user with a link in the place of one of its directories.
mkdir -p own/provium
chmod 700 own own/provium
ln -s "$work/home" own/provium/fixtures
XDG_CACHE_HOME=$work/own provium test t/a.lua
exits "a link in the cache" 0
shows "is told by name" "'$work/own/provium/fixtures' is a link or a file"
is "nothing was made behind it" "$(ls -A home)" ""
finish
