/* SPDX-License-Identifier: MIT */
#include "lua/script-test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lua/run.h"
#include "childproto/event.h"
#include "terminal/format.h"
#include "childproto/result.h"
#include "util/path.h"

static char dir[] = "/tmp/pv-lua-test-XXXXXX";

void script_put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(pv_write_all(fd, text, strlen(text)), 0);
    close(fd);
}

struct pv_strv script_tags, script_no_tags;
bool script_slow_tests;

char *script_run(const char *script, bool *failed)
{
    struct pv_profile minimal = {
        .name = (char *)"minimal", .init = (char *)"/sbin/init", .append = (char *)""};
    struct pv_config config = {.dir = dir, .profiles = &minimal, .n_profiles = 1};
    struct pv_file_report report = {.name = "t.lua", .ran = true};
    struct pv_format_style style = {0};
    struct pv_buf out = {0};
    struct pv_testfile_env env = {.config = &config,
                                  .version = "9.9",
                                  .tags = &script_tags,
                                  .no_tags = &script_no_tags,
                                  .slow_tests = script_slow_tests};
    unsigned char msg[PV_EVENT_MAX];
    int sv[2], rc, size = 8 << 20;
    char *nl;
    ssize_t n;

    script_put("t.lua", script);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
    setsockopt(sv[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)); /* it is read only after the run */
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

void passes(const char *script)
{
    bool failed;
    cleanup_free char *got = script_run(script, &failed);

    if (failed)
        fail_msg("%s\nfailed:\n%s", script, got);
}

void fails(const char *script, const char *want)
{
    bool failed;
    cleanup_free char *got = script_run(script, &failed);
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

void refuses(const struct bad_call *calls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        cleanup_free char *script = pv_xasprintf("local vm = provium.create('minimal')\n%s", calls[i].call);
        cleanup_free char *want = pv_xasprintf("    t.lua:2: %s\n", calls[i].want);

        fails(script, want);
    }
}

int script_set_up(void **state)
{
    (void)state;
    return !mkdtemp(dir) || chdir(dir) < 0;
}

int script_tear_down(void **state)
{
    (void)state;
    return chdir("/") < 0 ? -1 : pv_rm_rf(dir);
}
