-- The picture of a display, taken by a QEMU that is confined.

local vm = provium.create("display")
vm:boot()

test("a screenshot is a PNG, in a string and in a file", function()
    local path = os.tmpname()
    defer(function() os.remove(path) end)
    local png = vm:screenshot(path)
    assert_eq("\x89PNG\r\n\x1a\n", png:sub(1, 8))
    assert(provium.unpack("u8", png:sub(20, 20)) > 0, "the picture has no width")
    local file = assert(io.open(path, "rb"))
    assert(file:read("a") == png, "the file differs from the string")
    file:close()
end)

test("another one", function()
    assert_eq("\x89PNG", vm:screenshot():sub(1, 4))
    vm:sh("true")
end)

vm:kill()
