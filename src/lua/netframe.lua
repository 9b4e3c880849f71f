-- SPDX-License-Identifier: MIT
-- provium.net: frames as tables of layers. The chunk's arguments are functions of netframe.c: raise(msg) with the
-- position of the test's line, ip_bytes(text), ip_text(bytes), mac_bytes(text), mac_text(bytes), and sum(bytes), the
-- Internet checksum. Its result is the table of functions.
local raise, ip_bytes, ip_text, mac_bytes, mac_text, sum = ...
local spack, sunpack, ssub, sbyte, srep = string.pack, string.unpack, string.sub, string.byte, string.rep
local type, pairs, math_type, tostring, select = type, pairs, math.type, tostring, select
local sort, concat = table.sort, table.concat

local TYPE_IPV4, TYPE_ARP, TYPE_VLAN, TYPE_IPV6 = 0x0800, 0x0806, 0x8100, 0x86dd
local ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
local TCP_FLAGS = {"F", "S", "R", "P", "A", "U", "E", "C"} -- bits 0 to 7 (RFC 9293, 3.1)

-- Fields of each layer: name -> bits of an integer, or the kind of a text.
local layers = {
    eth = {dst = "mac", src = "mac", type = 16, vlan = 16},
    arp = {op = 16, sender_mac = "mac", sender_ip = "ipv4", target_mac = "mac", target_ip = "ipv4"},
    ipv4 = {src = "ipv4", dst = "ipv4", protocol = 8, ttl = 8, id = 16, tos = 8, flags = 3, fragment = 13,
        length = 16, checksum = 16, options = "bytes"},
    ipv6 = {src = "ipv6", dst = "ipv6", next_header = 8, hop_limit = 8, traffic_class = 8, flow_label = 20,
        length = 16},
    udp = {src_port = 16, dst_port = 16, length = 16, checksum = 16},
    tcp = {src_port = 16, dst_port = 16, seq = 32, ack = 32, flags = "flags", window = 16, urgent = 16,
        checksum = 16, reserved = 4, options = "bytes"},
    icmp = {type = 8, code = 8, checksum = 16, rest = "bytes", id = 16, seq = 16},
    icmpv6 = {type = 8, code = 8, checksum = 16, rest = "bytes", id = 16, seq = 16},
}

local convert = {}
function convert.mac(v) return mac_bytes(v) end
function convert.ipv4(v)
    local b = ip_bytes(v)
    return b and #b == 4 and b
end
function convert.ipv6(v)
    local b = ip_bytes(v)
    return b and #b == 16 and b
end
function convert.bytes(v) return v end
function convert.flags(v)
    local bits = 0
    for i = 1, #v do
        local bit
        for n, letter in pairs(TCP_FLAGS) do
            if letter == ssub(v, i, i) then bit = n - 1 end
        end
        if not bit then return nil end
        bits = bits | 1 << bit
    end
    return bits
end
local expected = {mac = 'a MAC such as "52:54:00:00:00:09"', ipv4 = 'an IPv4 address such as "10.7.0.9"',
    ipv6 = 'an IPv6 address such as "fd00::9"', bytes = "a string", flags = 'letters of "FSRPAUEC", such as "SA"'}

-- The value of a field as build needs it: bytes or an integer; dflt when it is nil.
local function field(layer, t, name, dflt)
    local v, kind = t[name], layers[layer][name]
    if v == nil then
        if dflt == nil then raise(("build: layer '%s' needs '%s'"):format(layer, name)) end
        return dflt
    end
    if math_type(kind) then
        if math_type(v) ~= "integer" or v < 0 or v >= 1 << kind then
            raise(("build: %s.%s must be an integer from 0 to %d, got %s"):format(layer, name, (1 << kind) - 1,
                tostring(v)))
        end
        return v
    end
    local made = type(v) == "string" and convert[kind](v)
    if not made then
        raise(("build: %s.%s must be %s, got %s"):format(layer, name, expected[kind], tostring(v)))
    end
    return made
end

