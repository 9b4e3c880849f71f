-- SPDX-License-Identifier: MIT
-- provium.kselftest: the programs of a kselftest directory of a guest, each a sub-test, and each result that a program
-- prints as TAP a sub-test in it. The chunk's arguments: raise(msg) for a failed check and misused(msg) for wrong
-- arguments, both with the position of the test's line.
local raise, misused = ...
local type, pairs, ipairs, pcall, tostring, tonumber, select, tconcat, tsort = type, pairs, ipairs, pcall, tostring,
    tonumber, select, table.concat, table.sort
local test, skip = test, skip

local RESULTS_MAX, DEPTH_MAX, NOTES_MAX, LINE_MAX = 5000, 4, 12, 400
local TIMEOUT = 45 -- seconds, as of kselftest's runner
local EXIT_SKIP = 4

-- ---- TAP ----

-- Prefixes of a nested document's lines: TAP 14, KTAP, tabs, and the comments that kselftest's runner makes of them.
local prefixes = { "    ", "  ", "\t", "# " }

local function begins_document(line)
    return line:find("^K?TAP version %d+%s*$") or line:find("^1%.%.%d+")
end

-- The directive behind an unescaped "#" and the description in front of it.
local function split_directive(text)
    local at = 0
    repeat
        at = text:find("#", at + 1, true)
    until not at or text:sub(at - 1, at - 1) ~= "\\"
    if not at then return text, nil, nil end
    local word, reason = text:sub(at + 1):match("^%s*(%a+)[:%s]*(.-)%s*$")
    word = word and word:upper()
    if word == "SKIPPED" then word = "SKIP" end
    if word ~= "SKIP" and word ~= "TODO" and word ~= "XFAIL" and word ~= "TIMEOUT" and word ~= "ERROR" then
        return text, nil, nil
    end
    return text:sub(1, at - 1), word, reason
end

local function parse_point(doc, ok, text)
    local number, rest = text:match("^%s+(%d+)(.*)$")
    if not number then
        if not text:find("^%s") and text ~= "" then return nil end -- "okay", "not okay"
        number, rest = #doc.points - doc.first + 1, text
    end
    if tostring(number):find("^%d%d%d%d%d%d%d%d%d") or (rest ~= "" and not rest:find("^[%s#]")) then return nil end
    local description, directive, reason = split_directive(rest)
    return { ok = ok, number = tonumber(number), directive = directive, reason = reason,
        name = description:gsub("^%s*%-?%s*", ""):gsub("%s+$", "") }
end

local function malformed(doc, ...)
    doc.error = doc.error or (...):format(select(2, ...))
end

local function new_document(depth)
    return { points = {}, notes = {}, depth = depth, first = 0 } -- first: points of whole documents before this one
end

local function close_child(doc)
    local child = doc.child
    doc.child, doc.child_prefix = nil, nil
    if child then doc.pending = child end
end

