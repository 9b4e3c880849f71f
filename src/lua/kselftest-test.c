/* SPDX-License-Identifier: MIT */
/* provium.kselftest in a real Lua state, with a table that plays the guest. */
#include <string.h>

#include "lua/script-test.h"

/* run(stdout, exit code, fields of the result?) runs a directory with one program and returns its entry. */
#define FAKE \
    "local function run(out, code, more) local r = {stdout = out, stderr = '', exit_code = code or 0,\n" \
    "  timed_out = false, duration = 1.5} for k, v in pairs(more or {}) do r[k] = v end\n" \
    "  local vm = {} function vm:stat(p) return {type = p == '/t' and 'dir' or 'file', mode = 493} end\n" \
    "  function vm:exists(p) return p == '/t/prog' end function vm:list() return {'prog'} end\n" \
    "  function vm:exec() return r end return provium.kselftest(vm, '/t')[1] end\n"

static const struct bad_call bad[] = {
    {"provium.kselftest()", "kselftest needs a VM or a worker, got nil"},
    {"provium.kselftest({}, '/x')", "kselftest needs a VM or a worker, got table"},
    {"provium.kselftest(provium.null, '/x')", "kselftest needs a VM or a worker, got userdata"},
    {"provium.kselftest(vm, '/x', {only = {posix_timers = true}})",
     "kselftest option 'only' must be a list of names, got boolean for posix_timers"},
    {"provium.kselftest(vm)", "kselftest needs the absolute path of a directory of the guest, got nil"},
    {"provium.kselftest(vm, 'timers')",
     "kselftest needs the absolute path of a directory of the guest, got timers"},
    {"provium.kselftest(vm, '/t', 5)", "kselftest needs a table of options, got number"},
    {"provium.kselftest(vm, '/t', {timeot = 5})",
     "unknown kselftest option 'timeot'; known: timeout, only, env"},
    {"provium.kselftest(vm, '/t', {only = 'x'})",
     "kselftest option 'only' must be a list of names, got string"},
    {"provium.kselftest(vm, '/t', {timeout = true})",
     "kselftest option 'timeout' must be a time such as 90 or \"2m\", got boolean"},
};

static void test_refused(void **state)
{
    (void)state;
    refuses(bad, PV_ARRAY_LEN(bad));
}

/* Programs that pass: with TAP, with nested TAP of each kind, without TAP. */
static void test_pass(void **state)
{
    (void)state;
    passes(FAKE "local e = run('TAP version 13\\n1..2\\n# a note\\nok 1 one\\nok 2 - two words # not a "
                "directive\\n')\n"
                "assert_eq('pass', e.outcome) assert_eq('t:prog', e.name) assert_eq(0, e.exit_code)\n"
                "assert_eq({{number = 1, name = 'one', outcome = 'pass'},\n"
                "  {number = 2, name = 'two words # not a directive', outcome = 'pass'}}, e.results)\n"
                "assert_eq('pass', run('[OK] whatever\\nokay\\n').outcome)\n"
                "assert_eq('pass', run('').outcome)\n"
                "e = run('TAP version 13\\n1..1\\nok 1 a\\nTAP version 13\\n1..1\\nok 1 b\\n') "
                "assert_eq('pass', e.outcome)\n"
                "assert_eq('pass', run('ok 1 early\\r\\nok 2\\r\\n1..2\\r\\n').outcome)\n"
                "for _, p in ipairs{'    ', '  ', '\\t', '# '} do\n"
                "  e = run('TAP version 13\\n1..1\\n' .. ('_TAP version 13\\n_1..2\\n_ok 1 a\\n_ok 2 "
                "b\\n'):gsub('_', p)\n"
                "    .. 'ok 1 outer\\n') assert_eq('pass', e.outcome) assert_eq(1, #e.results) end\n"
                "e = run('KTAP version 1\\n1..1\\n  KTAP version 1\\n  # Subtest: s\\n  1..1\\n    KTAP "
                "version 1\\n'\n"
                "  .. '    1..1\\n    ok 1 deep\\n  ok 1 mid\\nok 1 top\\n') assert_eq('pass', e.outcome)\n");
}

