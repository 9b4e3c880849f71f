#!/bin/bash
# SPDX-License-Identifier: MIT
# `provium lsp`: the stubs and the configuration for the Lua language server, and files that are there already. What is in
# the stubs is compared with the reference by scripts/check-lua-stubs.
. "$(dirname "$0")/../lib/shell.sh"

provium lsp new/project
exits "a new directory" 0
shows "the stubs are told" "made  new/project/.provium/lua/provium.lua"
shows "the configuration is told" "made  new/project/.luarc.json"
contains "a function with its type" new/project/.provium/lua/provium.lua "function _Agent:exec(cmd, opts) end"
contains "an option" new/project/.provium/lua/provium.lua "---@field cwd? string"
is "the configuration names the stubs" \
    "$(python3 -c 'import json; print(json.load(open("new/project/.luarc.json"))["workspace.library"])')" "['.provium/lua']"

# ---- again: nothing changes, nothing is to be done ----
provium lsp new/project
exits "again" 0
is "again: kept, and no more" "$(cat out)" "kept  new/project/.provium/lua/provium.lua (it was there before)
kept  new/project/.luarc.json (it was there before)"

# ---- files of the user's ----
mkdir mine && echo '{}' >mine/.luarc.json
provium lsp mine
exits "a .luarc.json of the user's" 0
is "it stays as it is" "$(cat mine/.luarc.json)" "{}"
shows "what it needs is told" '"workspace.library": [".provium/lua"]'
echo '-- old' >mine/.provium/lua/provium.lua
provium lsp mine
shows "old stubs are told" "mine/.provium/lua/provium.lua is not what this provium writes"
is "they stay" "$(cat mine/.provium/lua/provium.lua)" "-- old"

# ---- here, and what is wrong ----
(cd mine && rm -r .provium && "$PROVIUM" lsp >/dev/null)
contains "the working directory" mine/.provium/lua/provium.lua "---@meta"
provium test new
is "the stubs are no test files" "$(grep -c provium.lua out)" 0
provium lsp a b
exits "two directories" 2
warns "two directories" "expected at most one directory, got 'b' too"
: >plain
provium lsp plain
exits "a file" 2
warns "a file" "plain"
finish
