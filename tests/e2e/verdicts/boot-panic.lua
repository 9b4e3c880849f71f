test("boot", function() provium.create("no-root"):boot() end)
