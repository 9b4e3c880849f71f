/* SPDX-License-Identifier: MIT */
/*
 * Scripts through a real Lua state, and what the supervisor would show of them. No VM is started; the options
 * of boot are checked before one would be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lua/run.h"
#include "runner/event.h"
#include "runner/report.h"
#include "runner/result.h"
#include "util/path.h"

static char dir[] = "/tmp/pv-lua-test-XXXXXX";

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(pv_write_all(fd, text, strlen(text)), 0);
    close(fd);
}

/* As --tag, --no-tag and --slow-tests say. */
static struct pv_strv tags, no_tags;
static bool slow_tests;

/* Runs a script as t.lua in the test's directory; the report without its first line. The caller frees. */
static char *run(const char *script, bool *failed)
{
    struct pv_profile minimal = {
        .name = (char *)"minimal", .init = (char *)"/sbin/init", .append = (char *)""};
    struct pv_config config = {.dir = dir, .profiles = &minimal, .n_profiles = 1};
    struct pv_file_report report = {.name = "t.lua", .ran = true};
    struct pv_report_style style = {0};
    struct pv_buf out = {0};
    struct pv_lua_env env = {
        .config = &config, .version = "9.9", .tags = &tags, .no_tags = &no_tags, .slow_tests = slow_tests};
    unsigned char msg[PV_EVENT_MAX];
    int sv[2], rc, size = 8 << 20;
    char *nl;
    ssize_t n;

    put("t.lua", script);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
    setsockopt(sv[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)); /* nobody reads meanwhile */
    env.result = pv_result_new(sv[1]);
    rc = pv_lua_run_file(&env, "t.lua");
    pv_result_free(env.result);
    while ((n = recv(sv[0], msg, sizeof(msg), 0)) > 0) {
        struct pv_event ev;

        assert_true(pv_event_decode(&ev, msg, (size_t)n));
        pv_report_event(&report, &ev);
    }
    close(sv[0]);
    assert_true(report.verdict);
    assert_int_equal(rc, pv_report_failed(&report));
    *failed = rc;
    style.verbose = report.outcome == PV_HELPER; /* so that there is a line */
    for (size_t i = 0; i < report.n_tests; i++) {
        assert_true(report.tests[i].ended);
        report.tests[i].duration_ns = 0;
    }
    pv_format_file(&out, &report, &style);
    pv_file_report_fini(&report);
    nl = strchr(out.data, '\n');
    memmove(out.data, nl + 1, strlen(nl));
    return out.data;
}

static void passes(const char *script)
{
    bool failed;
    cleanup_free char *got = run(script, &failed);

    if (failed)
        fail_msg("%s\nfailed:\n%s", script, got);
}

/* The lines of the source ("  > 3 | ...") apart; tests/self/failures.sh has them. */
static void fails(const char *script, const char *want)
{
    bool failed;
    cleanup_free char *got = run(script, &failed);
    char *to = got;

    assert_true(failed);
    for (char *line = got, *next; *line; line = next) {
        size_t n = strcspn(line, "\n");

        next = line + n + (line[n] == '\n');
        if (!strncmp(line + strspn(line, " "), "> ", 2))
            continue;
        memmove(to, line, (size_t)(next - line));
        to += next - line;
    }
    *to = '\0';
    assert_string_equal(got, want);
}

static int set_up(void **state)
{
    (void)state;
    return !mkdtemp(dir) || chdir(dir) < 0;
}

static int tear_down(void **state)
{
    (void)state;
    return chdir("/") < 0 ? -1 : pv_rm_rf(dir);
}

static void test_assert_eq(void **state)
{
    (void)state;
    passes("assert_eq(1, 1.0) assert_eq(nil, nil) assert_eq('x', 'x')\n"
           "assert_eq({1, {a = {2}}}, {1, {a = {2}}})\n"
           "assert_eq({[{1}] = 'k'}, {[{1}] = 'k'})\n"
           "local a, b = {1}, {1} a.me, b.me = a, b assert_eq(a, b)\n" /* cycles */
           "local c = {1} c.me = {1, me = c} assert_eq(a, c)\n"
           "assert_ne(1, 2) assert_ne({1}, {2}) assert_ne({1}, {1, 2}) assert_ne({1, 2}, {1})\n"
           "assert_ne({[{1}] = 'k'}, {[{2}] = 'k'}) assert_ne({}, {[{}] = 1}) assert_ne('1', 1)\n"
           "local p, q = {}, {} p.x, q.x = p, {} assert_ne(p, q)\n"
           "assert_ne(0/0, 0/0) assert_ne({false}, {nil})\n");
    fails("assert_eq(0, -13)", "    t.lua:1: expected 0, got -13\n");
    fails("assert_eq('1', 1, 'the answer')", "    t.lua:1: the answer: expected \"1\", got 1\n");
    fails("assert_eq(1)", "    t.lua:1: assert_eq needs 2 arguments, got 1\n");
    fails("assert_eq({1, x = {y = {'a'}}}, {1, x = {y = {'b'}}})",
          "    t.lua:1: expected {1, x = {y = {\"a\"}}}, got {1, x = {y = {\"b\"}}}\n"
          "    first difference at .x.y[1]: expected \"a\", got \"b\"\n");
    fails(
        "local a = {} a[1] = a assert_eq(a, {1})",
        "    t.lua:1: expected {<cycle>}, got {1}\n    first difference at [1]: expected {<cycle>}, got 1\n");
    fails("assert_ne({1}, {1})", "    t.lua:1: expected something other than {1}\n");
    fails("assert_eq(nil, false)", "    t.lua:1: expected nil, got false\n");
    fails("assert_eq('a\\27[31m', 'a')", "    t.lua:1: expected \"a\\27[31m\", got \"a\"\n");
}

