-- Strings that get lost where somebody counts on text: every byte value, in order.
local all = {}
for i = 0, 255 do all[#all + 1] = string.char(i) end
return table.concat(all)
