-- Processes, streams and the console over virtio-serial (tests/serial.toml); tests/vm has them with systemd, too.
each_profiles = { "minimal" }
dofile("vm/process.lua")
dofile("vm/console.lua")
