-- pack and unpack, without a VM; and the same bits through a guest.

local RANGE = {
    u8 = { 0, 255 }, i8 = { -128, 127 }, u16 = { 0, 65535 }, i16 = { -32768, 32767 },
    u32 = { 0, 4294967295 }, i32 = { -2147483648, 2147483647 },
    u64 = { 0, 0xffffffffffffffff }, i64 = { math.mininteger, math.maxinteger },
}
local SIZE = { u8 = 1, i8 = 1, u16 = 2, i16 = 2, u32 = 4, i32 = 4, u64 = 8, i64 = 8 }

test("the ends of every type, both ways", function()
    for t, ends in pairs(RANGE) do
        for _, v in ipairs(ends) do
            local s = provium.pack(t, v)
            assert_eq(SIZE[t], #s, t)
            assert_eq(v, (provium.unpack(t, s)), t)
        end
    end
end)

test("little-endian, no padding, in order", function()
    assert_eq("\1\2\0\3\0\0\0\4\0\0\0\0\0\0\0", provium.pack("u8 u16 u32 u64", 1, 2, 3, 4))
    assert_eq("\xff\xfe\xff\xfd\xff\xff\xff\xfc\xff\xff\xff\xff\xff\xff\xff", provium.pack("i8 i16 i32 i64", -1, -2, -3, -4))
    assert_eq({ 1, 2, 3, 4 }, { provium.unpack("u8 u16 u32 u64", "\1\2\0\3\0\0\0\4\0\0\0\0\0\0\0") })
    assert_eq("", provium.pack(""))
    assert_eq({}, { provium.unpack("", "") })
end)

test("the same as Lua's own, for a thousand numbers", function()
    local x = 88172645463325252
    for _ = 1, 1000 do
        x = x ~ (x << 13)
        x = x ~ (x >> 7)
        x = x ~ (x << 17)
        assert_eq(string.pack("<i8", x), provium.pack("i64", x))
        assert_eq(string.pack("<I8", x), provium.pack("u64", x))
        assert_eq(x, (provium.unpack("i64", string.pack("<i8", x))))
    end
end)

test("out of range: the field is named", function()
    for t, ends in pairs(RANGE) do
        if SIZE[t] < 8 then
            for _, v in ipairs({ ends[1] - 1, ends[2] + 1, math.mininteger, math.maxinteger }) do
                local why = assert_error(function() provium.pack("u8 " .. t, 1, v) end, t)
                assert_contains(why, "field 2")
            end
        end
    end
    assert_error(function() provium.pack("i64", 2 ^ 63) end, "i64")
    assert_error(function() provium.pack("u32", 1.5) end, "u32")
    assert_error(function() provium.pack("u32", "many") end, "u32")
end)

test("too few values, too many, data too short, no such type", function()
    assert_contains(assert_error(function() provium.pack("u8 u16", 1) end, "u16"), "field 2")
    assert_error(function() provium.pack("u8", 1, 2) end)
    assert_contains(assert_error(function() provium.unpack("u8 u32", "\1\2\3\4") end, "u32"), "field 2")
    assert_error(function() provium.pack("u9", 1) end, "u9")
    assert_error(function() provium.unpack("float", "\1\2\3\4") end, "float")
    assert_error(function() provium.unpack("u8", nil) end)
end)
