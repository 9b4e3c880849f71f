-- SPDX-License-Identifier: MIT
-- rec:check: every state of a recording, each on a clone of a VM. The chunk's arguments are functions of recording.c:
-- raise(msg) for a failed check and misused(msg) for wrong arguments, with the position of the test's line;
-- step(text) opens a step of the timeline, step(ok) closes it; minimise(state, fails, limit).
local raise, misused, step, minimise = ...
local type, pairs, ipairs, pcall, tostring, tconcat, tsort = type, pairs, ipairs, pcall, tostring, table.concat, table.sort

local JOBS, JOBS_MAX, MINIMISE_LIMIT, NAME_MAX = 4, 64, 64, 20
local known = {at = "string", samples = "number", torn = "boolean", exhaustive = "number", seed = "number",
    stop = "boolean", jobs = "number"}

local function options(opts)
    local of_states, again = {}, {}
    if opts ~= nil and type(opts) ~= "table" then misused("check needs a table of options, got " .. type(opts)) end
    for key, value in pairs(opts or {}) do
        if not known[key] then
            misused(("unknown check option '%s'; known: at, samples, torn, exhaustive, seed, stop, jobs"):format(
                tostring(key)))
        elseif type(value) ~= known[key] then
            misused(("check option '%s' must be a %s, got %s"):format(key, known[key], type(value)))
        end
        if key ~= "stop" and key ~= "jobs" then
            of_states[key] = value
            again[#again + 1] = ("%s=%s"):format(key, type(value) == "string" and '"' .. value .. '"' or tostring(value))
        end
    end
    tsort(again)
    local jobs = opts and opts.jobs or JOBS
    if math.type(jobs) ~= "integer" or jobs < 1 or jobs > JOBS_MAX then
        misused(("check option 'jobs' must be an integer from 1 to %d"):format(JOBS_MAX))
    end
    return of_states, "{" .. tconcat(again, ", ") .. "}", jobs, not (opts and opts.stop == false)
end

-- The clone's disk with the state: its name is the recorded one's unless the VM has that.
local function attach(clone, state, name)
    local taken = pcall(clone.disk, clone, name)
    local new = taken and (name:sub(1, NAME_MAX - 6) .. ".state") or name
    return clone:attach_disk{name = new, state = state:disk(name)}
end

return function(rec, vm, fn, opts, names)
    if type(vm) ~= "userdata" then misused("check needs a VM, of which it makes clones, got " .. type(vm)) end
    if type(fn) ~= "function" then misused("check needs a function, got " .. type(fn)) end
    local of_states, again, jobs, stop = options(opts)
    local next_state = rec:states(of_states)
    local snapshot = vm:snapshot()
    local failures, checked, first = {}, 0, nil

    -- Whether fn raises for the state, and with what; an error of the clone itself is raised.
    local function try(state)
        local clone <close> = vm:clone(snapshot)
        local disks = {}
        for _, name in ipairs(names) do disks[name] = attach(clone, state, name) end
        local ok, why = pcall(fn, clone, #names == 1 and disks[names[1]] or disks, state)
        clone:kill()
        return not ok, why
    end

    local function worker()
        while not (stop and first) do
            local state = next_state()
            if not state then return end
            step(("checking state %d"):format(state.number))
            local done, failed, why = pcall(try, state)
            step(done)
            if not done then raise(("check of state %d: %s"):format(state.number, tostring(failed))) end
            checked = checked + 1
            if failed then
                failures[#failures + 1] = {state = state, why = why}
                if not first or state.number < first then first = state.number end
            end
        end
    end

    local fns = {}
    for i = 1, jobs do fns[i] = worker end
    provium.all(fns)
    if checked == 0 then
        misused("check has looked at no state, so it knows nothing: nothing was recorded, or nothing was flushed; "
            .. "at = \"write\", samples or exhaustive find states between flushes")
    end
    if #failures == 0 then return {states = checked, failures = {}} end
    tsort(failures, function(a, b) return a.state.number < b.state.number end)
    local lines = {}
    for i, f in ipairs(failures) do
        if stop and i > 1 then break end
        step(("making state %d smaller"):format(f.state.number))
        local small = minimise(f.state, function(candidate) return (try(candidate)) end, MINIMISE_LIMIT)
        step(true)
        lines[#lines + 1] = ("state %d fails: %s\n  %s\n  again: rec:state(%d, %s)"):format(f.state.number,
            small:describe(), tostring(f.why):gsub("\n", "\n  "), f.state.number, again)
    end
    raise(("%d of %d checked states fail%s\n%s"):format(#failures, checked, stop and " (the first one is shown)" or "",
        tconcat(lines, "\n")))
end
