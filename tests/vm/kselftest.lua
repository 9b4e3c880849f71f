-- provium.kselftest on a guest: an installed tree, one collection of it, a directory with a Makefile, programs that end
-- in every way. What becomes of each kind of TAP is tested without a VM, in src/lua/kselftest-test.c.

local vm = provium.create("minimal")
vm:boot({ timeout = "120s" })

local function put(path, text)
    vm:write_file(path, "#!/bin/sh\n" .. text, { mode = 0x1ed }) -- 0755
end

vm:mkdir("/ks/timers", { parents = true })
vm:mkdir("/ks/net")
put("/ks/timers/good", "echo TAP version 13; echo 1..2; echo ok 1 one; echo 'ok 2 two # SKIP no clock'; pwd >where")
put("/ks/net/skips.sh", "echo 'SKIP: no device'; exit 4")
put("/ks/net/plain.sh", "[ \"$COLOUR\" = blue ]")
vm:write_file("/ks/timers/settings", "# of the runner\ntimeout=90\n")
vm:write_file("/ks/kselftest-list.txt", "timers:good\ntimers:gone\nnet:skips.sh\nnet:plain.sh\n")

local all = provium.kselftest(vm, "/ks", { env = { COLOUR = "blue" } })

test("the results of a tree", function()
    local short = {}
    for i, e in ipairs(all) do short[i] = e.name .. " " .. e.outcome end
    assert_eq({ "timers:good pass", "timers:gone skip", "net:skips.sh skip", "net:plain.sh pass" }, short)
    assert_eq({ { number = 1, name = "one", outcome = "pass" }, { number = 2, name = "two", outcome = "skip", reason = "no clock" } },
        all[1].results)
    assert_eq("/ks/timers\n", vm:read_file("/ks/timers/where"))
    assert_contains(all[2].reason, "is not built")
    assert_contains(all[3].reason, "SKIP: no device")
end)

local one = provium.kselftest(vm, "/ks/net/", { only = { "plain.sh" }, env = { COLOUR = "blue" } })
test("one program of a collection", function()
    assert_eq({ 1, "net:plain.sh", "pass" }, { #one, one[1].name, one[1].outcome })
end)

vm:mkdir("/made")
put("/made/a", "exit 0")
put("/made/helper", "exit 1")
vm:write_file("/made/Makefile", "TEST_GEN_PROGS := $(OUTPUT)/a \\\n\tb # c\nTEST_GEN_FILES := helper\ninclude ../lib.mk\n")
local made = provium.kselftest(vm, "/made")
test("a directory with a Makefile", function()
    assert_eq({ 2, "made:a", "pass", "made:b", "skip" }, { #made, made[1].name, made[1].outcome, made[2].name, made[2].outcome })
end)

test("wrong directories", function()
    assert_error(function() provium.kselftest(vm, "/none") end, "the guest has no directory '/none'")
    assert_error(function() provium.kselftest(vm, "/made", { only = { "zz" } }) end, "'/made' has no program 'zz'")
    vm:mkdir("/empty")
    assert_error(function() provium.kselftest(vm, "/empty") end, "'/empty' has no program")
end)

vm:shutdown()
