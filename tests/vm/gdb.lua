-- boot{gdb = true}: the kernel waits for a debugger; a small client speaks gdb's protocol.

local client = [[
import glob, os, socket, sys, time
end = time.time() + 120
while not glob.glob(sys.argv[1]) and time.time() < end: time.sleep(0.1)
s = socket.socket(socket.AF_UNIX)
s.settimeout(120)
s.connect(glob.glob(sys.argv[1])[0])
def tell(text):
    s.sendall(b"+$" + text + b"#%02x" % (sum(text) & 255))
def hear():
    got = b""
    while got[-3:-2] != b"#": got += s.recv(1)
    return got[got.index(b"$") + 1:-3]
def ask(text):
    tell(text)
    return hear()
open(sys.argv[2], "w").write(ask(b"?").decode())
tell(b"c")
if len(sys.argv) == 4:
    while not os.path.exists(sys.argv[3]): time.sleep(0.1)
    s.sendall(b"\3")
    hear()
    for cpu in (b"1", b"2"):
        ask(b"Hg" + cpu)
        registers = bytearray.fromhex(ask(b"g").decode()) # 16 of 8 bytes, rip, eflags
        registers[137] &= ~2 # interrupts are off
        ask(b"G" + registers.hex().encode())
        ask(b"M%x,2:ebfe" % int.from_bytes(registers[128:136], "little")) # the next instruction jumps to itself
    tell(b"c")
time.sleep(60)
]]

if not os.execute("command -v python3 >/dev/null") then
    test("a debugger", function() skip("python3 is not installed") end)
    return
end

local out, script, now = os.tmpname(), os.tmpname(), os.tmpname()
os.remove(now)
local f = assert(io.open(script, "w"))
f:write(client)
f:close()
defer(function() os.remove(out) os.remove(script) os.remove(now) end)

test("the kernel waits for a debugger, whose continue starts it", function()
    local vm = provium.create("minimal", { name = "debugged" })
    local boot = provium.async(function() vm:boot({ gdb = true, append = "quiet" }) end)
    provium.sleep("2s")
    assert_eq(false, boot:done())
    assert_eq("", vm:console():log()) -- nothing has run
    local dir = (os.getenv("TMPDIR") or "/tmp") .. "/provium-*/*/debugged.gdb"
    os.execute(("timeout 90 python3 %s '%s' %s >/dev/null 2>&1 &"):format(script, dir, out))
    boot:wait(180)
    assert_contains(io.open(out):read("a"), "T05") -- stopped by a signal, as gdb's protocol says it
    assert_contains(vm:read_file("/proc/cmdline"), "nokaslr")
    assert(vm:exec("true").ok)
    vm:reset("120s")
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

test("CPUs that spin with interrupts off stand still", function()
    local vm = provium.create("minimal", { name = "spinning" })
    local boot = provium.async(function() vm:boot({ gdb = true, cpus = 2, timeout = "3m" }) end)
    local dir = (os.getenv("TMPDIR") or "/tmp") .. "/provium-*/*/spinning.gdb"
    os.execute(("timeout 180 python3 %s '%s' %s %s >/dev/null 2>&1 &"):format(script, dir, out, now))
    boot:wait(180)
    for _ = 1, 4 do vm:start("while :; do :; done") end -- no CPU is halted when the debugger comes
    assert(vm:exec("sleep 4; true").ok) -- a guest that computes does not
    assert(io.open(now, "w")):close()
    local why = assert_error(function() vm:exec("sleep 200", { timeout = "5m" }) end)
    assert_contains(why, "stands still: all its CPUs repeat the same few instructions with interrupts off (CPU 0 at ")
    assert_contains(why, "CPU 1 at ")
end)
