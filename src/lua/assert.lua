-- SPDX-License-Identifier: MIT
-- The assertions. The chunk's arguments are functions of assert.c that raise with the position of the test's line:
-- raise(msg) for a failed assertion, raise_again(msg) for a message that may be an error which the test caught,
-- misused(msg) for wrong arguments.
-- Library functions are copied to locals, because a test may change the globals.
local raise, touch, is_skip, raise_again, misused = ...
local type, tostring, next, pairs, pcall, error = type, tostring, next, pairs, pcall, error
local rawlen, rawequal, rawget, math_type, select = rawlen, rawequal, rawget, math.type, select
local getmetatable = debug.getmetatable
local sfind, ssub, sformat, sgsub, sbyte, srep = string.find, string.sub, string.format, string.gsub,
    string.byte, string.rep
local concat, sort, min = table.concat, table.sort, math.min

local SHOW_STRING, SHOW_TOTAL, SHOW_DEPTH, MAX_PATH = 200, 2000, 6, 300

-- Characters to be escaped in quotes; the report makes all others harmless for terminals.
local escapes = {["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\0"] = "\\0", ['"'] = '\\"', ["\\"] = "\\\\",
    ["\27"] = "\\27"}

local function quote(s, max)
    local cut = #s > max
    local shown = sgsub(cut and ssub(s, 1, max) or s, '[%c"\\]', function(c)
        return escapes[c] or sformat("\\x%02x", sbyte(c))
    end)
    return cut and sformat('"%s"... (%d bytes)', shown, #s) or sformat('"%s"', shown)
end

local rank = {number = 1, string = 2, boolean = 3}
local function key_less(a, b)
    local ra, rb = rank[type(a)] or 4, rank[type(b)] or 4
    if ra ~= rb then return ra < rb end
    if ra <= 2 then return a < b end
    return tostring(a) < tostring(b)
end

local function sorted_keys(t)
    local keys, n = {}, 0
    for k in next, t do
        n = n + 1
        keys[n] = k
    end
    sort(keys, key_less)
    return keys
end

local function is_name(k)
    return type(k) == "string" and sfind(k, "^[%a_][%w_]*$") ~= nil
end

-- Shows a value on one line, with nested tables; `seen` has the tables around it.
local function show_into(out, v, depth, seen)
    local t = type(v)
    if t == "string" then
        out[#out + 1] = quote(v, SHOW_STRING)
        out.size = out.size + #out[#out]
        return
    end
    local mt = t == "table" and getmetatable(v)
    if t ~= "table" or (type(mt) == "table" and rawget(mt, "__tostring")) then
        local ok, s = pcall(tostring, v)
        out[#out + 1] = ok and s or t
        out.size = out.size + #out[#out]
        return
    end
    if seen[v] then out[#out + 1] = "<cycle>" return end
    if depth == 0 then out[#out + 1] = "{...}" return end
    seen[v] = true
    out[#out + 1] = "{"
    local first, len = true, rawlen(v)
    for _, k in next, sorted_keys(v) do
        if not first then out[#out + 1] = ", " end
        first = false
        if out.size > SHOW_TOTAL then
            out[#out + 1] = "..."
            break
        end
        if not (math_type(k) == "integer" and k >= 1 and k <= len) then
            if is_name(k) then
                out[#out + 1] = k .. " = "
            else
                out[#out + 1] = "["
                show_into(out, k, 1, seen)
                out[#out + 1] = "] = "
            end
        end
        out.size = out.size + 4
        show_into(out, rawget(v, k), depth - 1, seen)
    end
    out[#out + 1] = "}"
    seen[v] = nil
end

local function show(v)
    local out = {size = 0}
    show_into(out, v, SHOW_DEPTH, {})
    return concat(out)
end

local function has_eq(v)
    local mt = getmetatable(v)
    return type(mt) == "table" and rawget(mt, "__eq") ~= nil
end

local difference

-- The value in b of a's key k. A table as a key matches an equal table.
local function counterpart(a, b, k)
    local v = rawget(b, k)
    if v ~= nil or type(k) ~= "table" then return v end
    for bk, bv in next, b do
        if type(bk) == "table" and rawget(a, bk) == nil and difference(k, bk, "", {}) == nil then return bv end
    end
    return nil
end

-- nil: equal; else the path of the first difference and both values there. Two tables whose comparison is going
-- on count as equal, so that cycles end.
function difference(a, b, path, seen)
    if rawequal(a, b) then return nil end
    if type(a) ~= "table" or type(b) ~= "table" then
        if a == b then return nil end
        return path, a, b
    end
    if (has_eq(a) or has_eq(b)) and a == b then return nil end
    local pairs_of_a = seen[a]
    if pairs_of_a and pairs_of_a[b] then return nil end
    if not pairs_of_a then
        pairs_of_a = {}
        seen[a] = pairs_of_a
    end
    pairs_of_a[b] = true
    local function below(k)
        if #path > MAX_PATH then return path end
        return path .. (is_name(k) and "." .. k or "[" .. show(k) .. "]")
    end
    for _, k in next, sorted_keys(a) do
        local av, other = rawget(a, k), counterpart(a, b, k)
        local where, x, y = difference(av, other, below(k), seen)
        if where then return where, x, y end
    end
    for _, k in next, sorted_keys(b) do
        if rawget(a, k) == nil and type(k) ~= "table" then return below(k), nil, rawget(b, k) end
    end
    local na, nb = 0, 0
    for _ in next, a do na = na + 1 end
    for _ in next, b do nb = nb + 1 end
    if na ~= nb then return path, a, b end
    return nil
end

local function lines_of(s)
    local lines, n, at = {}, 0, 1
    while at <= #s do
        local stop = sfind(s, "\n", at, true)
        n = n + 1
        lines[n] = ssub(s, at, (stop or #s + 1) - 1)
        at = (stop or #s) + 1
    end
    if ssub(s, -1) ~= "\n" and n > 0 then lines[n] = lines[n] .. " (no newline at the end)" end
    return lines, n
end

local function clip(line)
    return #line > 300 and ssub(line, 1, 300) .. sformat("... (%d bytes)", #line) or line
end

local DIFF_LINES, DIFF_CELLS = 60, 250000

-- Puts the lines of the middle part by a longest common subsequence; `put(mark, line)`.
local function diff_middle(a, a1, an, b, b1, bn, put)
    local rows, cols = an - a1 + 1, bn - b1 + 1
    if rows * cols > DIFF_CELLS then
        for i = a1, an do put("-", a[i]) end
        for j = b1, bn do put("+", b[j]) end
        return
    end
    local best = {}
    for i = rows + 1, 1, -1 do
        local row, under = {}, best[i + 1]
        best[i] = row
        for j = cols + 1, 1, -1 do
            if i > rows or j > cols then row[j] = 0
            elseif a[a1 + i - 1] == b[b1 + j - 1] then row[j] = under[j + 1] + 1
            else row[j] = under[j] >= row[j + 1] and under[j] or row[j + 1] end
        end
    end
    local i, j = 1, 1
    while i <= rows or j <= cols do
        if i <= rows and j <= cols and a[a1 + i - 1] == b[b1 + j - 1] then
            put(" ", a[a1 + i - 1])
            i, j = i + 1, j + 1
        elseif j > cols or (i <= rows and best[i + 1][j] >= best[i][j + 1]) then
            put("-", a[a1 + i - 1])
            i = i + 1
        else
            put("+", b[b1 + j - 1])
            j = j + 1
        end
    end
end

local function diff_lines(expected, actual, put)
    local a, an = lines_of(expected)
    local b, bn = lines_of(actual)
    local same = 0
    while same < an and same < bn and a[same + 1] == b[same + 1] do same = same + 1 end
    local ea, eb = an, bn
    while ea > same and eb > same and a[ea] == b[eb] do ea, eb = ea - 1, eb - 1 end
    put("@@", sformat("line %d @@", same + 1))
    for i = same - 2 > 0 and same - 2 or 1, same do put(" ", a[i]) end
    diff_middle(a, same + 1, ea, b, same + 1, eb, put)
    for i = ea + 1, min(ea + 3, an) do put(" ", a[i]) end
end

-- Runs fn(put) and returns the lines of put(mark, line), bounded, as one string.
local function collect(fn)
    local out, dropped = {}, 0
    fn(function(mark, line)
        if #out >= DIFF_LINES then
            dropped = dropped + 1
        else
            out[#out + 1] = mark .. " " .. clip(line)
        end
    end)
    if dropped > 0 then out[#out + 1] = sformat("... %d more lines", dropped) end
    return concat(out, "\n")
end

local function diff(expected, actual)
    return collect(function(put) diff_lines(expected, actual, put) end)
end

local function first_byte(a, b)
    local lo, hi = 0, min(#a, #b) -- the first lo bytes are equal
    if ssub(a, 1, hi) == ssub(b, 1, hi) then return hi + 1 end
    while lo < hi - 1 do
        local mid = (lo + hi) // 2
        if ssub(a, 1, mid) == ssub(b, 1, mid) then lo = mid else hi = mid end
    end
    return hi
end

-- A message is on one line up to this length.
local SHORT = 80

local function explain_strings(expected, actual)
    if #expected + #actual > 60 and (sfind(expected, "\n", 1, true) or sfind(actual, "\n", 1, true)) then
        return "the strings differ (- expected, + got)\n" .. diff(expected, actual)
    end
    if #expected > SHOW_STRING or #actual > SHOW_STRING then
        local at = first_byte(expected, actual)
        local from = at > 40 and at - 40 or 1
        return sformat("the strings differ from byte %d on (%d and %d bytes): expected ...%s, got ...%s", at,
            #expected, #actual, quote(ssub(expected, from, at + 40), 100), quote(ssub(actual, from, at + 40), 100))
    end
    local e, g = quote(expected, SHOW_STRING), quote(actual, SHOW_STRING)
    if #e + #g <= SHORT then return sformat("expected %s, got %s", e, g) end
    local at = first_byte(expected, actual)
    -- first difference of the quoted forms; of a multibyte character, its first byte
    local same = ssub(expected, 1, at - 1)
    same = sgsub(same, "[\xc0-\xff][\x80-\xbf]*$", "")
    local _, cols = sgsub(quote(same, SHOW_STRING), "[^\x80-\xbf]", "")
    return sformat("the strings differ from byte %d on\nexpected %s\n     got %s\n%s^", at, e, g,
        srep(" ", 9 + cols - 1))
end

-- True for a table without the metamethods __eq and __tostring.
local function is_plain(v)
    if type(v) ~= "table" then return false end
    local mt = getmetatable(v)
    return type(mt) ~= "table" or (rawget(mt, "__eq") == nil and rawget(mt, "__tostring") == nil)
end

local function is_list(t)
    local n = 0
    for _ in next, t do n = n + 1 end
    return n == rawlen(t)
end

-- Maps two lists of values to lists of numbers: equal values have equal numbers. nil: too many values.
local LIST_CELLS = 10000
local function classes(a, b)
    if #a * #b > LIST_CELLS then return nil end
    local scalars, tables, n = {}, {}, 0
    local function class(v)
        local id = scalars[v]
        if id then return id end
        if type(v) == "table" then
            for _, t in next, tables do
                if difference(t[1], v, "", {}) == nil then return t[2] end
            end
        end
        n = n + 1
        if type(v) == "table" then tables[#tables + 1] = {v, n} elseif v == v then scalars[v] = n end
        return n
    end
    local ca, cb = {}, {}
    for i = 1, #a do ca[i] = class(rawget(a, i)) end
    for i = 1, #b do cb[i] = class(rawget(b, i)) end
    return ca, cb
end

local EQUAL_SHOWN = 2 -- a longer run of equal entries is only counted

-- Puts the entries in which two plain tables differ; `put(mark, line)`.
local function diff_tables(expected, actual, put)
    local on_way, walk = {}, nil

    local function entry(mark, indent, label, v) put(mark, indent .. label .. show(v)) end

    local function pair(indent, label, x, y)
        if x == nil then return entry("+", indent, label, y) end
        if y == nil then return entry("-", indent, label, x) end
        if is_plain(x) and is_plain(y) and not on_way[x] and #indent < 2 * SHOW_DEPTH then
            put(" ", indent .. label .. "{")
            walk(indent .. "  ", x, y)
            return put(" ", indent .. "}")
        end
        if type(x) == "string" and type(y) == "string" and #x + #y > 60
            and (sfind(x, "\n", 1, true) or sfind(y, "\n", 1, true)) then
            put(" ", indent .. label .. "lines that differ:")
            return diff_lines(x, y, function(mark, line)
                if mark == "@@" then mark, line = " ", "@@ " .. line end
                put(mark, indent .. "  " .. line)
            end)
        end
        entry("-", indent, label, x)
        entry("+", indent, label, y)
    end

    -- the run of equal entries
    local function run(indent)
        local held = {}
        return {
            equal = function(label, v) held[#held + 1] = {label, v} end,
            flush = function()
                if #held > EQUAL_SHOWN then
                    put(" ", sformat("%s... %d equal", indent, #held))
                else
                    for _, e in next, held do entry(" ", indent, e[1], e[2]) end
                end
                held = {}
            end,
        }
    end

    -- Lists of different lengths: an inserted or missing element must not make all later ones differ.
    local function walk_lists(indent, a, b)
        local ca, cb = classes(a, b)
        if not ca then return false end
        local i, j, equal, minus, plus = 0, 0, run(indent), {}, {}
        local function flush()
            local n = min(#minus, #plus)
            for k = 1, n do pair(indent, sformat("[%d] = ", plus[k]), rawget(a, minus[k]), rawget(b, plus[k])) end
            for k = n + 1, #minus do entry("-", indent, sformat("[%d] = ", minus[k]), rawget(a, minus[k])) end
            for k = n + 1, #plus do entry("+", indent, sformat("[%d] = ", plus[k]), rawget(b, plus[k])) end
            minus, plus = {}, {}
        end
        diff_middle(ca, 1, #ca, cb, 1, #cb, function(mark)
            if mark == " " then
                flush()
                i, j = i + 1, j + 1
                equal.equal(sformat("[%d] = ", j), rawget(b, j))
                return
            end
            equal.flush()
            if mark == "-" then
                i = i + 1
                minus[#minus + 1] = i
            else
                j = j + 1
                plus[#plus + 1] = j
            end
        end)
        flush()
        equal.flush()
        return true
    end

    function walk(indent, a, b)
        on_way[a] = true
        if not (rawlen(a) ~= rawlen(b) and is_list(a) and is_list(b) and walk_lists(indent, a, b)) then
            local equal = run(indent)
            local function label(k)
                return (is_name(k) and k or "[" .. show(k) .. "]") .. " = "
            end
            for _, k in next, sorted_keys(a) do
                local x, y = rawget(a, k), counterpart(a, b, k)
                if difference(x, y, "", {}) == nil then
                    equal.equal(label(k), x)
                else
                    equal.flush()
                    pair(indent, label(k), x, y)
                end
            end
            equal.flush()
            for _, k in next, sorted_keys(b) do
                if counterpart(b, a, k) == nil then pair(indent, label(k), nil, rawget(b, k)) end
            end
        end
        on_way[a] = nil
    end

    put(" ", "{")
    walk("  ", expected, actual)
    put(" ", "}")
end

local function short(v)
    if type(v) == "string" then return quote(v, 40) end
    local s = show(v)
    return #s <= SHORT and s or "{...}"
end

local function explain(expected, actual, where, x, y)
    if type(expected) == "string" and type(actual) == "string" then return explain_strings(expected, actual) end
    local e, g = show(expected), show(actual)
    if e == g then
        e, g = e .. " (" .. type(expected) .. ")", g .. " (" .. type(actual) .. ")"
    end
    if #e + #g > SHORT and is_plain(expected) and is_plain(actual) then
        local place = where ~= "" and sformat(", first at %s: expected %s, got %s", where, short(x), short(y)) or ""
        return sformat("the tables differ%s (- expected, + got)\n%s", place,
            collect(function(put) diff_tables(expected, actual, put) end))
    end
    local text = sformat("expected %s, got %s", e, g)
    if where ~= "" then
        local inner = type(x) == "string" and type(y) == "string" and explain_strings(x, y)
            or sformat("expected %s, got %s", show(x), show(y))
        text = sformat("%s\nfirst difference at %s: %s", text, where, inner)
    end
    return text
end

local function say(msg, text)
    if msg == nil then return raise(text) end
    return raise(tostring(msg) .. ": " .. text)
end

local function need(name, n, have)
    if have < n then misused(sformat("%s needs %d arguments, got %d", name, n, have)) end
end

local M = {}

function M.assert(...)
    local v, msg = ...
    if select("#", ...) == 0 then misused("assert needs a value") end
    if v then return ... end
    if msg == nil then return raise("assertion failed!") end
    if type(msg) ~= "string" then return error(msg, 0) end
    return raise_again(msg)
end

function M.assert_eq(...)
    local expected, actual, msg = ...
    touch()
    need("assert_eq", 2, select("#", ...))
    local where, x, y = difference(expected, actual, "", {})
    if where then say(msg, explain(expected, actual, where, x, y)) end
end

function M.assert_ne(...)
    local unexpected, actual, msg = ...
    touch()
    need("assert_ne", 2, select("#", ...))
    if difference(unexpected, actual, "", {}) == nil then
        say(msg, "expected something other than " .. show(actual))
    end
end

function M.assert_contains(...)
    local haystack, needle, msg = ...
    touch()
    need("assert_contains", 2, select("#", ...))
    if type(haystack) == "string" then
        if type(needle) ~= "string" and type(needle) ~= "number" then
            misused("assert_contains: what is looked for in a string must be a string, got " .. type(needle))
        end
        if sfind(haystack, needle, 1, true) then return end
        if sfind(haystack, "\n", 1, true) and #haystack <= 4000 then
            say(msg, sformat("%s is not in these %d bytes:\n%s", show(needle), #haystack, haystack))
        end
        say(msg, sformat("%s is not in %s", show(needle), show(haystack)))
    elseif type(haystack) == "table" then
        for _, v in next, haystack do
            if difference(needle, v, "", {}) == nil then return end
        end
        say(msg, sformat("%s is not in %s", show(needle), show(haystack)))
    else
        misused("assert_contains: expected a string or a table to look in, got " .. type(haystack))
    end
end

function M.assert_error(fn, pattern, ...)
    touch()
    if select("#", ...) > 0 then
        misused(sformat("assert_error takes a function and a pattern, got %d arguments", 2 + select("#", ...)))
    end
    local mt = getmetatable(fn)
    if type(fn) ~= "function" and not (type(mt) == "table" and mt.__call) then
        misused("assert_error needs a function, got " .. type(fn))
    end
    if pattern ~= nil and type(pattern) ~= "string" then
        misused("assert_error: the pattern must be a string, got " .. type(pattern))
    end
    local ok, err = pcall(fn)
    if ok then
        if err == nil then raise("expected an error, but there was none") end
        raise("expected an error, but there was none; the function returned " .. show(err))
    end
    if is_skip(err) then error(err, 0) end
    if pattern then
        local text = type(err) == "string" and err or tostring(err)
        local valid, found = pcall(sfind, text, pattern)
        if not (valid and found) and not sfind(text, pattern, 1, true) then
            raise(sformat("expected an error that matches %s, got %s", quote(pattern, 300), quote(text, 1000)))
        end
    end
    return err
end

return M, show
