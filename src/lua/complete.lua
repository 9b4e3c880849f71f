-- SPDX-License-Identifier: MIT
-- Completion at a prompt: a function of the text up to the cursor and the table of globals; it returns the length of
-- the word to be completed and the list of what the word may become. It calls nothing of the user's.

local keywords = {"and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil",
    "not", "or", "repeat", "return", "then", "true", "until", "while"}

-- The tables in which the fields or methods of value are found.
local function sources(value, mt)
    local list = {}
    mt = mt or debug.getmetatable(value)
    if type(value) == "table" then list[1] = value end
    local index = type(mt) == "table" and rawget(mt, "__index")
    if type(index) == "table" then
        list[#list + 1] = index
    elseif type(index) == "function" then
        for i = 1, 2 do
            local _, up = debug.getupvalue(index, i)
            if type(up) == "table" then list[#list + 1] = up end
        end
    end
    return list
end

local function raw_field(value, key)
    for _, t in ipairs(sources(value)) do
        local v = rawget(t, key)
        if v ~= nil then return v end
    end
end

return function(text, globals, vm_type)
    local path, sep, word = text:match("([%a_][%w_%.]*)([%.:])([%a_]?[%w_]*)$")
    local names, found = {}, {}
    local function add(t)
        for k in next, t do
            if type(k) == "string" and k:sub(1, #word) == word and k:find("^[%a_][%w_]*$") and not found[k] then
                found[k] = true
                names[#names + 1] = k
            end
        end
    end
    if path then
        local value, known = globals, true
        for part in path:gmatch("[%a_][%w_]*") do
            value = raw_field(value, part)
            if value == nil then known = false break end
        end
        local mt = not known and path == "vm" and vm_type or nil -- before its first use
        if known or mt then for _, t in ipairs(sources(value, mt)) do add(t) end end
    else
        word = text:match("[%a_][%w_]*$") or ""
        if word ~= "" then
            for _, k in ipairs(keywords) do add({[k] = true}) end
            for _, t in ipairs(sources(globals)) do add(t) end
            add({vm = true})
        end
    end
    table.sort(names)
    return #word, names
end
