-- Fixtures: a resumed VM has the fixture's state and its own clock, and does not see another VM of the fixture.

local image = "build/test-images/root.ext4"

local function sum(path)
    local p <close> = assert(io.popen("sha256sum <" .. path))
    return p:read("a")
end

local image_before = sum(image)
local vm = provium.fixture("prepared")

test("memory, mounts, disks and processes are the fixture's", function()
    assert_eq("from the fixture\n", vm:read_file("/ram/mark"))
    assert_eq("from the fixture\n", vm:read_file("/disk/mark"))
    assert_eq("injected\n", vm:read_file("/etc/injected/file"))
    assert(vm:exec("kill -0 $(cat /ram/pid)").ok)
    assert_contains(vm:exec("cat /proc/meminfo").stdout, "MemTotal:         2")
end)

test("the clock is the host's", function()
    for _ = 1, 3 do
        local before = os.time()
        local guest = tonumber(vm:exec("date +%s").stdout.trim())
        assert(guest >= before - 1 and guest <= os.time() + 1, "the guest's clock is " .. guest - before .. " s off")
    end
end)

test("two VMs of a fixture do not see each other", function()
    local other = provium.fixture("prepared")
    for i, v in ipairs({ vm, other }) do
        assert(v:exec(("for f in 1 2 3; do echo %d >/ram/$f; echo %d >/disk/$f; done; sync"):format(i, i)).ok)
        assert(v:exec(("printf sector-of-%d | dd of=/dev/vda bs=512 seek=40000 conv=fsync 2>/dev/null"):format(i)).ok)
    end
    for i, v in ipairs({ vm, other }) do
        assert_eq(tostring(i), v:exec("cat /ram/3").stdout.trim())
        assert_eq(tostring(i), v:exec("echo 3 >/proc/sys/vm/drop_caches; cat /disk/3").stdout.trim())
        assert_eq("sector-of-" .. i, v:exec("dd if=/dev/vda bs=512 skip=40000 count=1 2>/dev/null | head -c 11").stdout)
    end
    local function random(v) return v:exec("head -c 32 /dev/urandom | od -An -tx1").stdout.value end
    assert_ne(random(vm), random(other))
    other:kill()
    assert_eq("1", vm:exec("cat /ram/3").stdout.trim())
end)

test("a third VM starts as the first one did", function()
    local third <close> = provium.fixture("prepared")
    assert_eq(false, third:exec("test -e /ram/1").ok)
    assert_eq(false, third:exec("test -e /disk/1").ok)
    assert_eq("from the fixture\n", third:read_file("/disk/mark"))
end)

test("a fixture from a fixture", function()
    local above <close> = provium.fixture("above")
    assert_eq("above\n", above:read_file("/ram/above"))
    assert_eq("above\n", above:read_file("/disk/above"))
    assert_eq("from the fixture\n", above:read_file("/disk/mark"))
    assert_eq(false, provium.fixture("prepared"):exec("test -e /ram/above").ok)
end)

test("everything that a VM can do", function()
    local v <close> = provium.fixture("prepared")
    local job = v:background("echo out; sleep 0.1; exit 3")
    local w = v:spawn()
    assert_eq(0, w:exec("id -u").exit_code)
    assert_eq(3, v:job_wait(job, 10).exit_code)
    v:write_file("/tmp/big", ("x"):rep(1 << 20))
    assert_eq(1 << 20, #v:read_file("/tmp/big"))
    w:kill()
    v:shutdown()
    assert_contains(tostring(v), "shut down")
end)

test("the host's image is unchanged", function() assert_eq(image_before, sum(image)) end)

test("a script that fails", function()
    local why = assert_error(function() provium.fixture("failing") end, "fixture 'failing' failed")
    assert_contains(why, "tests/vm/fixtures/failing.lua:6: it can not be made")
end)

test("wrong calls", function()
    assert_error(function() provium.fixture() end, "the fixture's name must be a string, got no")
    assert_error(function() provium.fixture("prepard") end, "did you mean 'prepared'")
    assert_error(function() provium.fixture("prepared.lua") end, "called by its name")
    assert_error(function() provium.fixture("../vm/fixtures/prepared") end, "is a path")
    assert_error(function() provium.fixture("prepared", { timout = 3 }) end, "did you mean 'timeout'")
    assert_error(function() provium.depends() end, "provium.depends needs")
    assert_error(function() provium.depends("no/such/file") end, "does not exist")
    provium.depends("tests/vm/fixture.lua")
end)
