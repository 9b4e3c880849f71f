-- A machine that goes down loses its disks while init runs, which must not end it: that is a panic.
local READS = [[#!/bin/bash
while :; do
    echo 3 >/proc/sys/vm/drop_caches
    /usr/bin/true
    /usr/bin/env true
done
]]

local function boot()
    local vm = provium.create("debian-reads")
    vm:boot({files = {["/root/reads"] = {content = READS, mode = "0755"}}})
    vm:mount_vfs()
    return vm
end

test("init reads its programs from the disk", function()
    local vm = boot()
    vm:reboot("120s")
    vm:reboot("120s")
    vm:shutdown({timeout = "60s"})
    for _ = 1, 3 do
        boot():shutdown({timeout = "60s"})
    end
end)
