-- The parts of the guest API whose bytes or sockets differ over virtio-serial (tests/serial.toml).
each_profiles = { "minimal" }
for _, name in ipairs({ "commands", "files", "file-ops", "memory", "workers", "tasks" }) do
    dofile("vm/api-" .. name .. ".lua")
end
