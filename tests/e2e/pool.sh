#!/bin/bash
# SPDX-License-Identifier: MIT
# The pool with real VMs: the VMs of many files together stay below --mem, by the -m of every running QEMU; files that
# wait for each other all pass; a VM that is too large is refused at once; without --mem the host keeps its spare.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
files=${FILES:-8}
mkdir "$work/one" "$work/two"
for i in $(seq "$files"); do
    cat >"$work/one/f$i.lua" <<'LUA'
local vm = provium.create()
vm:boot{memory = "128M"}
test("runs", function() assert_eq("hi\n", vm:exec("echo hi").stdout) end)
LUA
done

# limited NAME LIMIT LEAST ARGUMENTS...: runs provium test and samples its VMs' memory, whose peak must be LEAST to LIMIT
# MiB.
limited() {
    local name=$1 limit=$2 least=$3 most samples top code
    shift 3
    "$PROVIUM" test --config "$work/provium.toml" "$@" >"$work/out" 2>&1 &
    top=$!
    read -r most samples < <(python3 "$here/vm-memory.py" "$top" "PROVIUM_TEST_MARK=$work")
    wait "$top"
    code=$?
    is "$name: exit code" $code 0
    [ $code = 0 ] || cat "$work/out"
    if [ "$most" -le "$limit" ] && [ "$most" -ge "$least" ]; then
        ok "$name: at most $most MiB of $limit in use, $samples samples"
    else
        not_ok "$name: $most MiB in use, expected $least to $limit"
    fi
    nothing_left "$name"
}

limited "one VM each" 384 256 --mem 384M "$work/one"
limited "one VM each, by CPUs" 256 128 --cpus 2 -p 4 "$work/one/f1.lua" "$work/one/f2.lua" "$work/one/f3.lua"

# Each file holds one VM and boots a second one; the budget has room for only one such file.
for f in a b; do
    cat >"$work/two/$f.lua" <<'LUA'
local x, y = provium.create(), provium.create()
x:boot{memory = "128M"}
provium.sleep(0.5)
y:boot{memory = "128M"}
test("both run", function() assert_eq("hi\n", x:exec("echo hi").stdout) assert(y:exec("true").ok) end)
LUA
done
limited "two VMs each, room for two" 256 256 --mem 256M "$work/two"
contains "two VMs each: the one that gave way is told" "$work/out" "is started again from its beginning: it and other files waited"
contains "two VMs each: both pass" "$work/out" "OK: 2 passed, 0 failed"

cat >"$work/two/tasks.lua" <<'LUA'
test("tasks take turns", function()
    local fns = {}
    for i = 1, 4 do
        fns[i] = function()
            local vm <close> = provium.create()
            vm:boot{memory = "128M", timeout = "100s"}
            return vm:exec("echo " .. i).stdout:trim()
        end
    end
    assert_eq({"1", "2", "3", "4"}, provium.all(fns))
end)
test("tasks that wait for each other get the refusal", function()
    local fns = {}
    for i = 1, 3 do
        fns[i] = function() provium.create():boot{memory = "128M", timeout = "100s"} end
    end
    assert_error(function() provium.all(fns) end, "the file's other VMs hold 256M")
end)
LUA
limited "tasks of one file" 256 256 --mem 256M "$work/two/tasks.lua"

# Each builder's VM needs what the tasks' VMs hold by then; 20 clones have room for two at a time.
mkdir -p "$work/two/fixtures"
for i in 1 2 3; do
    printf 'local vm = provium.create()\nvm:boot{memory = "128M", timeout = "100s"}\nvm:write_file("/tmp/i", "%d")\n' $i \
        >"$work/two/fixtures/f$i.lua"
done
cat >"$work/two/builds.lua" <<'LUA'
local fns, want = {}, {}
for i = 1, 20 do
    local which = tostring(i % 3 + 1)
    want[i] = which
    fns[i] = function()
        local vm <close> = provium.fixture("f" .. which)
        return vm:read_file("/tmp/i")
    end
end
assert_eq(want, provium.all(fns, "400s"))
LUA
limited "20 fixtures and 3 builds in tasks of one file" 300 128 --mem 300M "$work/two/builds.lua"
contains "builds in tasks: it passes" "$work/out" "OK: 1 passed, 0 failed"

# A guest that has touched all of its memory, in a QEMU that takes some itself: by their grants a second VM fits.
mkdir "$work/full"
cat >"$work/full/first.lua" <<LUA
local vm = provium.create()
vm:boot{memory = "256M"}
local free = tonumber(vm:read_file("/proc/meminfo"):match("MemAvailable: *(%d+)")) // 1024
vm:sh("mkdir /full && mount -t tmpfs -o size=250m none /full && dd if=/dev/zero of=/full/x bs=1M count=" .. free - 25)
io.open("$work/filled", "w"):close()
provium.sleep(8)
vm:shutdown()
io.open("$work/released", "w"):close()
LUA
cat >"$work/full/second.lua" <<LUA
repeat provium.sleep(0.1) until io.open("$work/filled")
local vm = provium.create()
vm:boot{memory = "256M", timeout = "100s"}
assert(io.open("$work/released"), "it booted beside a VM that uses more than was granted")
LUA
limited "a guest that uses all of its memory" 256 256 --mem 530M -p 2 "$work/full"
contains "the first one's QEMU counts" "$work/out" "OK: 2 passed, 0 failed"

echo 'provium.create():boot{memory = "300M"}' >"$work/two/large.lua"
"$PROVIUM" test --config "$work/provium.toml" --mem 256M "$work/two/large.lua" >"$work/out" 2>&1
is "too large: exit code" $? 1
contains "too large: the numbers" "$work/out" "300M of memory are wanted, more than --mem gives to all VMs together: 256M"
logs_at_most "too large"
finish
