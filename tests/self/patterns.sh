#!/bin/bash
# SPDX-License-Identifier: MIT
# Which files below a directory are tests, and where `require` looks. No VM is started.
. "$(dirname "$0")/../lib/shell.sh"

mkdir -p t/sub u
echo 'assert_eq(1, 1)' >t/a.test.lua
echo 'assert_eq(1, 1)' >t/sub/b.test.lua
echo 'fail("a helper was run as a test")' >t/helper.lua
echo 'assert_eq(1, 1)' >u/plain.lua

provium test --list t u
is "*.test.lua where there are any, else *.lua" "$(tr '\n' ' ' <out)" "a.test.lua sub/b.test.lua plain.lua "
provium test --list t t/helper.lua
is "a path given as a file is a test" "$(tr '\n' ' ' <out)" "a.test.lua helper.lua sub/b.test.lua "

provium test --list --meta k=v t
is "--list with a selection of sub-tests: the files" "$(tr '\n' ' ' <out)" "a.test.lua sub/b.test.lua "
warns "--list with a selection of sub-tests: says that they are not known" "select sub-tests, which a file names while it runs"

printf '[provium]\ntests = ["t/*.lua", "u/**/p*.lua"]\n' >provium.toml
provium test --list t u
is "patterns of provium.toml" "$(tr '\n' ' ' <out)" "a.test.lua helper.lua plain.lua "
(cd t && timeout 60 "$PROVIUM" test --list . >"$work/out")
is "patterns are relative to provium.toml" "$(tr '\n' ' ' <out)" "a.test.lua helper.lua "
provium test u/plain.lua
exits "a file that matches no pattern, given by its path" 0
printf '[provium]\ntests = ["spec/*.lua"]\n' >provium.toml
provium test t
exits "no match" 2
warns "no match: names the patterns" "no test files in 't'; expected files that match 'spec/*.lua' (\`tests\` in $work/provium.toml)"

# bad NAME TOML TEXT
bad() {
    printf '[provium]\n%s\n' "$2" >provium.toml
    provium test t
    exits "$1" 2
    warns "$1: says so" "provium.toml:2: [provium]: key 'tests'$3"
}
bad "patterns that are no list" 'tests = "*.lua"' " is no list; expected a list of patterns"
bad "an empty list of patterns" 'tests = []' " is an empty list; expected"
bad "a pattern that is no string" 'tests = ["a", 1]' ": entry 2 is no pattern"
bad "a pattern outside of the project" 'tests = ["../t/*.lua"]' ": '../t/*.lua' leads out of the directory"
: >provium.toml

# require: the test's directory, upward to the given root, beside provium.toml, the working directory.
mkdir -p proj/tests/deep/er proj/lib else
: >proj/provium.toml
for d in proj proj/lib proj/tests proj/tests/deep proj/tests/deep/er else; do
    echo "return '$d'" >"$d/where.lua"
done
cat >proj/tests/deep/er/x.test.lua <<'LUA'
print("found " .. require("where"))
LUA
found() {
    (cd "$2" && timeout 60 "$PROVIUM" test -v "${@:3}" >"$work/out" 2>"$work/err")
    shows "require: $1" "found $1"
}
found proj/tests/deep/er . proj/tests
rm proj/tests/deep/er/where.lua
found proj/tests/deep . proj/tests
rm proj/tests/deep/where.lua
found proj/tests . proj/tests
found proj else --config ../proj/provium.toml ../proj/tests/deep
rm proj/where.lua
found else else --config ../proj/provium.toml ../proj/tests/deep
rm else/where.lua
(cd else && timeout 60 "$PROVIUM" test ../proj/tests/deep >"$work/out" 2>"$work/err")
is "require above the given root: exit code" "$?" 1
shows "require: nothing is found above the given root" "module 'where' not found"
shows "require: says where it looked" "in the test's directory or those above it up to the given one"
# A file given by its path has no given directory: the project's takes its place, for fixtures too.
echo "return 'proj/tests'" >proj/tests/where.lua
found proj/tests else --config ../proj/provium.toml ../proj/tests/deep/er/x.test.lua
mkdir -p proj/some/where/in proj/some/fixtures
echo 'error("the fixture in some")' >proj/some/fixtures/near.lua
echo 'provium.fixture("near")' >proj/some/where/in/x.test.lua
(cd proj && timeout 60 "$PROVIUM" test some/where/in/x.test.lua >"$work/out" 2>"$work/err")
shows "fixture: found above a file given by its path" "the fixture in some"
(cd proj && timeout 60 "$PROVIUM" test some/where/in >"$work/out" 2>"$work/err")
shows "fixture: nothing is found above the given root" "there is no fixture 'near'"
rm proj/tests/where.lua
mkdir -p proj/tests/pkg && echo 'return "a package"' >proj/tests/pkg/init.lua
echo 'assert_eq("a package", require("pkg"))' >proj/tests/deep/er/x.test.lua
provium test proj/tests
exits "require: NAME/init.lua" 0
# A fixture's script, found by a relative path, has the directories above it, too.
mkdir -p scripts/t/fixtures && : >scripts/provium.toml
echo 'return "what stands above"' >scripts/t/above.lua
echo 'error("found " .. require("above"))' >scripts/t/fixtures/base.lua
echo 'provium.fixture("base")' >scripts/t/a.test.lua
(cd scripts && timeout 60 "$PROVIUM" test t >"$work/out" 2>"$work/err")
is "require above a fixture's script: exit code" "$?" 1
shows "require above a fixture's script" "found what stands above"
nothing_left patterns
finish
