#!/bin/bash
# SPDX-License-Identifier: MIT
# What goes wrong for a new user: each message names what is wrong, what was expected, and what to do.  No VM boots.
. "$(dirname "$0")/../lib/shell.sh"

# file LUA TEXT...: a test file of that line fails with all TEXT in the output.
file() {
    local text
    printf '%s\n' "$1" >t/a.lua
    provium test t
    is "$1: exit code" "$code" 1
    for text in "${@:2}"; do shows "$1" "$text"; done
}
# refused NAME TEXT -- ARGUMENTS...: the command is refused, exit code 2.
refused() {
    provium "${@:4}"
    is "$1: exit code" "$code" 2
    warns "$1" "$2"
}
# config NAME TOML TEXT: a project file that is refused.
config() {
    printf '%s\n' "$2" >provium.toml
    provium test t
    is "$1: exit code" "$code" 2
    warns "$1" "$3"
    : >provium.toml
}

# ---- the command line ----
refused "a wrong command" "unknown command 'tset' (did you mean 'test'?)" -- tset
refused "a wrong option" "unknown option '--timout' (did you mean '--timeout'?)" -- test --timout 3 t
refused "a wrong option of run" "unknown option '--kernal' (did you mean '--kernel'?)" -- run --kernal x true
refused "a path that is not there" "'nowhere' does not exist; expected a test file or a directory" -- test nowhere
mkdir empty
refused "a directory for a disk" "--disk 'empty': is a directory; expected an image file" -- run --disk empty true
refused "a directory for a saved failure" "'empty' is a directory; expected a file NAME.pvsave" -- resume empty
refused "no test files" "no test files in 'empty'; expected files called *.lua" -- test empty
refused "a wrong profile" "unknown profile 'defualt'; did you mean 'default'?" -- run --profile defualt true
refused "too little memory" "a VM needs at least 32M" -- run -m 1M true
refused "a wrong topic" "did you mean 'running'?" -- help runing
refused "a kernel that is not there" "nowhere/bzImage" -- run --kernel nowhere/bzImage true

# ---- the project file ----
echo 'provium.create()' >t/a.lua
config "a wrong key" $'[profile.default]\nkernl = "/x"' "key 'kernl' is not known; did you mean 'kernel'?"
config "a wrong table" $'[profil.mine]\nkernel = "x"' "did you mean 'profile'?"
config "a wrong type" $'[profile.mine]\nkernel = 3' "key 'kernel'"
config "no TOML" '[profile.mine' "provium.toml:1:14"
config "a missing kernel" $'[profile.mine]\nkernel = "bzImage"' "bzImage' does not exist"
: >kernel
config "a missing image" $'[profile.mine]\nkernel = "kernel"\nrootfs = "no.img"' "no.img' does not exist"
if [ "$(id -u)" != 0 ]; then
    chmod 0 kernel
    config "a kernel that cannot be read" $'[profile.mine]\nkernel = "kernel"' "sudo chmod a+r"
    chmod 644 kernel
fi

# ---- Lua ----
file 'tset("x", function() end)' "attempt to call a nil value (global 'tset') (did you mean 'test'?)"
file 'provium.craete()' "(field 'craete') (did you mean 'create'?)"
file 'print(("x"):rpe(2))' "(method 'rpe') (did you mean 'rep'?)"
file 'provum.create()' "(global 'provum') (did you mean 'provium'?)"
file 'nothing_like_it()' "attempt to call a nil value (global 'nothing_like_it')"
file 'provium.create("defualt")' "unknown profile 'defualt'; did you mean 'default'?"
file 'provium.create():exce("x")' "a VM has no method 'exce' (did you mean 'exec'?)"
file 'provium.create():boot{memroy = "1G"}' "unknown boot option 'memroy' (did you mean 'memory'?)"
file 'provium.create():boot{memory = "1M"}' "boot option 'memory': '1M' is too small for a kernel; at least 32M"
file 'provium.create():exec("x")' "is not booted (call vm:boot() first)"
file 'provium.fixture("base")' "there is no fixture 'base'; looked for base.lua in"

# ---- no project file at all ----
if [ ! -e /tmp/provium.toml ] && [ ! -e /provium.toml ]; then
    (cd / && "$PROVIUM" run --profile debian true >"$work/out" 2>"$work/err")
    is "no provium.toml: exit code" $? 2
    warns "no provium.toml" "no provium.toml was found from / upward: 'provium init' makes one"
fi
finish