static void test_diff(void **state)
{
    (void)state;
    fails("local s = '' for i = 1, 9 do s = s .. 'line number ' .. i .. '\\n' end\n"
          "assert_eq(s, (s:gsub('r 5', 'r five'):gsub('line number 8\\n', '')))",
          "    t.lua:2: the strings differ (- expected, + got)\n"
          "    @@ line 5 @@\n"
          "      line number 2\n"
          "      line number 3\n"
          "      line number 4\n"
          "    - line number 5\n"
          "    + line number five\n"
          "      line number 6\n"
          "      line number 7\n"
          "    - line number 8\n"
          "      line number 9\n");
    fails("assert_eq(('x'):rep(300) .. 'a' .. ('y'):rep(50), ('x'):rep(300) .. 'b' .. ('y'):rep(50))",
          "    t.lua:1: the strings differ from byte 301 on (351 and 351 bytes): expected "
          "...\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxayyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\", got "
          "...\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxbyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\"\n");
}

/* Values too large to show do not make a message that is. */
static void test_huge(void **state)
{
    bool failed;
    cleanup_free char *deep = NULL, *wide = NULL, *text = NULL;

    (void)state;
    deep = run("local a, b = {1}, {2} for i = 1, 50000 do a, b = {a}, {b} end assert_eq(a, b)", &failed);
    assert_true(failed && strlen(deep) < 60000);
    wide = run("local a, b = {}, {} for i = 1, 20000 do a[i], b[i] = i, i end b[20000] = 0 assert_eq(a, b)",
               &failed);
    assert_true(failed && strlen(wide) < 10000);
    assert_non_null(strstr(wide, "[20000]: expected 20000, got 0"));
    text = run("local a, b = {}, {} for i = 1, 20000 do a[i], b[i] = 'a' .. i, 'b' .. i end\n"
               "assert_eq(table.concat(a, '\\n'), table.concat(b, '\\n'))",
               &failed);
    assert_true(failed && strlen(text) < 10000);
}

static void test_other_asserts(void **state)
{
    (void)state;
    passes("assert_contains('abc', 'b') assert_contains('a.c', '.') assert_contains({1, {2}}, {2})\n"
           "assert_contains('x1', 1)\n"
           "assert(assert_error(function() error('boom 7') end, 'boom %d'):match('boom'))\n"
           "assert_error(function() error('a[b') end, '[b')\n" /* no pattern, taken as it is */
           "assert_eq('obj', assert_error(function() error({k = 'obj'}) end).k)\n"
           "local a, b = assert(1, 2) assert_eq(2, b)\n");
    fails("assert(false)", "    t.lua:1: assertion failed!\n");
    fails("assert(nil, 'why')", "    t.lua:1: why\n");
    fails("assert_contains({1, 2}, 3)", "    t.lua:1: 3 is not in {1, 2}\n");
    fails("assert_contains('abc', 'd', 'm')", "    t.lua:1: m: \"d\" is not in \"abc\"\n");
    fails("assert_contains(nil, 'd')",
          "    t.lua:1: assert_contains: expected a string or a table to look in, got nil\n");
    fails("assert_error(function() return 5 end)",
          "    t.lua:1: expected an error, but there was none; the function returned 5\n");
    fails("assert_error(function() error('abc', 0) end, 'x')",
          "    t.lua:1: expected an error that matches \"x\", got \"abc\"\n");
    fails("fail('no')", "    t.lua:1: no\n");
}

static void test_sub_tests(void **state)
{
    (void)state;
    fails("test('good', function() assert_eq(1, 1) end)\n"
          "test('bad', function() assert_eq(0, -13) end)\n"
          "test('nil', function() local x; x.y = 1 end)\n"
          "local function helper() fail('deep') end\n"
          "test('outer', function()\n"
          "  test('inner', function() helper() end)\n"
          "  test('skips', function() skip() end)\n"
          "end)\n"
          "test('later', function() pcall(todo, 'waiting') end)\n"
          "test('co', function() coroutine.wrap(function() error('in co') end)() end)\n"
          "test('obj', function() error(setmetatable({}, {__tostring = function() return 'OBJ' end})) end)\n"
          "test('nothing', function() error() end)\n",
          "    \xc2\xb7 good ... ok\n"
          "    \xc2\xb7 bad ... FAIL: expected 0, got -13\n        at t.lua:2\n"
          "    \xc2\xb7 nil ... FAIL: attempt to index a nil value (local 'x')\n        at t.lua:3\n"
          "    \xc2\xb7 outer ... ok\n"
          "    \xc2\xb7 outer \xe2\x80\xba inner ... FAIL: deep\n        at t.lua:4 (in helper)\n        "
          "called from "
          "t.lua:6\n"
          "    \xc2\xb7 outer \xe2\x80\xba skips ... skip\n"
          "    \xc2\xb7 later ... todo: waiting\n"
          "    \xc2\xb7 co ... FAIL: in co\n        at t.lua:10\n"
          "    \xc2\xb7 obj ... FAIL: OBJ\n        at t.lua:11\n"
          "    \xc2\xb7 nothing ... FAIL: error(nil)\n        at t.lua:12\n");
    fails("test('x')", "    t.lua:1: test(\"x\") needs a function as its second argument, got nothing\n");
    fails("test(function() end)", "    t.lua:1: the name of a test must be a string, got function\n");
    fails("test('a', function() end) error('after')", "    \xc2\xb7 a ... ok\n    t.lua:1: after\n");
    fails("skip_ = skip test('f', function() fail('x') end) skip('rest')",
          "    \xc2\xb7 f ... FAIL: x\n        at t.lua:1\n    rest\n");
    fails("local function f() return f() + 1 end test('deep', f)",
          "    \xc2\xb7 deep ... FAIL: stack overflow\n        at t.lua:1 (in f)\n");
    fails("x = = 1", "    t.lua:1: unexpected symbol near '='\n");
}