local function add_point(doc, point)
    local last = #doc.points > doc.first and doc.points[#doc.points]
    if #doc.points == RESULTS_MAX then return malformed(doc, "more than %d results", RESULTS_MAX) end
    if point.number ~= (last and last.number or 0) + 1 then
        malformed(doc, "result %d comes after %s", point.number, last and "result " .. last.number or "the start")
    end
    point.notes, doc.notes = doc.notes, {}
    point.child, doc.pending = doc.pending, nil
    doc.points[#doc.points + 1] = point
end

local function read_plan(doc, n, rest)
    if doc.plan then malformed(doc, "a second plan, 1..%s", n) end
    doc.plan = #n < 9 and tonumber(n) or -1
    if doc.plan == 0 then doc.skip = select(3, split_directive(rest)) or rest:gsub("^%s*#?%s*", "") end
end

-- A script that runs several programs prints their documents one behind the other.
local function read_version(doc)
    if doc.version and doc.plan and doc.plan == #doc.points - doc.first then
        doc.first, doc.plan = #doc.points, nil
    elseif doc.version or #doc.points > 0 then
        malformed(doc, "a version line in front of result %d", #doc.points + 1)
    end
    doc.version = true
end

local feed

-- True when the line belongs to a document in this one.
local function feed_child(doc, line)
    if doc.child then
        if line:sub(1, #doc.child_prefix) == doc.child_prefix then
            feed(doc.child, line:sub(#doc.child_prefix + 1))
            return true
        end
        close_child(doc)
    end
    for _, prefix in ipairs(prefixes) do
        if line:sub(1, #prefix) == prefix and begins_document(line:sub(#prefix + 1)) then
            if doc.depth == DEPTH_MAX then
                malformed(doc, "results are nested more than %d deep", DEPTH_MAX)
                return true
            end
            if doc.pending then malformed(doc, "nested results have no result of their own") end
            doc.child, doc.child_prefix, doc.pending = new_document(doc.depth + 1), prefix, nil
            feed(doc.child, line:sub(#prefix + 1))
            return true
        end
    end
    return false
end

feed = function(doc, line)
    if feed_child(doc, line) then return end
    local verdict, text = line:match("^(ok)(.*)$")
    if not verdict then verdict, text = line:match("^(not ok)(.*)$") end
    local point = verdict and parse_point(doc, verdict == "ok", text)
    if point then return add_point(doc, point) end
    if line:find("^K?TAP version %d+%s*$") then
        read_version(doc)
    elseif line:find("^1%.%.%d+") then
        read_plan(doc, line:match("^1%.%.(%d+)(.*)$"))
    elseif line:find("^Bail out!") then
        doc.bail = doc.bail or line:sub(10):gsub("^%s+", "")
    elseif line:find("%S") then
        doc.notes[#doc.notes % NOTES_MAX + 1] = line:sub(1, LINE_MAX)
        if #doc.notes == NOTES_MAX then table.remove(doc.notes, 1) end
    end
end

local function finish(doc)
    close_child(doc)
    local n = #doc.points
    doc.is_tap = doc.version or doc.plan ~= nil or n > 0 or doc.bail ~= nil
    for _, point in ipairs(doc.points) do
        if point.child then
            finish(point.child)
            if point.child.error then malformed(doc, "in result %d: %s", point.number, point.child.error) end
        end
    end
    if doc.pending then malformed(doc, "nested results have no result of their own") end
    if not doc.is_tap or doc.bail then return doc end
    if not doc.plan then
        malformed(doc, "%d results came, and no plan", n - doc.first)
    elseif doc.plan ~= n - doc.first then
        malformed(doc, "%d results were planned, %d came", doc.plan, n - doc.first)
    end
    return doc
end

local function parse(text)
    local doc = new_document(1)
    for line in (text:gsub("\r\n", "\n") .. "\n"):gmatch("(.-)\n") do feed(doc, (line:gsub("\r$", ""))) end
    return finish(doc)
end

-- ---- what is run ----

local known = { timeout = true, only = true, env = true }

local function check_options(opts)
    if opts ~= nil and type(opts) ~= "table" then
        misused("kselftest needs a table of options, got " .. type(opts))
    end
    opts = opts or {}
    for key in pairs(opts) do
        if not known[key] then
            misused(("unknown kselftest option '%s'; known: timeout, only, env"):format(tostring(key)))
        end
    end
    if opts.timeout ~= nil and type(opts.timeout) ~= "number" and type(opts.timeout) ~= "string" then
        misused("kselftest option 'timeout' must be a time such as 90 or \"2m\", got " .. type(opts.timeout))
    end
    if opts.only ~= nil and type(opts.only) ~= "table" then
        misused("kselftest option 'only' must be a list of names, got " .. type(opts.only))
    end
    for i, name in pairs(opts.only or {}) do
        if math.type(i) ~= "integer" or type(name) ~= "string" then
            misused(("kselftest option 'only' must be a list of names, got %s for %s"):format(type(name), tostring(i)))
        end
    end
    return opts
end

-- The programs that a Makefile of kselftest lists, as far as they are plain names; nil: there is none, or it has none.
local function of_makefile(vm, dir)
    local path, names, any = dir .. "/Makefile", {}, false
    if not vm:exists(path) then return nil end
    local text = vm:read_file(path):gsub("\\\n", " ")
    for line in text:gmatch("[^\n]+") do
        local words = line:match("^%s*TEST_PROGS%s*[:+?]?=(.*)$") or line:match("^%s*TEST_GEN_PROGS%s*[:+?]?=(.*)$")
        for word in (words or ""):gsub("#.*$", ""):gmatch("%S+") do
            word = word:gsub("^%$%(OUTPUT%)/", "")
            if word:find("[$%%()]") then return nil end
            names[#names + 1], any = word, true
        end
    end
    return any and names or nil
end

-- Every program of a directory that has no list.
local function of_directory(vm, dir)
    local names = {}
    for _, name in ipairs(vm:list(dir)) do
        local st = vm:stat(dir .. "/" .. name, { follow = true })
        if st and st.type == "file" and st.mode & 0x49 ~= 0 then names[#names + 1] = name end -- 0x49: --x--x--x
    end
    return names
end

-- kselftest-list.txt of an installed tree: a line "COLLECTION:PROGRAM" each.
local function of_list(vm, dir, only)
    local programs = {}
    for line in vm:read_file(dir .. "/kselftest-list.txt"):gmatch("[^\n]+") do
        local collection, name = line:match("^%s*([^:%s]+):(%S+)%s*$")
        if collection and (not only or collection == only) then
            programs[#programs + 1] = { dir = dir .. (only and "" or "/" .. collection), name = name, shown = collection .. ":" .. name }
            if only then programs[#programs].dir = dir .. "/" .. collection end
        elseif not collection and line:find("%S") then
            misused(("%s/kselftest-list.txt has a line '%.80s'; expected COLLECTION:PROGRAM"):format(dir, line))
        end
    end
    return programs
end

local function find_programs(vm, dir)
    local st = vm:stat(dir, { follow = true })
    if not st or st.type ~= "dir" then
        misused(("kselftest: the guest has no directory '%s'; take it there with vm:push or boot's files"):format(dir))
    end
    if vm:exists(dir .. "/kselftest-list.txt") then return of_list(vm, dir) end
    local above, name = dir:match("^(.*)/([^/]+)$")
    if name and vm:exists(above .. "/kselftest-list.txt") then
        local programs = of_list(vm, above, name)
        if #programs > 0 then return programs end
    end
    local programs = {}
    for _, program in ipairs(of_makefile(vm, dir) or of_directory(vm, dir)) do
        programs[#programs + 1] = { dir = dir, name = program, shown = (name or dir) .. ":" .. program }
    end
    return programs
end

-- The file `settings` of a collection: timeout=SECONDS, 0: none.
local function timeout_of(vm, dir, opts)
    if opts.timeout ~= nil then return opts.timeout end
    local path = dir .. "/settings"
    local seconds = vm:exists(path) and ("\n" .. vm:read_file(path)):match("\n%s*timeout%s*=%s*(%d+)")
    seconds = seconds and tonumber(seconds) or TIMEOUT
    return seconds > 0 and seconds or nil
end

-- ---- sub-tests of results ----

local outcomes = { SKIP = "skip", TODO = "xfail", XFAIL = "xfail" }

local function outcome_of(point)
    if point.directive == "TIMEOUT" then return "timeout" end
    if point.directive == "ERROR" then return "fail" end
    if point.child and point.child.bad > 0 then return "fail" end
    if point.directive == "SKIP" and not point.ok then return "fail" end
    if outcomes[point.directive] and (point.directive ~= "TODO" or not point.ok) then return outcomes[point.directive] end
    return point.ok and "pass" or "fail"
end

-- Counts the results that make a document fail, in it and in those that are nested.
local function judge(doc)
    doc.bad, doc.skipped = 0, 0
    for _, point in ipairs(doc.points) do
        if point.child then judge(point.child) end
        point.outcome = outcome_of(point)
        if point.outcome == "fail" or point.outcome == "timeout" then doc.bad = doc.bad + 1 end
        if point.outcome == "skip" then doc.skipped = doc.skipped + 1 end
    end
end

local function message_of(point)
    local lines = { point.ok and "its nested results failed" or "not ok" }
    if point.directive then lines[1] = ("%s # %s %s"):format(lines[1], point.directive, point.reason) end
    for _, note in ipairs(point.notes) do lines[#lines + 1] = note end
    return tconcat(lines, "\n")
end

local function report_points(doc)
    for _, point in ipairs(doc.points) do
        local opts = {}
        local reason = point.reason and point.reason ~= "" and point.reason or "the program says so"
        if point.outcome == "xfail" then opts.expect_fail = reason end
        test(("%d %s"):format(point.number, point.name), opts, function()
            if point.child then report_points(point.child) end
            if point.outcome == "skip" then skip(reason) end
            if point.outcome ~= "pass" then raise(message_of(point)) end
        end)
    end
end

local function tail(text)
    local lines = {}
    for line in tostring(text):gmatch("[^\n]+") do lines[#lines + 1] = "  " .. line:sub(1, LINE_MAX) end
    return #lines == 0 and "" or "\n" .. tconcat(lines, "\n", #lines > NOTES_MAX and #lines - NOTES_MAX + 1 or 1)
end

-- How a program ended, from its exit and its results: an outcome and a reason. Never "pass" on a doubt.
local function judge_program(r, doc)
    local last = tail(r.stdout) .. tail(r.stderr)
    local n = #doc.points
    if r.timed_out then
        return "timeout", ("timed out, killed after %.1f s; %d results had come%s"):format(r.duration, n, last)
    elseif doc.bail then
        return "fail", "bailed out: " .. doc.bail .. last
    elseif doc.error then
        return "malformed", "its output is not sound TAP: " .. doc.error .. last
    elseif doc.bad > 0 then
        return "fail", ("%d of %d results failed"):format(doc.bad, n)
    elseif r.exit_code == EXIT_SKIP and doc.skipped == n then
        return "skip", doc.skip ~= "" and doc.skip or (tail(r.stdout):match("[^\n]+$") or ""):gsub("^%s*#?%s*", "")
    elseif r.exit_code ~= 0 then
        return "fail", ("ended with exit code %d, although no result failed%s"):format(r.exit_code, last)
    elseif doc.plan == 0 or (n > 0 and doc.skipped == n) then
        return "skip", doc.skip and doc.skip ~= "" and doc.skip or "all of its results are skipped"
    end
    return "pass"
end

local function run_program(vm, program, opts)
    local path = program.dir .. "/" .. program.name
    if not vm:exists(path) then
        return { outcome = "skip", reason = "it is not built: there is no " .. path, results = {} }
    end
    local r = vm:exec({ path }, { cwd = program.dir, env = opts.env, timeout = timeout_of(vm, program.dir, opts) })
    local doc = parse(tostring(r.stdout))
    judge(doc)
    local outcome, reason = judge_program(r, doc)
    local results = {}
    for i, point in ipairs(doc.points) do
        results[i] = { number = point.number, name = point.name, outcome = point.outcome, reason = point.reason }
    end
    return { outcome = outcome, reason = reason, exit_code = r.exit_code, duration = r.duration, results = results,
        doc = doc }
end

-- Whether it has the methods that are used below: other objects raise for a name that they lack, or have nothing.
local function is_agent(vm)
    local ok, yes = pcall(function() return type(vm.exec) == "function" and type(vm.stat) == "function" end)
    return ok and yes and type(vm) ~= "string"
end

return function(vm, dir, opts, ...)
    if select("#", ...) > 0 then misused("provium.kselftest(vm, dir, opts?) takes no more arguments") end
    if not is_agent(vm) then
        misused("kselftest needs a VM or a worker, got " .. type(vm))
    end
    if type(dir) ~= "string" or dir:sub(1, 1) ~= "/" then
        misused("kselftest needs the absolute path of a directory of the guest, got " .. tostring(dir))
    end
    opts = check_options(opts)
    dir = #dir > 1 and dir:gsub("/+$", "") or dir
    local wanted, all = nil, {}
    for _, name in ipairs(opts.only or {}) do
        wanted = wanted or {}
        wanted[name] = true
    end
    local programs = find_programs(vm, dir)
    for _, program in ipairs(programs) do
        local short = wanted and wanted[program.name] and program.name
        if not wanted or short or wanted[program.shown] then
            if wanted then wanted[short or program.shown] = "found" end
            local entry = { name = program.shown, outcome = "fail", results = {} }
            all[#all + 1] = entry
            test(program.shown, function()
                local ran = run_program(vm, program, opts)
                local doc = ran.doc
                ran.doc = nil
                for key, value in pairs(ran) do entry[key] = value end
                if doc then report_points(doc) end
                if entry.outcome == "skip" then skip(entry.reason ~= "" and entry.reason or nil) end
                if entry.outcome ~= "pass" then raise(entry.reason) end
            end)
        end
    end
    for name, found in pairs(wanted or {}) do
        if found ~= "found" then misused(("kselftest: '%s' has no program '%s'"):format(dir, name)) end
    end
    if #all == 0 then misused(("kselftest: '%s' has no program"):format(dir)) end
    return all
end
