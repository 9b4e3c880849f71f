-- Debian 13's kernel on Debian 12 and the other way round (tests/make-other-kernel): one boot, then its saved state.
local f = io.open("../build/other-kernel/VERSION") or io.open("build/other-kernel/VERSION")
if not f then skip("build/other-kernel is not there: run tests/make-other-kernel") end
local version = f:read("l")
f:close()

local lan = provium.network("lan")
local a = provium.fixture("other-kernel", { nets = { lan } })

test("the fixture: the kernel, files and commands", function()
    assert_eq(version, a:exec({ "uname", "-r" }).stdout:trim())
    assert_eq("yes", a:read_file("/root/prepared"))
    a:write_file("/tmp/bytes", ("x"):rep(1 << 20))
    assert_eq(tostring(1 << 20), a:sh("stat -c %s /tmp/bytes"):trim())
    assert_eq(3, a:exec("exit 3").exit_code)
end)

test("a clone, a restore, and the network between two VMs", function()
    local s = a:snapshot()
    local b = a:clone(s)
    assert_eq(1 << 20, #b:read_file("/tmp/bytes"))
    b:remove("/tmp/bytes")
    assert(a:exists("/tmp/bytes") and not b:exists("/tmp/bytes"))
    assert(b:exec({ "ping", "-c", "1", "-W", "20", a:ip(lan) }).ok)
    b:restore(s)
    assert(b:exists("/tmp/bytes"))
    b:kill()
end)

test("a reset", function()
    a:reset("120s")
    assert(not a:exists("/root/prepared"))
    assert_eq(version, a:exec({ "uname", "-r" }).stdout:trim())
end)