static void test_strings(void **state)
{
    (void)state;
    passes(
        "local s = '  ab c \\n'\n"
        "assert_eq(s, s.value) assert(s.contains('b c') and s:contains('b c') and not s.contains('z'))\n"
        "assert(s.starts_with('  a') and s:starts_with('  a') and not s:starts_with('a'))\n"
        "assert_eq('ab c', s.trim()) assert_eq('ab c', s:trim()) assert_eq('', (' '):trim())\n"
        "assert(('x').contains('x') and ('x'):contains('x'))\n"
        "assert_eq(8, #s) assert_eq('  ab c \\n!', s .. '!') assert(s == '  ab c \\n' and tostring(s) == s)\n"
        "assert_eq('ab', s:match('%a+')) assert_eq(nil, s.nothing) assert_eq('A', ('a'):upper())\n"
        "assert_eq('a\\0b', ('a\\0b '):trim()) assert(('a\\0b'):contains('\\0'))\n");
    fails("local x = ('a').contains()", "    t.lua:1: contains expects a string, got no value\n");
}

static void test_vm_options(void **state)
{
    static const struct {
        const char *call, *want;
    } bad[] = {
        {"vm:boot{memroy = '1G'}",
         "unknown boot option 'memroy' (did you mean 'memory'?); known: memory, cpus, "
         "files, disks, timeout, append, transport"},
        {"vm:boot{memory = '12Q'}",
         "boot option 'memory': '12Q' is not a size; expected a number with K, M, G or "
         "T, such as \"512M\" or \"1G\""},
        {"vm:boot{memory = 512}", "boot option 'memory' must be a string, got number 512"},
        {"vm:boot{memory = '1M'}", "boot option 'memory': '1M' is too small for a kernel; at least 32M"},
        {"vm:boot{disks = {{path = '/'}}}", "disk 1: '/' is a directory, expected an image file"},
        {"vm:boot{cpus = 0}", "boot option 'cpus' must be 1 to 255, got 0"},
        {"vm:boot{cpus = 1.5}", "boot option 'cpus' must be an integer, got number 1.5"},
        {"vm:boot{cpus = 'two'}", "boot option 'cpus' must be an integer, got string \"two\""},
        {"vm:boot{1}", "boot options are a table of names and values; it has a number as a key"},
        {"vm:boot('1G')", "boot options must be a table, got string \"1G\""},
        {"vm:boot{timeout = 'soon'}",
         "boot option 'timeout': 'soon' is not a time; expected seconds or a number "
         "with ms, s, m or h, such as \"30\", \"500ms\" or \"2m\""},
        {"vm:boot{files = {['etc/x'] = 't.lua'}}",
         "boot option 'files': guest path 'etc/x' must be absolute, such as \"/etc/x\""},
        {"vm:boot{files = {['/x'] = '/none'}}",
         "boot option 'files': host file for '/x': '/none' does not exist on the host"},
        {"vm:boot{files = {'/x'}}",
         "boot option 'files' maps guest paths to host paths, such as {[\"/etc/x\"] = "
         "\"x\"}; it has number 1 as a guest path"},
        {"vm:boot{disks = {{path = '/none.img'}}}", "disk 1: '/none.img' does not exist on the host"},
        {"vm:boot{disks = {{path = 't.lua', redonly = true}}}",
         "unknown disk 1 option 'redonly' (did you mean 'readonly'?); known: path, format, readonly, "
         "snapshot"},
        {"vm:boot{disks = {{format = 'raw'}}}", "disk 1 needs a path: {path = \"disk.img\"}"},
        {"vm:boot{disks = {path = 't.lua'}}",
         "boot option 'disks' must be a list of tables: disks = {{path = \"disk.img\"}}"},
        {"vm.exec('ls')",
         "vm.exec(...) got string \"ls\" where the VM belongs; call it with a colon: vm:exec(...)"},
        {"vm:exce('ls')", "a VM has no method 'exce' (did you mean 'exec'?)"},
        {"vm.x = 1", "a VM takes no fields of yours (tried to set 'x')"},
        {"vm:exec()", "exec needs a command: a string for the shell, or a list of a program and its "
                      "arguments; got nil"},
        {"vm:json({})", "json got an empty list; expected a program and its arguments"},
        {"vm:json('x', {mode = 1})", "unknown json option 'mode'; known: env, cwd, stdin, timeout"},
        {"vm:background('x', {stdin = ''})", "unknown background option 'stdin'; known: env, cwd, timeout"},
        {"vm:job_wait()", "job_wait needs a job: what vm:background(...) returned, or its id; got nothing"},
        {"vm:job_wait({pid = 1})",
         "job_wait needs a job: what vm:background(...) returned, or its id; got table"},
        {"vm:job_kill(-1)", "job_kill: -1 is no job's id"},
        {"vm:job_wait(1, 'soon')", "job_wait: the time to wait: 'soon' is not a time; expected seconds or a "
                                   "number with ms, s, m or h, such as \"30\", \"500ms\" or \"2m\""},
        {"vm:job_wait(1, true)", "job_wait options must be a table, got boolean true"},
        {"vm:dmesg(1)", "what dmesg looks for must be a string, got number 1"},
        {"vm:dmesg{tail = 1}", "unknown dmesg option 'tail'; known: timeout"},
        {"vm:push('/none', '/x')", "push: '/none' does not exist on the host"},
        {"vm:push('t.lua')", "the guest path of push must be a string, got no value"},
        {"vm:pull('/x', '')", "the host path of pull is empty"},
        {"vm:pull('/x', 'y', {mode = 1})", "unknown pull option 'mode'; known: timeout"},
        {"vm:spawn{threads = true}",
         "unknown spawn option 'threads' (did you mean 'thread'?); known: thread, timeout"},
        {"vm:exec({})", "exec got an empty list; expected a program and its arguments"},
        {"vm:exec('a\\0b')", "the command holds a NUL byte"},
        {"vm:exec('a', {env = {['A=B'] = 'x'}})", "exec option 'env' maps names to values, such as {LANG = "
                                                  "\"C\"}; it has string \"A=B\" as a name"},
        {"vm:exec('a', {tiemout = 1})",
         "unknown exec option 'tiemout' (did you mean 'timeout'?); known: env, cwd, stdin, timeout"},
        {"vm:write_file('/x')", "the data of write_file must be a string, got nothing"},
        {"vm:write_file('/x', '', {mode = 644})",
         "write_file option 'mode': 644 is a decimal number here; write \"0644\" (octal, as a string)"},
        {"vm:write_file('/x', '', {mode = '0999'})", "write_file option 'mode' must be permission bits, best "
                                                     "as a string such as \"0644\", got string \"0999\""},
        {"vm:wait_until(1)", "wait_until needs a function, got number 1"},
        {"vm:wait_until(function() end, {timeout = '10ms', interval = '1ms', desc = 'rain'})",
         "waited 0.0 s for rain, which did not come true"},
        {"provium.create('minimal', {memory = '1G'})",
         "provium.create takes only a profile's name; options belong to vm:boot{...}"},
    };

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(bad); i++) {
        cleanup_free char *script = pv_xasprintf("local vm = provium.create('minimal')\n%s", bad[i].call);
        cleanup_free char *want = pv_xasprintf("    t.lua:2: %s\n", bad[i].want);

        fails(script, want);
    }
    passes("local vm <close> = provium.create('minimal')\n"
           "assert_eq('9.9', provium.version)\n"
           "assert_error(function() provium.fixture('x') end, 'there is no fixture')\n"
           "assert_contains(tostring(vm), 'minimal') assert_contains(tostring(vm), 'not booted')\n"
           "assert_eq(3, vm:wait_until(function() return 3 end))\n"
           "vm:kill() vm:kill()\n");
}

