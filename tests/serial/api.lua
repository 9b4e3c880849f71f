-- The guest API once more, over virtio-serial (tests/serial.toml): what passes over vsock passes here.
each_profiles = { "minimal" }
for _, name in ipairs({ "commands", "files", "jobs", "raw", "trees", "workers" }) do
    dofile("vm/api-" .. name .. ".lua")
end
