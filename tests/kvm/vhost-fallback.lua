-- Provium's own vsock device, where the kernel's vhost-vsock cannot be had. The tests change the host: they are for the
-- emulated machine of scripts/check-kvm, which loads the module.

if not io.open("/kvm/run") then skip("only in the emulated machine of scripts/check-kvm") end

local DEVICE = "/dev/vhost-vsock"

do
    local f <close> = io.open(DEVICE, "r+")
    if not f then skip(DEVICE .. " cannot be opened here") end
end

local function sh(command)
    local p <close> = assert(io.popen("(" .. command .. ") 2>&1"))
    return p:read("a")
end

local program = sh("readlink /proc/$PPID/exe"):trim()
local dir = sh("mktemp -d"):trim()
defer(function() sh("rm -rf " .. dir) end)

local config = sh("pwd"):trim() .. "/tests/kvm/provium.toml"

-- A run of a file with this text, in the background; its process ID is in dir/NAME.pid. What it returns waits for the
-- run's end, and returns exit code and output.
local function run(name, text, as)
    local function write(ext, data)
        local f <close> = assert(io.open(dir .. "/" .. name .. ext, "w"))
        f:write(data)
    end
    write(".lua", text)
    write(".sh", ([[
        cd '%s' && echo $$ >%s.pid || exit 9
        export PROVIUM_DEBUG=1 HOME=$PWD TMPDIR=$PWD XDG_CACHE_HOME=$PWD/cache-%s
        exec '%s' test -v --accel kvm --config '%s' --timeout 4m %s.lua]])
        :format(dir, name, name, program, config, name))
    local p = io.popen(("%s 'sh %s/%s.sh' >%s/%s.out 2>&1; echo $?"):format(as or "sh -c", dir, name, dir, name))
    return function()
        local code = tonumber(p:read("a"))
        p:close()
        return code, sh("cat " .. dir .. "/" .. name .. ".out")
    end
end

local whole = [[
    local vm = provium.create()
    vm:boot({ transport = "vsock" })
    assert_eq("own\n", vm:exec("echo own").stdout.value)]]

local function gets_own_device(name, reason, as)
    local doctor = sh(("%s '%s doctor'"):format(as or "sh -c", program))
    assert_contains(doctor, "vhost-user-vsock: Provium's own device (" .. reason)
    local code, out = run(name, whole, as)()
    assert(code == 0, out)
    assert_contains(out, "no vhost-vsock: " .. reason)
    assert_contains(out, "transport: vhost-user-vsock\n")
end

test("the kernel's device is used", function()
    local code, out = run("kernel", whole)()
    assert(code == 0, out)
    assert_contains(out, "transport: vhost-vsock\n")
    local vm = provium.create()
    vm:boot({ transport = "vsock" })
    vm:kill() -- a VM of the module would keep it
end)

test("another user, without a permission for the device", { timeout = "5m" }, function()
    sh("chmod 666 /dev/kvm; chmod 1777 " .. dir)
    local reason = "no permission for " .. DEVICE .. ": add yourself to the group kvm"
    gets_own_device("user", reason, "su -s /bin/sh nobody -c")
end)

test("the module is unloaded", { timeout = "6m" }, function()
    local out
    for _ = 1, 90 do -- the kernel keeps a socket that was closed while it connected
        out = sh("rmmod vhost_vsock")
        if out == "" then break end
        provium.sleep("1s")
    end
    assert_eq("", out)
    defer(function() sh("insmod /kvm/vhost_vsock.ko") end)
    gets_own_device("module", DEVICE .. " does not exist here: the kernel module vhost_vsock is not loaded")
end)