static void test_syscall_arguments(void **state)
{
    static const struct {
        const char *call, *want;
    } bad[] = {
        {"vm:syscall()", "syscall: the system call (a number or a name) must be an integer, got nothing"},
        {"vm:syscall('getpdi')", "syscall: there is no system call 'getpdi' (did you mean 'getpid'?)"},
        {"vm:syscall('qqqqqqqqqqqq')",
         "syscall: there is no system call 'qqqqqqqqqqqq' in the kernel headers "
         "that Provium was built with; pass its number"},
        {"vm:syscall(1, nil)", "syscall: argument 0 (of 0 to 5) must be an integer, got nil"},
        {"vm:syscall(1, 1, true)", "syscall: argument 1 (of 0 to 5) must be an integer, got boolean true"},
        {"vm:syscall(1, 1, 2, '3')", "syscall: argument 2 (of 0 to 5) must be an integer, got string \"3\""},
        {"vm:syscall(1, 1.5)", "syscall: argument 0 (of 0 to 5) must be an integer, got number 1.5"},
        {"vm:syscall(1, 2^63)",
         "syscall: argument 0 (of 0 to 5) must be an integer, got number 9.2233720368548e+18"},
        {"vm:syscall(1, 1, 2, 3, 4, 5, 6, 7)", "syscall: a system call takes 6 arguments, got 7"},
        {"vm:syscall(1, {timeuot = 1})",
         "unknown syscall option 'timeuot' (did you mean 'timeout'?); known: timeout"},
        {"vm:syscall(1, {}, 1)", "syscall: argument 0 (of 0 to 5) must be an integer, got table"},
        {"vm:syscall_buf(1, 6, 'x')", "syscall_buf: the buffer's argument must be 0 to 5, got 6"},
        {"vm:syscall_buf(1, 0)", "syscall_buf: the buffer for argument 0 must be a string, got nothing"},
        {"vm:syscall_buf(1, 0, 5)", "syscall_buf: the buffer for argument 0 must be a string, got number 5"},
        {"vm:syscall_bufs(1)", "syscall_bufs: the buffers must be a table such as {[1] = data}, got nothing"},
        {"vm:syscall_bufs(1, {[6] = ''})",
         "syscall_bufs: the keys of the buffers are the arguments that they "
         "replace, 0 to 5; got number 6"},
        {"vm:syscall_bufs(1, {a = ''})", "syscall_bufs: the keys of the buffers are the arguments that they "
                                         "replace, 0 to 5; got string \"a\""},
        {"vm:syscall_bufs(1, {[2] = 1})",
         "syscall_bufs: the buffer for argument 2 must be a string, got number 1"},
        {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)})", "syscall_ptr: 'ptrs' must be a list of tables such as "
                                                     "{{ptr_offset = 0, data_len = 16}}, got nothing"},
        {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {buf_idx = 1})",
         "syscall_ptr: 'ptrs' must be a list of tables such as {{ptr_offset = 0, data_len = 16}}"},
        {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {7})", "syscall_ptr ptrs[1] must be a table such as "
                                                          "{ptr_offset = 0, data_len = 16}, got number 7"},
        {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {{buf_idx = 0, ptr_offset = 0, data_len = 1}})",
         "syscall_ptr ptrs[1]: 'buf_idx' 0 is no buffer; it is the argument that the buffer replaces, as in "
         "the table of buffers"},
        {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {{buf_idx = 1, ptr_offset = 9, data_len = 1}})",
         "syscall_ptr ptrs[1]: a pointer at 'ptr_offset' 9 takes bytes 9 to 16 of its buffer, which has 16"},
        {"vm:syscall_ptr(1, {[1] = 'short'}, {{buf_idx = 1, ptr_offset = 0, data_len = 1}})",
         "syscall_ptr ptrs[1]: a pointer at 'ptr_offset' 0 takes bytes 0 to 7 of its buffer, which has 5"},
        {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {{buf_idx = 1, ptr_offset = -1, data_len = 1}})",
         "syscall_ptr ptrs[1]: 'ptr_offset' must be from 0 to 4294967295, got -1"},
        {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {{buf_idx = 1, ptr_offset = 0, data = 'ab', data_len = "
         "1}})",
         "syscall_ptr ptrs[1]: 'data' has 2 bytes, more than 'data_len' 1"},
        {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {{buf_idx = 1, ptr_offset = 0}})",
         "syscall_ptr ptrs[1] needs 'data_len'"},
        {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {{buf_idx = 1, data = 'x'}})",
         "syscall_ptr ptrs[1] needs 'ptr_offset'"},
        {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {{buf_idx = 1, ptr_offset = 0, data = 'x', buf_len = 1}})",
         "unknown syscall_ptr ptrs[1] option 'buf_len'; known: ptr_offset, data_len, data, output, buf_idx"},
        {"vm:ioctl(1)", "ioctl: the command must be an integer, got nothing"},
        {"vm:ioctl(nil, 1)", "ioctl: the descriptor must be an integer, got nil"},
        {"vm:ioctl(1, 2, true)",
         "ioctl: data that is neither a string nor nil must be an integer, got boolean true"},
        {"vm:ioctl(1, 2, 'x', 'y')",
         "ioctl takes a descriptor, a command, data and options; got 4 arguments"},
        {"vm:ioctl_buf(1, 2)", "ioctl_buf: the struct must be a string, got nothing"},
        {"vm:ioctl_buf(1, 2, 'x')", "ioctl_buf: 'specs' must be a list of tables such as {{ptr_offset = 0, "
                                    "buf_len = 16}}, got nothing"},
        {"vm:ioctl_buf(1, 2, 'x', {{ptr_offset = 0, buf_len = 16}})",
         "ioctl_buf specs[1]: a pointer at 'ptr_offset' 0 takes bytes 0 to 7 of its buffer, which has 1"},
        {"vm:ioctl_buf(1, 2, 'x', {{buf_idx = 1}})",
         "unknown ioctl_buf specs[1] option 'buf_idx'; known: ptr_offset, buf_len, data, output"},
    };
    /* what is well formed gets as far as the state of the VM */
    static const char *const good[] = {
        "vm:syscall('getpid')",
        "vm:syscall(39, 1, 2, 3.0, -4, 5, 6, {timeout = '1s'})",
        "vm:syscall_buf('write', 1, 'x', 1, 0, 1)",
        "vm:syscall_bufs('pipe', {[0] = ('\\0'):rep(8)})",
        "vm:syscall_ptr('readv', {[1] = ('\\0'):rep(16)}, {{buf_idx = 1, ptr_offset = 8, data_len = 3}}, 0, "
        "0, 1)",
        "vm:ioctl(1, 0x80045500)",
        "vm:ioctl(1, 2, 'x', {timeout = '1s'})",
        "vm:ioctl_buf(1, 0xc0105500, '', {{ptr_offset = 8, buf_len = 1}})", /* filled up to 16 bytes */
    };

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(bad); i++) {
        cleanup_free char *script = pv_xasprintf("local vm = provium.create('minimal')\n%s", bad[i].call);
        cleanup_free char *want = pv_xasprintf("    t.lua:2: %s\n", bad[i].want);

        fails(script, want);
    }
    for (size_t i = 0; i < PV_ARRAY_LEN(good); i++) {
        cleanup_free char *script = pv_xasprintf("local vm = provium.create('minimal')\n"
                                                 "assert_error(function() %s end, 'is not booted')",
                                                 good[i]);

        passes(script);
    }
}

