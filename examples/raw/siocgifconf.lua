-- SIOCGIFCONF: an old ioctl, whose number encodes no size, with a pointer in its struct.

local vm = provium.create()
vm:boot()

-- bits/socket.h, linux/sockios.h
local AF_INET, SOCK_DGRAM = 2, 2
local SIOCGIFCONF, SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFADDR = 0x8912, 0x8913, 0x8914, 0x8916
local IFREQ = 40 -- sizeof(struct ifreq), linux/if.h: char ifr_name[16], then a union of 24 bytes
local IFF_UP = 1

local fd = vm:syscall("socket", AF_INET, SOCK_DGRAM, 0)

-- struct ifreq with a name and the first bytes of its union.
local function ifreq(name, union)
    return name .. ("\0"):rep(16 - #name) .. union .. ("\0"):rep(24 - #union)
end

-- struct ifconf { int ifc_len; /* 4 bytes of padding */ struct ifreq *ifc_req; }
local function interfaces(room)
    local ret, struct, reqs = vm:ioctl_buf(fd, SIOCGIFCONF, provium.pack("i32 u32 u64", room * IFREQ, 0, 0),
        { { ptr_offset = 8, buf_len = room * IFREQ, output = true } })
    assert_eq(0, ret)
    local list = {}
    for at = 1, (provium.unpack("i32", struct)), IFREQ do
        -- struct sockaddr_in at 16: family, port, and the address in the network's order
        local family = provium.unpack("u16", reqs:sub(at + 16, at + 17))
        assert_eq(AF_INET, family)
        list[reqs:sub(at, at + 15):match("^[^\0]+")] = table.concat({ reqs:byte(at + 20, at + 23) }, ".")
    end
    return list
end

test("the loopback has its address", function()
    assert(fd >= 0, "socket: " .. fd)
    assert_eq({ lo = "127.0.0.1" }, interfaces(4))
end)

test("it gets another, and is listed with that", function()
    local addr = provium.pack("u16 u16", AF_INET, 0) .. "\127\0\0\9"
    local set = vm:ioctl(fd, SIOCSIFADDR, ifreq("lo", addr))
    assert_eq(0, set)
    assert_eq({ lo = "127.0.0.9" }, interfaces(4))
end)

test("an interface that is not there", function()
    assert_eq(-19, (vm:ioctl(fd, SIOCSIFFLAGS, ifreq("none0", provium.pack("u16", IFF_UP))))) -- ENODEV
end)

test("the old kind, read with syscall_bufs", function()
    -- vm:ioctl gives back what the number says it reads back; SIOCGIFFLAGS says nothing, so ask for the buffer.
    local function is_up()
        local ret, req = vm:syscall_bufs("ioctl", { [2] = ifreq("lo", "") }, fd, SIOCGIFFLAGS)
        assert_eq(0, ret)
        return provium.unpack("u16", req:sub(17, 18)) & IFF_UP ~= 0
    end
    local function set_flags(flags)
        local set = vm:ioctl(fd, SIOCSIFFLAGS, ifreq("lo", provium.pack("u16", flags)))
        assert_eq(0, set)
    end
    set_flags(0)
    assert_eq(false, is_up())
    set_flags(IFF_UP)
    assert_eq(true, is_up())
end)

vm:shutdown()