static const struct {
    const char *run, *outcome, *reason;
} others[] = {
    {"run('', 4)", "skip", ""},
    {"run('SKIP: no such device\\n', 4)", "skip", "SKIP: no such device"},
    {"run('1..0 # SKIP not here\\n', 4)", "skip", "not here"},
    {"run('TAP version 13\\n1..0 # SKIP not here\\n')", "skip", "not here"},
    {"run('1..2\\nok 1 a # SKIP x\\nok 2 b # SKIP y\\n', 4)", "skip", ""},
    {"run('1..2\\nok 1 a # SKIP x\\nok 2 b # skip y\\n')", "skip", "all of its results are skipped"},
    {"run('1..2\\nok 1 a # XFAIL known\\nnot ok 2 b # TODO later\\n')", "pass", NULL},
    /* never ok */
    {"run('', 1)", "fail", "ended with exit code 1"},
    {"run('', 2)", "fail", "exit code 2"},
    {"run('1..1\\nok 1 a\\n', 139)", "fail", "exit code 139, although no result failed"},
    {"run('1..2\\nok 1 a\\nok 2 b # SKIP\\n', 4)", "fail", "exit code 4"},
    {"run('1..2\\nok 1 a\\nnot ok 2 b\\n')", "fail", "1 of 2 results failed"},
    {"run('1..2\\nok 1 a\\nnot ok 2 b # SKIP x\\n')", "fail", "1 of 2 results failed"},
    {"run('1..2\\nok 1 a\\nok 2 b # ERROR x\\n')", "fail", "1 of 2 results failed"},
    {"run('1..1\\n  1..1\\n  not ok 1 in\\nok 1 out\\n')", "fail", "1 of 1 results failed"},
    {"run('1..3\\nok 1 a\\nBail out! no root\\n')", "fail", "bailed out: no root"},
    {"run('not ok 1 a\\n')", "malformed", "1 results came, and no plan"},
    {"run('ok 1 a\\n')", "malformed", "1 results came, and no plan"},
    {"run('TAP version 13\\n')", "malformed", "0 results came, and no plan"},
    {"run('1..3\\nok 1 a\\nok 2 b\\n')", "malformed", "3 results were planned, 2 came"},
    {"run('1..1\\nok 1 a\\nok 2 b\\n')", "malformed", "1 results were planned, 2 came"},
    {"run('1..2\\nok 1 a\\nok 3 b\\n')", "malformed", "result 3 comes after result 1"},
    {"run('1..2\\nok 2 a\\nok 2 b\\n')", "malformed", "result 2 comes after the start"},
    {"run('1..2\\nok 1 a\\nok 1 a\\n')", "malformed", "result 1 comes after result 1"},
    {"run('1..1\\n1..1\\nok 1 a\\n')", "malformed", "a second plan"},
    {"run('TAP version 13\\nTAP version 13\\n1..0\\n')", "malformed", "a version line in front of result 1"},
    {"run('TAP version 13\\n1..2\\nok 1 a\\nTAP version 13\\n1..1\\nok 1 b\\n')", "malformed",
     "a version line in front of result 2"},
    {"run('TAP version 13\\n1..1\\nok 1 a\\nTAP version 13\\n1..2\\nok 1 b\\n')", "malformed",
     "2 results were planned, 1 came"},
    {"run('TAP version 13\\n1..1\\nok 1 a\\nTAP version 13\\n')", "malformed", "0 results came, and no plan"},
    {"run('TAP version 13\\n1..1\\nok 1 a\\nTAP version 13\\n1..1\\nnot ok 1 b\\n')", "fail",
     "1 of 2 results"},
    {"run('1..999999999999\\nok 1 a\\n')", "malformed", "were planned, 1 came"},
    {"run('1..1\\n  1..2\\n  ok 1 in\\nok 1 out\\n')", "malformed",
     "in result 1: 2 results were planned, 1 came"},
    {"run('1..1\\nok 1 out\\n  1..1\\n  ok 1 in\\n')", "malformed",
     "nested results have no result of their own"},
    {"run('1..2\\nok 1 a\\n', 137, {timed_out = true})", "timeout", "killed after 1.5 s; 1 results had come"},
};

static void test_others(void **state)
{
    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(others); i++) {
        cleanup_free char *script = pv_xasprintf(
            FAKE "local e = %s\nlog('outcome=' .. e.outcome)\nlog('reason=' .. (e.reason or ''))\n",
            others[i].run);
        cleanup_free char *want = pv_xasprintf("outcome=%s\n", others[i].outcome);
        bool failed;
        cleanup_free char *report = script_run(script, &failed);
        bool bad_outcome = strcmp(others[i].outcome, "skip") != 0 && strcmp(others[i].outcome, "pass") != 0;

        if (failed != bad_outcome || !strstr(report, want) ||
            (others[i].reason && !strstr(report, others[i].reason)))
            fail_msg("%s gives:\n%s", others[i].run, report);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused), cmocka_unit_test(test_pass),
                                       cmocka_unit_test(test_others)};

    return cmocka_run_group_tests(tests, script_set_up, script_tear_down);
}
