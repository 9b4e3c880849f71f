-- SPDX-License-Identifier: MIT
-- Completion at a prompt: a function of the text up to the cursor and the table of globals; it returns the length of
-- the word to be completed and the list of what the word may become. It calls nothing of the user's. The argument of the
-- chunk is the table of options that scripts/lua-stubs.py makes of the reference.

local options = ...

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

-- ---- options: vm:boot({memo ----

-- The end of the string or comment that begins at position i of text, nil: none does; and what stands for it.
local function quoted(text, i)
    local quote = text:match("^[\"']", i)
    if quote then
        local at = i + 1
        while at <= #text and text:sub(at, at) ~= quote do
            at = at + (text:sub(at, at) == "\\" and 2 or 1)
        end
        return at, "'"
    end
    if text:find("^%-%-", i) then return text:find("\n", i, true) or #text + 1, " " end
    local level = text:match("^%[(=*)%[", i)
    if level then return select(2, text:find("]" .. level .. "]", i, true)) or #text + 1, "'" end
end

-- The text without what is in strings and comments, of which nothing is completed: nil within one.
local function bare(text)
    local out, i = {}, 1
    while i <= #text do
        local last, mark = quoted(text, i)
        if last and last > #text then return nil end
        out[#out + 1] = last and mark or text:sub(i, i)
        i = (last or i) + 1
    end
    return table.concat(out)
end

-- The positions of the brackets that are open at the end of a bare text.
local function open_brackets(text)
    local stack = {}
    for i, c in text:gmatch("()([%(%){}%[%]])") do
        if c:find("[%({%[]") then stack[#stack + 1] = i else stack[#stack] = nil end
    end
    return stack
end

-- The names that fit into the table that is open at the end of a bare text; nil: it is no table of options.
local function option_names(text)
    local stack = open_brackets(text)
    if #stack == 0 or text:sub(stack[#stack], stack[#stack]) ~= "{" then return nil end
    local within
    for i = #stack, 1, -1 do
        local before = text:sub(1, stack[i] - 1)
        local key = before:match("([%a_][%w_]*)%s*=%s*$")
        local called = before:match("([%a_][%w_]*)%s*$")
        if called then
            local known = options[called]
            if not within then return known and known.names end
            return known and known.sub and known.sub[within]
        end
        within = within or key
        if not key and not before:find("[%],{;(=]%s*$") then return nil end
    end
end

-- Adds the options that the word at the end of text may become, without those that the table has already.
local function add_options(text, word, add)
    local head = bare(text:sub(1, #text - #word))
    if not head or not head:find("[{,;]%s*$") then return end
    local names = option_names(head)
    local given = head:match(".*{(.*)$") or ""
    for _, name in ipairs(names or {}) do
        if not given:find("%f[%w_]" .. name .. "%s*=[^=]") then add({[name] = true}) end
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
        add_options(text, word, add)
        if word ~= "" and #names == 0 then
            for _, k in ipairs(keywords) do add({[k] = true}) end
            for _, t in ipairs(sources(globals)) do add(t) end
            add({vm = true})
        end
    end
    table.sort(names)
    return #word, names
end
