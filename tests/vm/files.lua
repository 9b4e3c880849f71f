-- Injected files: contents, mode, directories, through the guest's own links.

local dir = os.tmpname()
os.remove(dir)
assert(os.execute("mkdir -p " .. dir .. "/tree/empty " .. dir .. "/tree/sub"))
local function host(name, data, mode)
    local f = assert(io.open(dir .. "/" .. name, "wb"))
    f:write(data)
    f:close()
    assert(os.execute(string.format("chmod %s '%s/%s'", mode, dir, name)))
end
local all = {}
for i = 0, 255 do all[#all + 1] = string.char(i) end
local bytes = table.concat(all)
host("bytes", bytes:rep(1000), "644")
host("tool", "#!/bin/sh\necho tool says $1\n", "755")
host("secret", "s", "600")
host("tree/a b", "spaces", "640")
host("tree/sub/x", "deep", "644")
assert(os.execute("ln -s sub/x " .. dir .. "/tree/link"))

local function check(vm)
    assert_eq(bytes:rep(1000), vm:read_file("/etc/deep/er/bytes"))
    assert_eq("tool says hi", vm:exec({ "/usr/bin/mytool", "hi" }).stdout.trim())
    assert_eq("600", vm:exec("stat -c %a /secret").stdout.trim())
    assert_eq("0:0", vm:exec("stat -c %u:%g /secret").stdout.trim())
    assert_eq("spaces", vm:read_file("/opt/tree/a b"))
    assert_eq("640", vm:exec("stat -c %a '/opt/tree/a b'").stdout.trim())
    assert_eq("deep", vm:read_file("/opt/tree/sub/x"))
    assert_eq("sub/x", vm:exec("readlink /opt/tree/link").stdout.trim())
    assert_eq(true, vm:exec("test -d /opt/tree/empty").ok)
end

local files = {
    ["/etc/deep/er/bytes"] = dir .. "/bytes",
    ["/usr/bin/mytool"] = dir .. "/tool",
    ["/secret"] = dir .. "/secret",
    ["/opt/tree"] = dir .. "/tree",
}

test("into an initramfs", function()
    local vm = provium.create("minimal")
    vm:boot({ files = files })
    check(vm)
    vm:shutdown()
end)

test("into a root image, through its links", function()
    local vm = provium.create("root-ext4")
    files["/linked/here"] = dir .. "/secret"
    vm:boot({ files = files })
    check(vm)
    assert_eq("s", vm:read_file("/usr/share/linked/here"))
    vm:shutdown()
end)

test("a file that init itself needs is there before init", function()
    host("inittab", "::sysinit:/bin/touch /tmp/from-inittab\n", "644")
    local vm = provium.create("minimal")
    vm:boot({ files = { ["/etc/inittab"] = dir .. "/inittab" } })
    assert_eq(true, vm:exec("for i in 1 2 3 4 5 6 7 8 9 10; do test -e /tmp/from-inittab && exit 0; sleep 0.3; done; exit 1").ok)
    vm:shutdown()
end)

test("bad entries are refused before QEMU starts", function()
    local vm = provium.create("minimal")
    assert_error(function() vm:boot({ files = { ["/x"] = dir .. "/not-there" } }) end, "not%-there")
    assert_error(function() vm:boot({ files = { ["relative"] = dir .. "/tool" } }) end, "relative")
    assert_error(function() vm:boot({ files = { ["/a/../../b"] = dir .. "/tool" } }) end, "%.%.")
end)

os.execute("rm -rf " .. dir)
