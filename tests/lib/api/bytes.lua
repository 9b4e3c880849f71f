-- Every byte value, in order: code that expects text would damage it.
local all = {}
for i = 0, 255 do all[#all + 1] = string.char(i) end
return table.concat(all)