static void test_pack(void **state)
{
    static const struct {
        const char *call, *want;
    } bad[] = {
        {"pack('u8', 256)", "field 1 (u8): 256 is out of range 0..255"},
        {"pack('u8', -1)", "field 1 (u8): -1 is out of range 0..255"},
        {"pack('i8 i8', 127, -129)", "field 2 (i8): -129 is out of range -128..127"},
        {"pack('u8 i8 u16', 1, 2, 70000)", "field 3 (u16): 70000 is out of range 0..65535"},
        {"pack('i16', 32768)", "field 1 (i16): 32768 is out of range -32768..32767"},
        {"pack('u32', 4294967296)", "field 1 (u32): 4294967296 is out of range 0..4294967295"},
        {"pack('i32', -2147483649)", "field 1 (i32): -2147483649 is out of range -2147483648..2147483647"},
        {"pack('i64', 2^63)", "field 1 (i64): 9.2233720368548e+18 is out of range "
                              "-9223372036854775808..9223372036854775807"},
        {"pack('u64', 2^64)", "field 1 (u64): 1.844674407371e+19 is out of range 0..18446744073709551615"},
        {"pack('u64', -1.0)", "field 1 (u64): -1.0 is out of range 0..18446744073709551615"},
        {"pack('u8', 1/0)", "field 1 (u8): inf is out of range 0..255"},
        {"pack('u8', 1.5)", "field 1 (u8): 1.5 is no integer"},
        {"pack('u8', '1')", "field 1 (u8): expected an integer, got string \"1\""},
        {"pack('u8', nil)", "field 1 (u8): expected an integer, got nil"},
        {"pack('u8 u16', 1)", "field 2 (u16): there is no value for it (1 given)"},
        {"pack('u8', 1, 2)", "the format of provium.pack has 1 fields, but 2 values were given"},
        {"pack('u8 u24', 1, 2)",
         "field 2: 'u24' is no type; expected u8, i8, u16, i16, u32, i32, u64 or i64"},
        {"pack('u8,u8', 1, 2)",
         "field 1: 'u8,u8' is no type; expected u8, i8, u16, i16, u32, i32, u64 or i64"},
        {"pack(1)", "the format of provium.pack must be a string, got number 1"},
        {"unpack('u8 u32', 'abcd')", "field 2 (u32) needs bytes 2 to 5, but the data has 4"},
        {"unpack('u8', '')", "field 1 (u8) needs bytes 1 to 1, but the data has 0"},
        {"unpack('u8')", "the data of provium.unpack must be a string, got nothing"},
        {"unpack('x', 'abc')", "field 1: 'x' is no type; expected u8, i8, u16, i16, u32, i32, u64 or i64"},
    };

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(bad); i++) {
        cleanup_free char *script = pv_xasprintf("provium.%s", bad[i].call);
        cleanup_free char *want = pv_xasprintf("    t.lua:1: %s\n", bad[i].want);

        fails(script, want);
    }
    passes("local pack, unpack = provium.pack, provium.unpack\n"
           "assert_eq('', pack('')) assert_eq(0, select('#', unpack('', 'x')))\n"
           "assert_eq('\\x01\\xfe\\x34\\x12\\xff\\xff', pack(' u8  i8\\nu16 i16 ', 1, -2, 0x1234, -1))\n"
           "assert_eq('\\x78\\x56\\x34\\x12', pack('u32', 0x12345678))\n"
           "assert_eq('\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff', pack('u64', 0xffffffffffffffff))\n"
           "assert_eq('\\0\\0\\0\\0\\0\\0\\0\\x80', pack('u64', 2^63))\n"
           "assert_eq(-1, (unpack('u64', ('\\xff'):rep(8)))) assert_eq(255, (unpack('u8', '\\xff')))\n"
           "assert_eq(1, (unpack('u8', 'x') == 120) and 1) assert_eq('\\5', pack('u8', 5.0))\n"
           "local a, b, c = unpack('u8 i16 i8', '\\1\\0\\x80\\xffrest')\n"
           "assert_eq({1, -32768, -1}, {a, b, c}) assert_eq('integer', math.type(a))\n");
    passes("local edges = {}\n" /* every type, at every edge, there and back, against Lua's own */
           "for bit = 0, 63 do for d = -2, 2 do edges[#edges + 1] = (1 << bit) + d end end\n"
           "for i = 1, 2000 do edges[#edges + 1] = math.random(0) >> math.random(0, 63) end\n"
           "local own = {u8 = 'B', i8 = 'b', u16 = '<H', i16 = '<h', u32 = '<I4', i32 = '<i4', u64 = '<J', "
           "i64 = '<j'}\n"
           "local n = 0\n"
           "for t, f in pairs(own) do for _, v in ipairs(edges) do\n"
           "  local ok, want = pcall(string.pack, f, v)\n"
           "  local mine, got = pcall(provium.pack, t, v)\n"
           "  if ok ~= mine or ok and want ~= got then fail(t .. ' ' .. v) end\n"
           "  if ok then n = n + 1 assert(provium.unpack(t, got) == v, t) end\n"
           "end end\n"
           "assert(n > 8000, n)\n");
}

