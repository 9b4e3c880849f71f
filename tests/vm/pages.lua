-- Runs the whole files of README.md and of pages in docs: each block of Lua whose first line is a comment with a file's name.

local blocks = dofile("lib/api/blocks.lua")

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
    local list = {}
    for _, b in ipairs(blocks(page)) do
        -- empty lines in front, so that messages have the page's line
        if b.code:find("^%-%- [%w-]+%.lua\n") then
            list[#list + 1] = assert(load(("\n"):rep(b.line) .. b.code, "@" .. page))
        end
    end
    assert_eq(n, #list, page)
    for _, run in ipairs(list) do run() end
end
