-- Every state in which a power failure could have left a disk, each looked at in a VM of its own.

local vm = provium.create("minimal")
vm:boot{transport = "serial", disks = {{name = "data", size = "16M"}}}
local disk = vm:disk("data")

-- A toy journal: block 1 is the record, block 0 says "committed".
local function write(block, letter, flags)
    vm:sh(("yes %s | head -c 4096 | dd of=%s bs=4096 seek=%d count=1 iflag=fullblock oflag=direct %s 2>/dev/null"):format(
        letter, disk:device(), block, flags or ""))
end

-- The check of a crashed disk: a commit without its record is corruption.
local function recover(clone, crashed)
    local function block(n)
        return clone:sh(("dd if=%s bs=4096 skip=%d count=1 2>/dev/null | head -c 1 | tr '\\0' -"):format(crashed:device(), n))
    end
    assert(block(0) ~= "C" or block(1) == "R", "committed, but the record is gone")
end

test("a commit that flushes its record first survives every crash", function()
    local rec = disk:record()
    write(1, "R", "conv=fsync")
    write(0, "C", "conv=fsync")
    rec:stop()
    local result = rec:check(vm, recover, {exhaustive = 4, jobs = 2})
    assert(result.states >= 3, result.states)
end)

test("one that forgets the flush does not, and check says which write was lost", function()
    disk:write(0, ("\0"):rep(8192))
    local rec = disk:record()
    write(1, "R")
    write(0, "C", "conv=fsync")
    rec:stop()
    local why = assert_error(function() rec:check(vm, recover, {exhaustive = 4, jobs = 2}) end)
    assert_contains(why, "the record is gone")
    assert_contains(why, "lost: write 1 of 2")
end)
