-- background, job_wait, job_kill.

local each = dofile("lib/api/each.lua")
local bytes = dofile("lib/api/bytes.lua")

each(function(vm, case)
    case("a job: id and pid, running", function()
        local job = vm:background("sleep 600")
        assert_eq("integer", math.type(job.id))
        assert(vm:exec("kill -0 " .. job.pid).ok, "no process " .. job.pid)
        local s = vm:job_wait(job)
        assert_eq(true, s.running)
        assert_eq(-1, s.exit_code)
        assert_eq(true, vm:job_wait(job, 0).running)
        vm:job_kill(job)
        assert(not vm:exec("kill -0 " .. job.pid).ok, "it still runs")
    end)

    case("a job that ends by itself", function()
        local job = vm:background("echo out; echo err >&2; exit 5")
        local s = vm:job_wait(job, 20)
        assert_eq(false, s.running)
        assert_eq(5, s.exit_code)
        assert_eq("out\n", s.stdout)
        assert_eq("err\n", s.stderr)
        assert_eq("string", type(s.stdout))
        assert_eq("string", type(s.stderr))
    end)

    case("a wait with a timeout returns, and the job goes on", function()
        local job = vm:background("echo early; sleep 600")
        local s = vm:wait_until(function()
            local s = vm:job_wait(job, 0.3)
            return s.stdout ~= "" and s
        end)
        assert_eq(true, s.running)
        assert_eq(-1, s.exit_code)
        assert_eq("early\n", s.stdout)
        s = vm:job_kill(job)
        assert_eq(false, s.running)
        assert_eq(137, s.exit_code)
    end)

    case("kill ends all children of the job", function()
        local job = vm:background("sleep 7401 & setsid sleep 7402 & wait")
        local function found() -- the shell and both sleeps
            return select(2, vm:exec("grep -lE '740[12]' /proc/[0-9]*/cmdline 2>/dev/null").stdout.value:gsub("\n", ""))
        end
        vm:wait_until(function() return found() == 3 end, { interval = 0.1, desc = "both sleeps run" })
        assert_eq(false, vm:job_kill(job).running)
        assert_eq(0, found())
    end)

    case("a kill after the end keeps the job's exit code", function()
        local job = vm:background("exit 3")
        assert_eq(3, vm:job_wait(job, 20).exit_code)
        assert_eq(3, vm:job_kill(job).exit_code)
        assert_eq(3, vm:job_wait(job).exit_code)
    end)

    case("output of any bytes", function()
        vm:write_file("/tmp/bytes", bytes)
        assert_eq(bytes, vm:job_wait(vm:background("cat /tmp/bytes"), 20).stdout)
        assert_eq(bytes, vm:job_wait(vm:background({ "cat", "/tmp/bytes" }), 20).stdout)
    end)

    case("many at once, each its own", function()
        local jobs = {}
        for i = 1, 20 do jobs[i] = vm:background("echo job " .. i .. "; exit " .. i) end
        for i = 20, 1, -1 do
            local s = vm:job_wait(jobs[i], 30)
            assert_eq(i, s.exit_code)
            assert_eq("job " .. i .. "\n", s.stdout)
        end
    end)

    case("a job that does not exist", function()
        assert_error(function() vm:job_wait({ id = 999999, pid = 1 }) end)
        assert_error(function() vm:job_kill({ id = 999999, pid = 1 }) end)
        assert_error(function() vm:job_wait(nil) end)
    end)

    case("exec works while jobs run", function()
        local job = vm:background("sleep 600")
        assert_eq("fine", vm:exec("echo fine").stdout.trim())
        vm:job_kill(job)
    end)
end)
