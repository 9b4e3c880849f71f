-- The fixture "ready": a VM that is booted and prepared once, then saved. provium.fixture("ready") resumes it, until a
-- file that went into it changes.

local vm = provium.create()
vm:boot({ memory = "256M" })
vm:write_file("/etc/motd", "prepared\n")
return vm
