-- The blocks of Lua of a page: a list of {heading, line, code}; heading is the name in the last heading of the third level.
return function(page)
    local list, block, heading, line = {}, nil, nil, 0
    for text in assert(io.open(page)):lines() do
        line = line + 1
        heading = text:match("^### `([^`(]+)") or heading
        if text == "```lua" then
            block = { heading = heading, line = line, code = {} }
        elseif text == "```" and block then
            block.code = table.concat(block.code, "\n")
            list[#list + 1] = block
            block = nil
        elseif block then
            table.insert(block.code, text)
        end
    end
    return list
end
