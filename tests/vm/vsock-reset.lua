-- A VM with a vsock device of its own is restored before every test.

provium.reset_between_tests = true
local vm = provium.create("minimal")
vm:boot({ memory = "256M", vsock = true })
vm:mount_vfs()

local function check()
    assert_eq(false, vm:exec("test -e /tmp/x").ok)
    local sock = vm:syscall("socket", 40, 1, 0)
    local to_host = provium.pack("u16 u16 u32 u32 u32", 40, 0, 1234, 2, 0)
    assert_eq(-104, vm:syscall_buf("connect", 1, to_host, sock, 0, #to_host))
    vm:write_file("/tmp/x", "")
end

for i = 1, 5 do test("the same each time, " .. i, check) end