static void test_wait_until(void **state)
{
    (void)state;
    passes("local vm, n = provium.create('minimal'), 0\n"
           "local function soon(k) return function() n = n + 1 return n >= k and n end end\n"
           "assert_eq(3, vm:wait_until(soon(3), {interval = '1ms'}))\n"
           /* in a coroutine, with yields inside, and nested */
           "local co = coroutine.wrap(function()\n"
           "  return vm:wait_until(function()\n"
           "    coroutine.yield('waiting')\n"
           "    return vm:wait_until(soon(5), {interval = 0}) == 6\n"
           "  end, {interval = '1ms'})\n"
           "end)\n"
           "assert_eq('waiting', co()) assert_eq('waiting', co()) assert_eq(true, co())\n"
           "assert_error(function() vm:wait_until(function() error('inner') end) end, 'inner')\n"
           "assert_eq(1, select('#', vm:wait_until(function() return 1, 2 end)))\n"
           "local ok, why = pcall(vm.wait_until, vm, function() end, {timeout = 0, desc = 'rain'})\n"
           "assert(not ok) assert_contains(why, 'waited 0.0 s for rain')\n"
           "local t = os.clock() provium.sleep(0.01) provium.sleep('1ms')\n");
}

static void test_scripts(void **state)
{
    (void)state;
    assert_int_equal(mkdir("lib", 0700), 0);
    put("helper.lua", "return {n = 1, args = {...}}");
    put("lib/init.lua", "return 'lib'");
    put("lib/sub.lua", "return 'sub'");
    put("broken.lua", "x = = 1");
    passes("assert_eq(1, require('helper').n) assert_eq('lib', require('lib')) assert_eq('sub', "
           "require('lib.sub'))\n"
           "assert_eq(1, dofile('helper.lua').n) assert_eq(7, loadfile('helper.lua')(7).args[1])\n"
           "local f, why = loadfile('none.lua') assert_eq(nil, f) assert_contains(why, 'none.lua')\n"
           "assert_error(function() dofile('broken.lua') end, 'broken.lua:1')\n"
           "assert_error(function() require('nope') end, 'nope.lua')\n"
           "assert_eq(2, select('#', unpack({1, 2}))) assert_eq(3, loadstring('return 3')())\n");
}

