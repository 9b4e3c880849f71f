-- boot{gdb = true}: the kernel waits for a debugger; a small client speaks gdb's protocol.

local client = [[
import glob, os, socket, sys, time
end = time.time() + 120
while not glob.glob(sys.argv[1]) and time.time() < end: time.sleep(0.1)
s = socket.socket(socket.AF_UNIX)
s.settimeout(120)
s.connect(glob.glob(sys.argv[1])[0])
def ask(text):
    s.sendall(b"+$" + text + b"#%02x" % (sum(text) & 255))
ask(b"?")
got = b""
while b"#" not in got: got += s.recv(100)
open(sys.argv[2], "w").write(got.decode())
ask(b"c")
time.sleep(60)
]]

if not os.execute("command -v python3 >/dev/null") then
    test("a debugger", function() skip("python3 is not installed") end)
    return
end

local out, script = os.tmpname(), os.tmpname()
local f = assert(io.open(script, "w"))
f:write(client)
f:close()
defer(function() os.remove(out) os.remove(script) end)

test("the kernel waits for a debugger, whose continue starts it", function()
    local vm = provium.create("minimal", { name = "debugged" })
    local boot = provium.async(function() vm:boot({ gdb = true, append = "quiet" }) end)
    provium.sleep("2s")
    assert_eq(false, boot:done())
    assert_eq("", vm:console():log()) -- nothing has run
    local dir = (os.getenv("TMPDIR") or "/tmp") .. "/provium-*/*/debugged.gdb"
    os.execute(("timeout 90 python3 %s '%s' %s >/dev/null 2>&1 &"):format(script, dir, out))
    boot:wait(180)
    assert_contains(io.open(out):read("a"), "$T05") -- stopped by a signal, as gdb's protocol says it
    assert_contains(vm:read_file("/proc/cmdline"), "nokaslr")
    assert(vm:exec("true").ok)
    local ls = io.popen("ls " .. dir .. " 2>/dev/null"):read("a")
    assert_contains(ls, "debugged.gdb")
    vm:kill()
    assert_eq("", io.popen("ls " .. dir .. " 2>/dev/null"):read("a"))
end)

test("a debugger that never comes: the boot ends at its own limit", function()
    local vm = provium.create("minimal")
    assert_error(function() vm:boot({ gdb = true, timeout = "1s" }) end, "cannot boot vm%d+ %(minimal%) within 1 s")
    assert_error(function() vm:boot({ gdb = 1 }) end, "'gdb' must be true or false")
end)
