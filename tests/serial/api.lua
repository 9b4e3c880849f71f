-- The guest API once more, over virtio-serial (tests/serial.toml): those parts whose bytes or sockets differ.
each_profiles = { "minimal" }
for _, name in ipairs({ "commands", "files", "workers" }) do
    dofile("vm/api-" .. name .. ".lua")
end
