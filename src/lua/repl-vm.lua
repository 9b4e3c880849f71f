-- SPDX-License-Identifier: MIT
-- The variable `vm` of `provium repl`: a VM that boots, or a fixture that resumes, when it is used first. Arguments:
-- the profile or nil, the fixture or nil, warn(text).  A chunk that begins with vm:boot boots it itself: repl.lua sets
-- `boots` of this metatable.

local profile, fixture, warn = ...

setmetatable(_G, {
    __index = function(globals, name)
        if name ~= "vm" then return nil end
        local vm, called
        if getmetatable(globals).boots and not fixture then
            vm = provium.create(profile)
            rawset(globals, name, vm)
            return vm
        end
        local from = provium.now()
        if fixture then
            vm = provium.fixture(fixture)
            called = ("fixture '%s'"):format(fixture)
        else
            vm = provium.create(profile)
            called = tostring(vm):match("^%S+")
            warn(("booting %s\n"):format(called))
            vm:boot({ cached = true })
        end
        warn(("%s is ready after %.1f s\n"):format(called, provium.now() - from))
        rawset(globals, name, vm)
        return vm
    end,
})
