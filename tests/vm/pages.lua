-- Runs the whole files of README.md and of pages in docs: each block of Lua whose first line is a comment with a file's name.

local function blocks(page)
    local list, code, first, line = {}, nil, 0, 0
    for text in assert(io.open(page)):lines() do
        line = line + 1
        if text == "```lua" then
            code, first = {}, line
        elseif text == "```" and code then
            if code[1]:find("^%-%- [%w-]+%.lua$") then
                -- empty lines in front, so that messages have the page's line
                list[#list + 1] = assert(load(("\n"):rep(first) .. table.concat(code, "\n"), "@" .. page))
            end
            code = nil
        elseif code then
            code[#code + 1] = text
        end
    end
    return list
end

local pages = {
    ["docs/testing-an-init-system.md"] = 2,
    ["docs/testing-a-blocking-driver.md"] = 1,
    ["docs/testing-a-distributed-system.md"] = 1,
    ["docs/testing-a-network-driver.md"] = 1,
    ["docs/testing-a-file-system.md"] = 1,
    ["docs/testing-a-database.md"] = 1,
    ["README.md"] = 1,
}
for page, n in pairs(pages) do
    local list = blocks(page)
    assert_eq(n, #list, page)
    for _, run in ipairs(list) do run() end
end