static void test_helper(void **state)
{
    bool failed;
    cleanup_free char *got = run("local M = {} function M.f() assert_eq(1, 2) end return M", &failed);

    (void)state;
    assert_false(failed);
    assert_string_equal(got, "");
}

/* The names of the sub-tests that ran, each followed by a blank; "(MESSAGE)" of a file that was skipped. */
static void selects(const char *tag, const char *no_tag, bool slow, const char *script, const char *want)
{
    cleanup_free char *got = NULL;
    cleanup_buf struct pv_buf names = {0};
    bool failed;

    if (tag)
        pv_strv_add(&tags, tag);
    if (no_tag)
        pv_strv_add(&no_tags, no_tag);
    slow_tests = slow;
    got = run(script, &failed);
    pv_strv_free(&tags);
    pv_strv_free(&no_tags);
    slow_tests = false;
    assert_false(failed);
    if (strcmp(got, want) != 0)
        fail_msg("--tag %s --no-tag %s: got\n%sexpected\n%s", tag, no_tag, got, want);
}

static void test_tags(void **state)
{
    static const char script[] = "local function f() end\n"
                                 "assert_eq(true or false, true)\n"
                                 "test('plain', f)\n"
                                 "test('net', {tags = {'net'}}, function() test('in', f)\n"
                                 "    test('in6', {tags = {'ipv6'}}, f) end)\n"
                                 "test('both', {tags = {'net', 'ipv6'}}, f)\n"
                                 "local ran = test('slow', {slow = true, tags = {}}, f)\n"
                                 "test('options', {}, f)\n";

    (void)state;
#define OK(name) "    \xc2\xb7 " name " ... ok\n"
#define SLOW "    \xc2\xb7 slow ... skip: slow; --slow-tests runs it\n"
    selects(NULL, NULL, false, script,
            OK("plain") OK("net") OK("net \xe2\x80\xba in") OK("net \xe2\x80\xba in6") OK("both")
                SLOW OK("options"));
    selects("net", NULL, false, script,
            OK("net") OK("net \xe2\x80\xba in") OK("net \xe2\x80\xba in6") OK("both"));
    selects("ipv6", NULL, false, script, OK("both"));
    selects("net", "ipv6", false, script, OK("net") OK("net \xe2\x80\xba in"));
    selects(NULL, "net", true, script, OK("plain") OK("slow") OK("options"));
    selects("slow", NULL, false, script, OK("slow"));
    selects(NULL, "slow", false, script,
            OK("plain") OK("net") OK("net \xe2\x80\xba in") OK("net \xe2\x80\xba in6") OK("both")
                OK("options"));
    selects("zzz", NULL, false, script, "");
}

