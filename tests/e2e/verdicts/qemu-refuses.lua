test("boot", function() provium.create("refused"):boot() end)
