#!/bin/bash
# SPDX-License-Identifier: MIT
# `provium test --live`: output of files, consoles and commands as it comes, whole and harmless.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest

cat >t/a.lua <<'LUA'
print("own line")
local vm = provium.create("default", { name = "web" })
vm:boot({ timeout = "120s" })
vm:sh("echo on the console >/dev/console")
vm:exec("echo first; sleep 3; echo second; echo oops >&2; printf 'no end'")
vm:start("printf '\\033[31mred\\033[0m \\007bell\\n'; printf 'login: '"):wait("60s")
vm:job_wait(vm:background("echo from a job"), "60s")
vm:sh("seq 1 " .. (os.getenv("NUMBERS") or 1))
LUA
cat >t/b.lua <<'LUA'
local vm = provium.create()
vm:boot({ timeout = "120s" })
vm:sh("seq 1 3")
LUA

# The time of each line, of a reader that keeps up; of one that does not read for a while, everything comes, too.
timeout -k 5 200 "$PROVIUM" test --live t/a.lua 2>err | while IFS= read -r line; do
    printf '%s %s\n' "$(date +%s%N)" "$line"
done >timed
at() { sed -n "s#^\([0-9]*\) $1\$#\1#p" timed; }
contains "the file's own output" timed "t/a.lua : own line"
contains "the console" timed "web | on the console"
contains "a command" timed "web $ echo on the console >/dev/console"
contains "its standard error" timed "web ! oops"
contains "a line without its end" timed "web > no end"
contains "a process; no escape, no control byte" timed 'web > red \x07bell'
contains "its unfinished line" timed "web > login: "
contains "a job" timed "web > from a job"
contains "the report follows" timed "  t/a.lua ... ok"
first=$(at 'web > first') second=$(at 'web > second')
if [ -n "$first" ] && [ -n "$second" ] && [ $((second - first)) -gt 1500000000 ]; then
    ok "lines come when they are printed"
else
    not_ok "lines come when they are printed: '$first', '$second'"
fi
is "no escape sequence reaches the terminal" "$(grep -c "$(printf '[\033\007]')" timed)" 0

NUMBERS=120000 timeout -k 5 300 "$PROVIUM" test -s -p 2 t/a.lua t/b.lua 2>err | (sleep 20; cat) >out
sed -n 's#^t/a.lua web > \([0-9]*\)$#\1#p' out >numbers
seq 1 120000 >want
if cmp -s numbers want; then ok "nothing is lost for a slow reader"; else not_ok "lost: $(wc -l <numbers) of 120000 lines"; fi
is "the other file's lines are its own" "$(grep -c '^t/b.lua vm[0-9]* > [123]$' out)" 3
contains "both ended well" out "OK: 2 passed, 0 failed"

provium test --live -q t/b.lua
exits "-q and --live" 2
warns "-q and --live are opposites" "-q and --live are opposites; give one of them"
provium test --live --list t/b.lua
exits "--list and --live" 2
warns "nothing is listed live" "--list runs nothing, so there is nothing for --live to show"
finish