/* It fails, and `part` is told. */
static void tells(const char *script, const char *part)
{
    bool failed;
    cleanup_free char *got = run(script, &failed);

    if (!failed || !strstr(got, part))
        fail_msg("%s\ngave\n%swhere this was expected: %s", script, got, part);
}

static void test_bad_test_options(void **state)
{
    (void)state;
    tells("test('x', {tag = {'a'}}, print)",
          "t.lua:1: unknown test option 'tag' (did you mean 'tags'?); known: "
          "tags, timeout, slow");
    tells("test('x', {tags = 'net'}, print)", "test option 'tags' must be a table, got string \"net\"");
    tells("test('x', {tags = {a = 1}}, print)", "test option 'tags' must be a list of strings");
    tells("test('x', {tags = {'a', 1}}, print)", "a tag of a test must be a string, got number 1");
    tells("test('x', {tags = {''}}, print)", "a tag of a test is empty");
    tells("test('x', {timeout = 'soon'}, print)", "test option 'timeout': 'soon' is not a time");
    tells("test('x', {slow = 1}, print)", "test option 'slow' must be true or false, got number 1");
    tells("test('x', {slow = true})", "test(\"x\") needs a function as its third argument, got nothing");
    tells("test('x', {}, 5)", "test(\"x\") needs a function as its third argument, got number");
    tells("test('x', 'slow', print)", "test(\"x\") needs a function as its second argument, got string");
}

/* Each script spins for ever if nothing stops it; the test of this program has a limit, too. */
static void test_timeouts(void **state)
{
    static const char *const late[] = {
        "test('t', {timeout = 0.05}, function() while true do end end)",
        "test('t', {timeout = '50ms'}, function() while true do pcall(function() end) end end)",
        "test('t', {timeout = 0.05}, function() while true do pcall(function() while true do end end) end "
        "end)",
        "test('t', {timeout = 0.05}, function() provium.sleep(60) end)",
        "test('t', {timeout = 0.05}, function() pcall(provium.sleep, 60) while true do end end)",
        "test('t', {timeout = 0.05}, function() coroutine.wrap(function() while true do end end)() end)",
        "local co = coroutine.wrap(function() coroutine.yield() while true do end end) co()\n"
        "test('t', {timeout = 0.05}, function() co() end)",
        "local co = coroutine.create(function() while true do end end)\n"
        "test('t', {timeout = 0.05}, function() while true do coroutine.resume(co) end end)",
        "coroutine.wrap(function() test('t', {timeout = 0.05}, function() while true do end end) end)()",
        "test('t', {timeout = 0.05}, function() local x <close> = setmetatable({},\n"
        "    {__close = function() while true do end end}) while true do end end)",
        "test('t', {timeout = 0.05}, function() test('in', function() while true do end end)\n"
        "    while true do end end)",
        "test('out', function() test('t', {timeout = 0.05}, function() while true do end end)\n"
        "    provium.sleep(0.1) end)",
    };

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(late); i++) {
        bool failed;
        cleanup_free char *got = run(late[i], &failed);

        if (!failed || !strstr(got, "t ... FAIL: ") || !strstr(got, "timed out after 0.05 s") ||
            strstr(got, "out ... FAIL: timed"))
            fail_msg("%s\ngave\n%s", late[i], got);
    }
    tells("test('t', {timeout = 0.05}, function() provium.sleep(60) end)",
          "t ... FAIL: timed out after 0.05 s, sleeping for 60 s");
    tells("test('t', {timeout = 0.05}, function() test('in', {timeout = 9}, function() while true do end "
          "end) end)",
          "in ... FAIL: the test around it, 't', timed out after 0.05 s");
    /* What swallows it, and what was too late in C, has failed all the same. */
    tells("test('t', {timeout = 0.05}, function() pcall(provium.sleep, 60) end)",
          "t ... FAIL: timed out: it took 0.0");
    tells("test('t', {timeout = 0.05}, function() os.execute('sleep 0.2') end)", "its timeout is 0.05 s");
    /* Clean-up has its second. */
    tells(
        "local done test('t', {timeout = 0.05}, function()\n"
        "    local x <close> = setmetatable({}, {__close = function() for i = 1, 5000 do done = i end end})\n"
        "    while true do end end) error('done ' .. done)",
        "done 5000");
    /* Afterwards there is no limit any more, not in a coroutine that a test has left behind either. */
    passes(
        "local co test('t', {timeout = 0.2}, function()\n"
        "    co = coroutine.wrap(function() coroutine.yield() for i = 1, 1e6 do end return 7 end) co() end)\n"
        "provium.sleep(0.25) for i = 1, 1e6 do end assert_eq(7, co())\n"
        "test('u', function() for i = 1, 1e6 do end end)");
    passes("test('t', {timeout = 30}, function() for i = 1, 1e6 do end assert_eq(1, 1) skip('s') end)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_bad_test_options),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_assert_eq),
        cmocka_unit_test(test_diff),
        cmocka_unit_test(test_huge),
        cmocka_unit_test(test_other_asserts),
        cmocka_unit_test(test_sub_tests),

        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_vm_options),
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_helper),
        cmocka_unit_test(test_syscall_arguments),
        cmocka_unit_test(test_pack),
        cmocka_unit_test(test_wait_until),
    };

    return cmocka_run_group_tests_name("lua", tests, set_up, tear_down);
}
