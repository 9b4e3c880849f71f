-- A hostile program in the agent's place: an error of that VM only, within bounded time and memory.

local function uptime()
    local f = io.open("/proc/uptime")
    local s = f:read("n")
    f:close()
    return s
end

local function rss_kb()
    for line in io.lines("/proc/self/status") do
        local kb = line:match("^VmHWM:%s+(%d+)")
        if kb then return tonumber(kb) end
    end
end

local good = provium.create("minimal")
good:boot()

for mode, want in pairs({
    garbage = "unknown type",
    half = "did not answer in time", -- connected and closed again and again
    huge = "4294967295 bytes",
    early = "instead of READY",
    silent = "did not answer in time",
    close = "did not answer in time",
    flood = "timed out",
}) do
    test(mode, function()
        local vm = provium.create("minimal")
        vm:boot({ files = { ["/evil"] = (os.getenv("BUILD") or "build") .. "/tests/hostile/evil" } })
        vm:exec("/evil " .. mode .. " >/dev/null 2>&1")
        provium.sleep(2)
        local start, before = uptime(), rss_kb()
        local why = assert_error(function() vm:exec("echo hello", { timeout = "3s" }) end)
        assert_contains(why, want)
        assert(uptime() - start < 25, "took " .. uptime() - start)
        assert(rss_kb() - before < 64 * 1024, "grew by " .. rss_kb() - before .. " KiB")
        vm:kill()
        assert_eq("fine\n", good:exec("echo fine").stdout)
    end)
end
