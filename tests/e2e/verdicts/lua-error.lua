-- Errors of the test itself.
test("nil", function() local t t.x = 1 end)
test("raised", function() error("on purpose") end)
test("an object", function() error({code = 5}) end)
test("called in a wrong way", function() assert_eq(1) end)
test("wrong state", function() provium.create():exec("true") end)
