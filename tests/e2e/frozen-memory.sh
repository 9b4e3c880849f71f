#!/bin/bash
# SPDX-License-Identifier: MIT
# The saved files of a fixture: read-only in the cache, and a change while a run uses them is noticed before the next
# VM starts from them.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
mkdir -p t/fixtures
cat >t/fixtures/f.lua <<'LUA'
local vm = provium.create()
vm:boot({ memory = "128M" })
vm:write_file("/tmp/made", "once")
LUA
cat >t/a.lua <<'LUA'
local function request() return provium.fixture("f") end

test("the fixture", function() assert_eq("once", request():read_file("/tmp/made")) end)
test("after a write to its memory", function()
    if not os.getenv("PV_E2E_WRITE") then return end
    local f = assert(io.popen("echo $XDG_CACHE_HOME/provium/fixtures/entries/*/memory"))
    local path = f:read("l")
    f:close()
    f = assert(io.open(path, "r+b"))
    local zeros, at = ("\0"):rep(1 << 20), 64 << 20 -- where the running guest keeps nothing
    while f:seek("set", at) and f:read(#zeros) ~= zeros do at = at + #zeros end
    f:seek("set", at + 4096)
    f:write("a guest that has taken QEMU over")
    f:close()
    for _ = 1, 2 do assert_error(request, "saved memory of vm%d+ .* was changed on the disk while this file used it") end
end)
LUA
PV_E2E_WRITE=1 provium test t/a.lua
exits "a memory that was written to" 0
shows "is no longer used" "after a write to its memory ... ok"
modes=$(cd "$XDG_CACHE_HOME/provium" && stat -c '%a %n' fixtures/entries/*/{state,initrd,manifest.json} kernels/*.vmlinux)
is "saved files and kernels are read-only" "$(grep -cv '^400 ' <<<"$modes")" 0
provium test t/a.lua
exits "the next run" 0
shows "builds the fixture anew" "fixture 'f'"
finish
