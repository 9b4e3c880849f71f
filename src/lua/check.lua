-- SPDX-License-Identifier: MIT
-- rec:check: every state of a recording, each on a clone of a VM. The chunk's argument is the table of check.c.
local host = ...
local type, pairs, ipairs, pcall, error, tostring = type, pairs, ipairs, pcall, error, tostring
local tconcat, tsort = table.concat, table.sort

local MINIMISE_LIMIT, NAME_MAX, NUMBERED = 64, 20, 12
local BLKRRPART, O_RDONLY_CLOEXEC = 0x125f, 0x80000

-- The options of rec:states among those of check.
local function options_of_states(opts)
    local of_states = {}
    for key, value in pairs(opts or {}) do
        if key ~= "stop" and key ~= "jobs" then of_states[key] = value end
    end
    return of_states
end

local function call_of(number, of_states)
    local text = {}
    for key, value in pairs(of_states) do
        text[#text + 1] = ("%s=%s"):format(key, type(value) == "string" and '"' .. value .. '"' or tostring(value))
    end
    tsort(text)
    return ("rec:state(%d, {%s})"):format(number, tconcat(text, ", "))
end

-- The call that gives a state which is not in the iteration itself: its content may be.
local function call_of_smallest(state, of_states)
    local number = host.state_number(state, of_states)
    if number then return call_of(number, of_states) end
    local all = {at = "write", exhaustive = NUMBERED}
    number = host.state_number(state, all)
    return number and call_of(number, all)
end

-- An empty disk for states of the recorded one: its name is that one's unless the VM has it.
local function attach(vm, state, name)
    local new, n = name, 1
    while pcall(vm.disk, vm, new) do
        local suffix = n == 1 and ".state" or ".state" .. n
        new, n = name:sub(1, NAME_MAX - #suffix) .. suffix, n + 1
    end
    local size, sector = host.shape(state:disk(name))
    local disk = vm:attach_disk{name = new, size = size, sector = sector}
    return {name = new, device = disk:device()}
end

-- Snapshot of a clone to which disks for the states are attached: each state's clone then only gets their content.
local function prepare(c, state)
    local snapshot <close> = c.vm:snapshot()
    local clone <close> = c.vm:clone(snapshot)
    for _, name in ipairs(c.names) do c.attached[name] = attach(clone, state, name) end
    local with_disks = clone:snapshot()
    clone:kill()
    return with_disks
end

-- The clone's disk gets the state, and its kernel forgets what it knows of the disk, partitions too.
local function insert(clone, attached, state)
    host.set(clone, attached.name, state)
    local fd = clone:syscall_buf("open", 0, attached.device .. "\0", 0, O_RDONLY_CLOEXEC, 0)
    local r = fd < 0 and fd or clone:ioctl(fd, BLKRRPART)
    if fd >= 0 then clone:syscall("close", fd) end
    if r < 0 then error(("the clone cannot read %s anew: errno %d"):format(attached.device, -r), 0) end
    return clone:disk(attached.name)
end

-- Whether fn raises for the state, and with what; an error of the clone itself is raised.
local function try(c, state)
    local clone <close> = c.vm:clone(c.snapshot)
    local disks = {}
    for _, name in ipairs(c.names) do disks[name] = insert(clone, c.attached[name], state:disk(name)) end
    local ok, why = pcall(c.fn, clone, #c.names == 1 and disks[c.names[1]] or disks, state)
    if not ok and host.must_end(why) then error(why, 0) end
    clone:kill()
    return not ok, why
end

-- One of the functions that take states until there are no more, or one has failed.
local function worker(c)
    while not (c.stop and c.failures[1] or c.broken) do
        local state = c.next_state()
        if not state then return end
        host.step(("checking state %d of %d"):format(state.number, c.total))
        local done, failed, why = pcall(try, c, state)
        host.step(done and not failed)
        if not done then
            c.broken = c.broken or {state = state, why = failed}
        else
            c.checked = c.checked + 1
            if failed then c.failures[#c.failures + 1] = {state = state, why = why} end
        end
    end
end

-- The smallest failing state, its error, and why the search ended early.
local function minimise(c, failure)
    local why, broken = failure.why, nil
    host.step(("making failing state %d smaller"):format(failure.state.number))
    local small = host.minimise(failure.state, function(candidate)
        local done, failed, how = pcall(try, c, candidate)
        if not done then
            broken = host.error_text(failed)
            return nil
        end
        if failed then why = how end
        return failed
    end, MINIMISE_LIMIT)
    host.step(not broken)
    return small, why, broken
end

local function report(c, failure)
    local state = failure.state
    local small, why, broken = minimise(c, failure)
    local found, smallest = state:describe(), small:describe()
    local lines = {("state %d fails: %s"):format(state.number, smallest)}
    if smallest ~= found then lines[#lines + 1] = "  made smaller; it was found with " .. found end
    if broken then lines[#lines + 1] = "  not made as small as possible: " .. broken:gsub("\n", "\n  ") end
    lines[#lines + 1] = "  " .. host.error_text(why):gsub("\n", "\n  ")
    lines[#lines + 1] = "  again: " .. (call_of_smallest(small, c.of_states) or call_of(state.number, c.of_states))
    if smallest ~= found then lines[#lines + 1] = "  as found: " .. call_of(state.number, c.of_states) end
    return tconcat(lines, "\n")
end

-- Raises if the states that were looked at are no good result.
local function judge(c)
    tsort(c.failures, function(a, b) return a.state.number < b.state.number end)
    if #c.failures == 0 then
        if not c.broken then return end
        if host.must_end(c.broken.why) then error(c.broken.why, 0) end
        host.again(("check of state %d: %s"):format(c.broken.state.number, host.error_text(c.broken.why)), c.broken.why)
    end
    local lines = {}
    for i = 1, c.stop and 1 or #c.failures do lines[i] = report(c, c.failures[i]) end
    if c.broken then
        lines[#lines + 1] = ("state %d could not be checked: %s"):format(c.broken.state.number,
            host.error_text(c.broken.why))
    end
    host.raise(("%d of %d checked states fail%s; there are %d\n%s"):format(#c.failures, c.checked,
        c.stop and " (the first one is shown)" or "", c.total, tconcat(lines, "\n")))
end

return function(rec, vm, fn, opts, names)
    if not host.is_vm(vm) then host.misused("check needs a VM, of which it makes clones, got " .. host.describe(vm)) end
    if type(fn) ~= "function" then host.misused("check needs a function, got " .. host.describe(fn)) end
    local stop, jobs = host.options(opts)
    local of_states = options_of_states(opts)
    local total, first = 0, nil
    for state in rec:states(of_states) do total, first = state.number, first or state end
    if total == 0 then
        host.misused("check has looked at no state, so it knows nothing: nothing was recorded, or nothing was flushed; "
            .. "at = \"write\", samples or exhaustive find states between flushes")
    end
    local c = {vm = vm, fn = fn, names = names, attached = {}, of_states = of_states, stop = stop, total = total,
        next_state = rec:states(of_states), failures = {}, checked = 0}
    local snapshot <close> = prepare(c, first)
    c.snapshot = snapshot
    local fns = {}
    for i = 1, jobs < total and jobs or total do fns[i] = function() worker(c) end end
    provium.all(fns)
    judge(c)
    return {states = c.checked, failures = {}}
end
