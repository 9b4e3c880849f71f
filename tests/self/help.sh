#!/bin/bash
# SPDX-License-Identifier: MIT
# --help of all commands fits a terminal; `provium help TOPIC` shows commands, pages and functions, and knows near words.
. "$(dirname "$0")/../lib/shell.sh"

# fits NAME LINES: the last output has at most so many lines, of at most 80 columns.
fits() {
    is "$1: at most $2 lines" "$([ "$(wc -l <out)" -le "$2" ] && echo yes || wc -l <out)" yes
    is "$1: at most 80 columns" "$(grep -nE '.{81}' out)" ""
}

provium --help
exits "provium --help" 0
fits "provium --help" 23 # and the prompt: 24
shows "titles" "A VM by hand:"
cp out list
provium help
is "provium help is the same" "$(cmp out list && echo same)" same
provium
exits "no command" 2
is "no command: the list is on standard error" "$(cmp err list && echo same)" same

n=0
for command in $(sed -n 's/^  \([a-z]*\) .*/\1/p' list); do
    provium "$command" --help
    exits "$command --help" 0
    fits "$command --help" 59
    shows "$command --help: usage" "usage: provium $command"
    shows "$command --help: itself" "-h, --help"
    cp out one
    provium help "$command"
    is "help $command" "$(cmp out one && echo same)" same
    n=$((n + 1))
done
is "commands" "$((n >= 12))" 1
provium test --help
shows "groups" "What fails, and what then:"

# ---- topics ----
provium help topics
exits "topics" 0
pages=$(sed -n 's/^  \([a-z][a-z.-]*\)  .*/\1/p' out)
is "every page of docs is a topic" "$(cd "$repo/docs" && for f in *.md; do echo "${f%.md}"; done | sort)" "$(sort <<<"$pages")"
provium help fixtures
exits "a page" 0
shows "a page" "# Fixtures"
is "a page is filled" "$(grep -vE '^    ' out | grep -cE '.{120}')" 0
provium help vm:exec
shows "a function" "vm:exec(cmd, opts?)"
is "no types of the page's comments" "$(grep -c '<!--' out)" 0
is "only that function" "$(grep -c '^###' out)" 1
provium help wait
is "all functions of a name" "$(grep -c '^### .*:wait(' out)" 3
provium help lua-api
is "the whole reference has all entries" "$(grep -c '^### ' out)" "$(grep -c '^### ' "$repo/docs/lua-api.md")"

# ---- what is wrong ----
for pair in fixtres:fixtures vm:exce:vm:exec doktor:doctor; do
    provium help "${pair%:*}"
    case $pair in vm:*) provium help vm:exce ;; esac
    exits "help ${pair%:*}" 2
    warns "a near topic" "did you mean"
done
provium help qqqqqqqq
warns "no near topic" "no topic 'qqqqqqqq'; 'provium help topics' lists the known ones"
provium help a b
exits "two topics" 2
provium tset
warns "a near command" "unknown command 'tset' (did you mean 'test'?)"
finish
