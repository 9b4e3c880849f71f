-- options: --timeout 1
test("spins", function() while true do pcall(function() end) end end)