local function field_names(layer)
    local names = {}
    for name in pairs(layer) do names[#names + 1] = name end
    sort(names)
    return concat(names, ", ")
end

local function check(frame)
    if type(frame) ~= "table" then raise("build needs a table of layers, got " .. type(frame)) end
    for name, t in pairs(frame) do
        if name == "payload" or name == "trailer" then
            if type(t) ~= "string" then raise(("build: '%s' must be a string, got %s"):format(name, type(t))) end
        elseif not layers[name] then
            raise(("build: no layer is called '%s'; there are eth, arp, ipv4, ipv6, udp, tcp, icmp, icmpv6, and "
                .. "payload and trailer"):format(tostring(name)))
        elseif type(t) ~= "table" then
            raise(("build: layer '%s' must be a table, got %s"):format(name, type(t)))
        else
            for key in pairs(t) do
                if not layers[name][key] then
                    raise(("build: layer '%s' has no field '%s'; its fields: %s"):format(name, tostring(key),
                        field_names(layers[name])))
                end
            end
        end
    end
    if not frame.eth then raise("build needs the layer 'eth'") end
    if frame.ipv4 and frame.ipv6 then raise("build: a frame has ipv4 or ipv6, not both") end
end

-- The checksum of a message over its pseudo-header; without IP, of the message alone.
local function message_sum(frame, protocol, message)
    local pseudo = ""
    if frame.ipv4 then
        pseudo = field("ipv4", frame.ipv4, "src") .. field("ipv4", frame.ipv4, "dst") .. spack(">I1I1I2", 0, protocol,
            #message & 0xffff)
    elseif frame.ipv6 then
        pseudo = field("ipv6", frame.ipv6, "src") .. field("ipv6", frame.ipv6, "dst") .. spack(">I4I4", #message,
            protocol)
    end
    return sum(pseudo .. message)
end

local function build_icmp(frame, layer, protocol, payload)
    local t = frame[layer]
    local rest = field(layer, t, "rest", spack(">I2I2", field(layer, t, "id", 0), field(layer, t, "seq", 0)))
    if #rest ~= 4 then raise(("build: %s.rest must have 4 bytes, it has %d"):format(layer, #rest)) end
    local function message(checksum)
        return spack(">I1I1I2", field(layer, t, "type"), field(layer, t, "code", 0), checksum) .. rest .. payload
    end
    local zero = message(0)
    local made = layer == "icmp" and sum(zero) or message_sum(frame, protocol, zero)
    return message(field(layer, t, "checksum", made))
end

local function build_udp(frame, payload)
    local t = frame.udp
    local function message(checksum)
        return spack(">I2I2I2I2", field("udp", t, "src_port"), field("udp", t, "dst_port"),
            field("udp", t, "length", (8 + #payload) & 0xffff), checksum) .. payload
    end
    local made = message_sum(frame, UDP, message(0))
    return message(field("udp", t, "checksum", made == 0 and 0xffff or made)) -- 0 is "none" (RFC 768)
end

local function build_tcp(frame, payload)
    local t = frame.tcp
    local options = field("tcp", t, "options", "")
    if #options % 4 ~= 0 or #options > 40 then
        raise(("build: tcp.options must have a multiple of 4 bytes, at most 40; it has %d"):format(#options))
    end
    local function message(checksum)
        return spack(">I2I2I4I4I1I1I2I2I2", field("tcp", t, "src_port"), field("tcp", t, "dst_port"),
            field("tcp", t, "seq", 0), field("tcp", t, "ack", 0), (5 + #options // 4) << 4 | field("tcp", t, "reserved", 0),
            field("tcp", t, "flags", 0), field("tcp", t, "window", 65535), checksum, field("tcp", t, "urgent", 0))
            .. options .. payload
    end
    return message(field("tcp", t, "checksum", message_sum(frame, TCP, message(0))))
end

local function build_ipv4(frame, protocol, payload)
    local t = frame.ipv4
    local options = field("ipv4", t, "options", "")
    if #options % 4 ~= 0 or #options > 40 then
        raise(("build: ipv4.options must have a multiple of 4 bytes, at most 40; it has %d"):format(#options))
    end
    local size = 20 + #options
    local function header(checksum)
        return spack(">I1I1I2I2I2I1I1I2", 0x40 | size // 4, field("ipv4", t, "tos", 0),
            field("ipv4", t, "length", (size + #payload) & 0xffff), field("ipv4", t, "id", 0),
            field("ipv4", t, "flags", 0) << 13 | field("ipv4", t, "fragment", 0), field("ipv4", t, "ttl", 64),
            field("ipv4", t, "protocol", protocol), checksum) .. field("ipv4", t, "src") .. field("ipv4", t, "dst")
            .. options
    end
    return header(field("ipv4", t, "checksum", sum(header(0)))) .. payload
end

local function build_ipv6(frame, protocol, payload)
    local t = frame.ipv6
    return spack(">I4I2I1I1", 6 << 28 | field("ipv6", t, "traffic_class", 0) << 20 | field("ipv6", t, "flow_label", 0),
        field("ipv6", t, "length", #payload & 0xffff), field("ipv6", t, "next_header", protocol),
        field("ipv6", t, "hop_limit", 64)) .. field("ipv6", t, "src") .. field("ipv6", t, "dst") .. payload
end

local function build_arp(frame)
    local t = frame.arp
    return spack(">I2I2I1I1I2", 1, TYPE_IPV4, 6, 4, field("arp", t, "op")) .. field("arp", t, "sender_mac")
        .. field("arp", t, "sender_ip") .. field("arp", t, "target_mac", srep("\0", 6)) .. field("arp", t, "target_ip")
end

local function build(frame)
    check(frame)
    local payload, protocol, ethertype = frame.payload or "", nil, nil
    if frame.udp then payload, protocol = build_udp(frame, payload), UDP end
    if frame.tcp then payload, protocol = build_tcp(frame, payload), TCP end
    if frame.icmp then payload, protocol = build_icmp(frame, "icmp", ICMP, payload), ICMP end
    if frame.icmpv6 then payload, protocol = build_icmp(frame, "icmpv6", ICMPV6, payload), ICMPV6 end
    if frame.ipv4 then payload, ethertype = build_ipv4(frame, protocol, payload), TYPE_IPV4 end
    if frame.ipv6 then payload, ethertype = build_ipv6(frame, protocol, payload), TYPE_IPV6 end
    if frame.arp then payload, ethertype = build_arp(frame) .. payload, TYPE_ARP end
    local t = frame.eth
    local tag = t.vlan ~= nil and spack(">I2I2", TYPE_VLAN, field("eth", t, "vlan")) or ""
    return field("eth", t, "dst") .. field("eth", t, "src") .. tag .. spack(">I2", field("eth", t, "type", ethertype))
        .. payload .. (frame.trailer or "")
end

-- ---- parsing: each adds a layer to f and returns what is behind it; nil: the bytes are none of its kind ----

local function parse_icmp(f, layer, data)
    if #data < 8 then return nil end
    local t = {}
    t.type, t.code, t.checksum, t.id, t.seq = sunpack(">I1I1I2I2I2", data)
    f[layer] = t
    return ssub(data, 9)
end

local function parse_udp(f, data)
    if #data < 8 then return nil end
    local t = {}
    t.src_port, t.dst_port, t.length, t.checksum = sunpack(">I2I2I2I2", data)
    f.udp = t
    return ssub(data, 9)
end

local function flag_letters(bits)
    local s = ""
    for n, letter in ipairs(TCP_FLAGS) do
        if bits >> (n - 1) & 1 == 1 then s = s .. letter end
    end
    return s
end

local function parse_tcp(f, data)
    if #data < 20 then return nil end
    local t, offset, bits = {}, nil, nil
    t.src_port, t.dst_port, t.seq, t.ack, offset, bits, t.window, t.checksum, t.urgent =
        sunpack(">I2I2I4I4I1I1I2I2I2", data)
    local size = (offset >> 4) * 4
    if size < 20 or size > #data then return nil end
    t.reserved, t.flags, t.options = offset & 15, flag_letters(bits), ssub(data, 21, size)
    f.tcp = t
    return ssub(data, size + 1)
end

local function parse_transport(f, protocol, data)
    if protocol == UDP then return parse_udp(f, data) end
    if protocol == TCP then return parse_tcp(f, data) end
    if protocol == ICMP and f.ipv4 then return parse_icmp(f, "icmp", data) end
    if protocol == ICMPV6 and f.ipv6 then return parse_icmp(f, "icmpv6", data) end
end

-- The bytes behind the packet of this length are the frame's trailer.
local function cut_trailer(f, data, length)
    if length < #data then f.trailer = ssub(data, length + 1) end
    return ssub(data, 1, length)
end

local function parse_ipv4(f, data)
    if #data < 20 or sbyte(data) >> 4 ~= 4 then return nil end
    local t, version, word, src, dst = {}, nil, nil, nil, nil
    version, t.tos, t.length, t.id, word, t.ttl, t.protocol, t.checksum, src, dst =
        sunpack(">I1I1I2I2I2I1I1I2c4c4", data)
    local size = (version & 15) * 4
    if size < 20 or size > #data or t.length < size or t.length > #data then return nil end
    t.src, t.dst, t.flags, t.fragment, t.options = ip_text(src), ip_text(dst), word >> 13, word & 0x1fff,
        ssub(data, 21, size)
    f.ipv4 = t
    local rest = ssub(cut_trailer(f, data, t.length), size + 1)
    if t.fragment > 0 then return rest end
    return parse_transport(f, t.protocol, rest) or rest
end

local function parse_ipv6(f, data)
    if #data < 40 or sbyte(data) >> 4 ~= 6 then return nil end
    local t, word, src, dst = {}, nil, nil, nil
    word, t.length, t.next_header, t.hop_limit, src, dst = sunpack(">I4I2I1I1c16c16", data)
    if t.length + 40 > #data then return nil end
    t.src, t.dst, t.traffic_class, t.flow_label = ip_text(src), ip_text(dst), word >> 20 & 255, word & 0xfffff
    f.ipv6 = t
    local rest = ssub(cut_trailer(f, data, t.length + 40), 41)
    return parse_transport(f, t.next_header, rest) or rest
end

local function parse_arp(f, data)
    if #data < 28 then return nil end
    local hw, proto, hlen, plen, op, smac, sip, tmac, tip = sunpack(">I2I2I1I1I2c6c4c6c4", data)
    if hw ~= 1 or proto ~= TYPE_IPV4 or hlen ~= 6 or plen ~= 4 then return nil end
    f.arp = {op = op, sender_mac = mac_text(smac), sender_ip = ip_text(sip), target_mac = mac_text(tmac),
        target_ip = ip_text(tip)}
    if #data > 28 then f.trailer = ssub(data, 29) end
    return ""
end

local parsers = {[TYPE_IPV4] = parse_ipv4, [TYPE_IPV6] = parse_ipv6, [TYPE_ARP] = parse_arp}

local function parse(bytes)
    if type(bytes) ~= "string" or #bytes < 14 then
        raise("parse needs a frame, a string of at least 14 bytes, got " ..
            (type(bytes) == "string" and #bytes .. " bytes" or type(bytes)))
    end
    local dst, src, ethertype, at = sunpack(">c6c6I2", bytes)
    local f = {eth = {dst = mac_text(dst), src = mac_text(src)}}
    if ethertype == TYPE_VLAN and #bytes >= 18 then
        f.eth.vlan, ethertype, at = sunpack(">I2I2", bytes, at)
    end
    f.eth.type = ethertype
    local data = ssub(bytes, at)
    local parser = parsers[ethertype]
    f.payload = parser and parser(f, data) or data
    if f.payload == data then f.trailer = nil end
    return f
end

-- A function of one argument that refuses more.
local function unary(name, fn)
    return function(arg, ...)
        if select("#", ...) > 0 then raise(("%s takes one argument, got %d"):format(name, 1 + select("#", ...))) end
        return fn(arg)
    end
end

return {
    build = unary("build", build),
    parse = unary("parse", parse),
    checksum = unary("checksum", function(bytes)
        if type(bytes) ~= "string" then raise("checksum needs a string, got " .. type(bytes)) end
        return sum(bytes)
    end),
}
