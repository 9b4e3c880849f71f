-- exec, its result, json.

local each = dofile("lib/api/each.lua")
local bytes = dofile("lib/api/bytes.lua")

each(function(vm, case)
    case("exec: every field of the result", function()
        local r = vm:exec("echo out; echo err >&2; exit 7")
        assert_eq(false, r.ok)
        assert_eq(7, r.exit_code)
        assert_eq("out\n", r.stdout.value)
        assert_eq("err\n", r.stderr.value)
        assert(not r.signal or r.signal == 0)
        assert_eq(false, r.timed_out)
        assert(r.duration > 0 and r.duration < 60)
        assert_eq(true, vm:exec("true").ok)
        assert_eq(0, vm:exec("true").exit_code)
    end)

    case("exec: string wrappers with dot and colon", function()
        local out = vm:exec("echo '  some text '").stdout
        assert_eq("  some text \n", out.value)
        assert_eq("some text", out.trim())
        assert_eq("some text", out:trim())
        assert_eq(true, out.contains("me te"))
        assert_eq(true, out:contains("me te"))
        assert_eq(false, out.contains("met"))
        assert_eq(true, out.starts_with("  some"))
        assert_eq(false, out:starts_with("some"))
        assert_eq("  some text \n", tostring(out))
        assert_eq(13, #out)
        assert_eq("<  some text \n>", "<" .. out .. ">")
        assert(out == vm:exec("echo '  some text '").stdout)
    end)

    case("exec: a list runs without a shell, with any bytes but NUL", function()
        local arg = bytes:sub(2)
        assert_eq(arg, vm:exec({ "printf", "%s", arg }).stdout.value)
        assert_error(function() vm:exec({ "echo", "a\0b" }) end)
        assert_error(function() vm:exec({}) end)
    end)

    case("exec: env, cwd, stdin", function()
        assert_eq("1 two", vm:exec("echo $A $B", { env = { A = "1", B = "two" } }).stdout.trim())
        local value = bytes:sub(2)
        assert_eq("V=" .. value .. "\0", vm:exec({ "cat", "/proc/self/environ" }, { env = { V = value } }).stdout.value
            :match("V=[^\0]*\0"))
        assert_eq("/tmp", vm:exec("pwd", { cwd = "/tmp" }).stdout.trim())
        assert_eq(bytes, vm:exec("cat", { stdin = bytes }).stdout.value)
        assert_eq("", vm:exec("cat").stdout.value)
        local why = assert_error(function() vm:exec("pwd", { cwd = "/not/there" }) end, "/not/there")
        assert_contains(why, "No such file or directory")
    end)

    case("exec: 20 MB of stdout and 3 MB of stderr at once, to the byte", function()
        local r = vm:exec([[
            yes 0123456789abcde | head -c 20000000 & out=$!
            yes fedcba987654321 | head -c 3000000 >&2 & err=$!
            wait $out $err]], { timeout = "120s" })
        assert_eq(20000000, #r.stdout)
        assert_eq(3000000, #r.stderr)
        -- one compare, not assert_eq: a difference of 20 MB is no use to anybody
        assert(r.stdout.value == ("0123456789abcde\n"):rep(1250000), "stdout was changed on its way")
        assert(r.stderr.value == ("fedcba987654321\n"):rep(187500), "stderr was changed on its way")
    end)

    case("exec: what can not be started", function()
        local why = assert_error(function() vm:exec({ "/no/such/program" }) end, "/no/such/program")
        assert_contains(why, "No such file or directory")
        assert_error(function() vm:exec({ "/etc/passwd" }) end, "Permission denied")
        assert_eq(127, vm:exec("no_such_command").exit_code)
    end)

    case("exec: a signal", function()
        local r = vm:exec("kill -TERM $$")
        assert_eq(15, r.signal)
        assert_eq(143, r.exit_code)
        assert_eq(false, r.ok)
    end)

    case("exec: a timeout ends the whole process tree", function()
        local marks = { "7301", "7302", "7303" }
        local r = vm:exec("sleep 7301 & setsid sleep 7302 & (sleep 7303)", { timeout = "700ms" })
        assert_eq(true, r.timed_out)
        assert_eq(false, r.ok)
        local left = vm:exec("for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null; echo; done").stdout.value
        for _, mark in ipairs(marks) do
            assert(not left:find("sleep " .. mark, 1, true), "sleep " .. mark .. " is left")
        end
        assert_eq("usable", vm:exec("echo usable").stdout.trim())
    end)

    case("exec: options are checked", function()
        assert_error(function() vm:exec("true", { timout = 1 }) end, "timout")
        assert_error(function() vm:exec("true", { timeout = "soon" }) end, "soon")
        assert_error(function() vm:exec(nil) end)
    end)

    case("json: every type, integers with 64 bits", function()
        vm:write_file("/tmp/json", [[{"max":9223372036854775807,"min":-9223372036854775808,"f":1.5,
            "list":[1,"two",null,true],"text":"a\u00e9\n","empty":{},"none":null}]])
        local t = vm:json("cat /tmp/json")
        assert_eq(math.maxinteger, t.max)
        assert_eq("integer", math.type(t.max))
        assert_eq(math.mininteger, t.min)
        assert_eq("float", math.type(t.f))
        assert_eq({ 1, "two", provium.null, true }, t.list)
        assert_eq("a\xc3\xa9\n", t.text)
        assert_eq({}, t.empty)
        assert(t.none == provium.null)
    end)

    case("json: what is none", function()
        local why = assert_error(function() vm:json("echo '{\"a\": }'") end)
        assert_contains(why, "line 1")
        assert_error(function() vm:json("echo '{}'; echo said why >&2; exit 3") end, "said why")
        assert_error(function() vm:json("true") end)
        assert_error(function() vm:json("echo 123456789012345678901234567890") end)
    end)
end)
