-- A failed assertion in a sub-test, and one outside of all sub-tests.
test("inside", function() assert_eq(0, -13) end)
test("said", function() fail("on purpose") end)
test("fine", function() assert_contains("abc", "b") end)
assert_eq("outside", "of tests")
