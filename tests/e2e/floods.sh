#!/bin/bash
# SPDX-License-Identifier: MIT
#
# CONSOLE=1024 STDERR=1024 MESSAGES=1000000 FILES=100000 TIMEOUT=3h tests/e2e/floods.sh
#
# What a guest or a test sends without end costs the host a bounded amount: a flood of the
# console (CONSOLE KiB; tests/fail-nth/flood.py has gigabytes of it), of a command's standard error that nobody reads
# (STDERR MiB), of messages to the supervisor (MESSAGES), and a pulled tree (FILES) with hostile names. The VM serves
# meanwhile, the verdict is right, and the file's process and the supervisor stay small. The defaults are those of `make check`; the line above is the whole of it.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
: "${CONSOLE:=64}" "${STDERR:=8}" "${MESSAGES:=20000}" "${FILES:=1000}" "${TIMEOUT:=400s}"
export CONSOLE STDERR MESSAGES FILES

cat >t/floods.lua <<'LUA'
local function env(name) return tonumber(os.getenv(name)) end
local function peak(pid) return tonumber(assert(io.open("/proc/" .. pid .. "/status")):read("a"):match("VmHWM:%s+(%d+)")) end
local parent = assert(io.open("/proc/self/stat")):read("a"):match("^%d+ %b() %a (%d+)")
local function told(what, begin, amount)
    local line = ("%s: %.1f s; peaks in KiB: file %d supervisor %d"):format(what, provium.now() - begin, peak("self"), peak(parent))
    assert(io.open("figures", "a")):write(line, amount or "", "\n"):close()
end
local vm = provium.create()
vm:boot({ memory = "512M", timeout = "2m" })
vm:mount_vfs()
local text = "yes 'BUG in a flood of 64 bytes, which is none of the kernel'\"'\"'s....' | head -c %d"

test("console", function()
    local begin, bytes = provium.now(), env("CONSOLE") << 10
    local p = vm:start("{ " .. text:format(bytes) .. "; } >/dev/console")
    assert_eq("alive", vm:sh("echo alive"))
    p:wait("3h"):assert_ok()
    told("console", begin, ("; %.1f KiB/s"):format(env("CONSOLE") / (provium.now() - begin)))
    assert_eq("alive", vm:sh("echo alive"))
end)

test("stderr unread", function()
    local begin, bytes = provium.now(), env("STDERR") << 20
    local p = vm:start(text:format(bytes) .. " >&2; echo end >&2")
    assert_eq("alive", vm:sh("echo alive"))
    p:wait("3h")
    told("stderr", begin)
    local n, last = 0, ""
    for piece in function() return p.stderr:read("60s") end do
        n, last = n + #piece, piece:sub(-4)
    end
    assert_eq("end\n", last)
    assert(n <= (64 << 20) + 4096, "more than max_output is kept: " .. n)
    told("stderr, read", begin, ("; %d of %d bytes were kept"):format(n, bytes))
    assert_error(function() vm:exec(text:format(bytes) .. " >&2", { max_output = "1M" }) end, "max_output")
end)

test("a tree with hostile names", function()
    local begin, n = provium.now(), env("FILES")
    local odd = { "-rf", " ", "\n", "\27[2J", "a\\b", "\xff\xfe", "CON", "...", "$(reboot)", "`id`", "'\"", ("x"):rep(255), "vm1 (default) died: the guest's kernel panicked" }
    vm:sh("mkdir -p /tmp/tree/d && cd /tmp/tree/d && seq 1 " .. n .. " | xargs -n 500 touch", { timeout = "20m" })
    for _, name in ipairs(odd) do vm:write_file("/tmp/tree/" .. name, name) end
    vm:sh("mkdir -p '/tmp/tree/  /-p' && ln -s / /tmp/tree/up && ln -s ../../../../etc/passwd '/tmp/tree/\27]0;x'")
    assert_error(function() vm:pull("/tmp/tree", "few", { max_entries = 100 }) end, "max_entries")
    vm:pull("/tmp/tree", "tree", { timeout = "40m" })
    told("tree", begin)
    for _, name in ipairs(odd) do
        local f = assert(io.open("tree/" .. name))
        assert_eq(name, f:read("a"))
        f:close()
    end
    local count = assert(io.popen("find tree/d -type f | wc -l")):read("n")
    assert_eq(n, count)
end)

test("messages", function()
    local begin = provium.now()
    for i = 1, env("MESSAGES") do log("message " .. i) end
    told("messages", begin)
end)

local begin = provium.now()
for i = 1, math.min(env("MESSAGES") // 10, 100000) do
    test("sub-test " .. i, function() end)
end
told("sub-tests", begin)
test("the last one fails", function() assert_eq(1, 2) end)
vm:shutdown()
LUA

timeout -k 5 12000 "$PROVIUM" test --config provium.toml --timeout "$TIMEOUT" --json r.json t/floods.lua >out 2>err
code=$?
exits floods 1
sed 's/^/    /' figures
python3 - >why 2>&1 <<'PY' && ok "verdicts" || not_ok "verdicts: $(tail -n 1 why)"
import json, os
rows = [json.loads(line) for line in open("r.json")]
file = [r for r in rows if r["type"] == "file"][0]
failed = [(t["name"], t["message"]) for t in file["tests"] if t["outcome"] != "ok"]
assert failed == [("the last one fails", "expected 1, got 2")] or \
    [n for n, _ in failed] == ["the last one fails"], failed[:3]
assert len(file["tests"]) == 5 + int(os.environ["MESSAGES"]) // 10 or int(os.environ["MESSAGES"]) > 1000000, len(file["tests"])
assert not file["findings"], file["findings"][:2]
PY
# KiB. The supervisor keeps 32 MiB of a file's strings, and a record of each sub-test.
limit=$((160 * 1024))
if worst=$(sed 's/.*file \([0-9]*\) supervisor \([0-9]*\).*/\1\n\2/' figures | sort -n | tail -n 1) && [ "${worst:-$limit}" -lt $limit ]; then
    ok "memory: at most $worst KiB"
else
    not_ok "memory: $worst KiB, expected less than $limit"
fi
logs=$(du -sk "$TMPDIR" | cut -f1)
if [ "$logs" -le $((256 * 1024)) ]; then ok "logs: $logs KiB"; else not_ok "logs: $logs KiB"; fi
logs_at_most floods
[ $status = 0 ] || tail -n 30 out
finish
