-- SPDX-License-Identifier: MIT
-- The prompt of `provium repl`, and of a test file that has stopped in the debugger. Arguments:
--
--   host   read(prompt, begun): the line behind those of `begun`; nil: the end; false: Ctrl-C. run(fn): true and fn's
--          results, or false and the text of its error; Ctrl-C ends it. say(text), and warn(text) for errors.
--          show(value). title: a line at the start, or nil. shell(vm): a shell in the VM. enter_ends: an empty line
--          ends the prompt
--   debug  nil, or frames of the stopped file (debug.lua)
--
-- Returns true when all chunks went well, and the word that ended the prompt: "end", "continue" or "quit".

local host, stopped = ...

local CHUNK = "=repl"
local env = stopped and stopped.env or _G

local function say(...) host.say(string.format(...) .. "\n") end
local function warn(text) host.warn(text .. "\n") end

-- ---- chunks ----

-- The function of a chunk; nil, "more": it is not complete; nil, message.
local function compile(text)
    local f = load("return " .. text, CHUNK, "t", env)
    if f then return f end
    local message
    f, message = load(text, CHUNK, "t", env)
    if f then return f end
    return nil, message:sub(-5) == "<eof>" and "more" or message
end

-- A local of a chunk would end with the chunk: one at the start of a line becomes a global, as a reader expects.
local function keep_locals(line)
    if line:find("^local%s+function%s") then return (line:gsub("^local%s+", "", 1)) end
    local names, rest = line:match("^local%s+([%w_%s,]+)=(.*)$")
    if names and rest:sub(1, 1) ~= "=" then return names .. "=" .. rest end
    names = line:match("^local%s+([%w_%s,]+)$")
    return names and names .. " = nil" or line
end

local function tell_values(n, ...)
    local shown = {}
    for i = 1, n do shown[i] = host.show((select(i, ...))) end
    if n > 0 then say("%s", table.concat(shown, "  ")) end
end

-- Runs the chunk f of text; whether it went well.
local function run(f, text)
    local globals = getmetatable(_G)
    if globals then globals.boots = text:find("^%s*vm%s*:%s*boot%f[%W]") ~= nil end
    local values = table.pack(host.run(f))
    if values[1] then
        tell_values(values.n - 1, table.unpack(values, 2, values.n))
        return true
    end
    warn(values[2])
    return false
end

-- ---- words that are no Lua ----

local function help()
    say("Lua is evaluated, and values are shown. Tab completes names and methods, Ctrl-C interrupts.")
    if stopped then
        say("  bt           the frames of the file      frame N     looks at one of them")
        say("  locals       the frame's variables, which are there by name and can be assigned to")
    else
        say("  vm           a VM, which boots when it is used first; provium.create() makes others")
    end
    if host.shell then say("  shell [VM]   a shell in a VM") end
    if stopped then
        say("  continue     goes on: the sub-test that failed stays failed")
        say("  quit         ends the file")
    else
        say("  exit         ends all VMs, as Ctrl-D does")
    end
end

-- The VM of `shell NAME`: a variable of that name, else the VM that is called so.
local function shell(name)
    local ok, vm = host.run(function()
        name = name ~= "" and name or "vm"
        local v = env[name]
        host.shell(v == nil and name or v)
    end)
    if not ok then warn(vm) end
    return ok
end

local words = {
    help = function() help() return true end,
    exit = function() return true, "end" end,
}
if stopped then
    words.bt = function() stopped.backtrace(say) return true end
    words.locals = function() stopped.locals(say, host.show) return true end
    words.frame = function(rest) return stopped.select(tonumber(rest), say) end
    words.continue = function() return true, "continue" end
    words.c, words.exit = words.continue, nil
    words.quit = function() return true, "quit" end
    words.q = words.quit
end
if host.shell then words.shell = shell end

-- The word's function and the rest of the line. `help = 1` and `bt()` are Lua.
local function word_of(line)
    local word, rest = line:match("^%s*(%a+)%s*([%w_]*)%s*$")
    local f = word and words[word]
    if f and (rest == "" or word == "frame" or word == "shell") then return f, rest end
end

-- ---- the prompt ----

local all_ok, left = true, nil
if host.title then say("%s", host.title) end
local text
while not left do
    local line = host.read(text and "   ...> " or stopped and "debug> " or "provium> ", text)
    if line == false then
        text = nil
    elseif line == nil then
        if text then
            local _, message = load(text, CHUNK, "t", env)
            warn(message)
            all_ok = false
        end
        left = stopped and "continue" or "end"
    else
        local f, rest
        if host.enter_ends and line == "" and not text then break end
        if not text then f, rest = word_of(line) end
        if f then
            local ok
            ok, left = f(rest)
            all_ok = all_ok and ok
        else
            text = text and text .. "\n" .. line or keep_locals(line)
            local chunk, message = compile(text)
            if chunk then
                all_ok = run(chunk, text) and all_ok
                text = nil
            elseif message ~= "more" then
                text = nil
                warn(message)
                all_ok = false
            end
        end
    end
end
return all_ok, left
