-- SPDX-License-Identifier: MIT
-- The frames of a test file that has stopped, for its prompt (repl.lua). Arguments: the thread that has stopped, and
-- say(text). Returns a table: env, the names that a chunk sees; backtrace, locals and select, the words of the prompt.

local thread, say_text = ...
local LEVELS_MAX, SHOWN_MAX = 200, 400

local frames, current = {}, 1
for level = 0, LEVELS_MAX do
    local info = debug.getinfo(thread, level, "Slnf")
    if not info then break end
    if info.currentline > 0 and info.source:sub(1, 8) ~= "=provium" then
        frames[#frames + 1] = {level = level, info = info}
    end
end

-- The variable `name` of a frame: true, its value, and a function that sets it. The last local of a name hides the
-- others.
local function variable_of(frame, name)
    local found
    for i = 1, 250 do
        local n = debug.getlocal(thread, frame.level, i)
        if not n then break end
        if n == name then found = i end
    end
    if found then
        local _, value = debug.getlocal(thread, frame.level, found)
        return true, value, function(v) debug.setlocal(thread, frame.level, found, v) end
    end
    for i = 1, 250 do
        local n, value = debug.getupvalue(frame.info.func, i)
        if not n then return end
        if n == name then return true, value, function(v) debug.setupvalue(frame.info.func, i, v) end end
    end
end

-- The same of the current frame, else of its callers: a test's function sees only the file's locals that it uses.
local function variable(name)
    for i = current, #frames do
        local there, value, set = variable_of(frames[i], name)
        if there then return true, value, set end
    end
end

local env = {}
function env.print(...)
    local words = table.pack(...)
    for i = 1, words.n do words[i] = tostring(words[i]) end
    say_text(table.concat(words, "\t") .. "\n")
end
setmetatable(env, {
    __index = function(_, name)
        local there, value = variable(name)
        if there then return value end
        return _G[name]
    end,
    __newindex = function(_, name, value)
        local there, _, set = variable(name)
        if there then set(value) else _G[name] = value end
    end,
})

local M = {env = env}

function M.backtrace(say)
    for i, f in ipairs(frames) do
        say("%s %d  %s:%d%s", i == current and ">" or " ", i, f.info.short_src, f.info.currentline,
            f.info.name and "  in " .. f.info.name or "")
    end
    return true
end

function M.locals(say, show)
    local frame = frames[current]
    local function tell(name, value)
        if name:sub(1, 1) ~= "(" and name ~= "_ENV" then
            local text = show(value)
            say("%s = %s", name, #text > SHOWN_MAX and text:sub(1, SHOWN_MAX) .. "..." or text)
        end
    end
    for i = 1, 250 do
        local name, value = debug.getlocal(thread, frame.level, i)
        if not name then break end
        tell(name, value)
    end
    for i = 1, 250 do
        local name, value = debug.getupvalue(frame.info.func, i)
        if not name then break end
        tell(name, value)
    end
    return true
end

function M.select(number, say)
    if not number or not frames[number] then
        say("frame N: N is from 1 to %d; bt lists the frames", #frames)
        return false
    end
    current = number
    return M.backtrace(say)
end

return M
