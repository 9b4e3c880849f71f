/* SPDX-License-Identifier: MIT */
/* Files' processes that send messages which the supervisor must reject. */
#include "util/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "childproto/result.h"
#include "runner/find.h"
#include "runner/slot.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/path.h"

static struct pv_rundir dir;
static int ends, notices, lives;
static size_t longest; /* piece of output with --live */

static int set_up(void **state)
{
    strcpy(dir.path, "/tmp/provium-slot-XXXXXX");
    if (!mkdtemp(dir.path))
        return -1;
    dir.fd = open(dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ends = notices = lives = 0;
    longest = 0;
    *state = pv_loop_new(NULL);
    return 0;
}

static int tear_down(void **state)
{
    pv_loop_free(*state);
    close(dir.fd);
    pv_rm_rf(dir.path);
    return 0;
}

static void on_end(struct slot *s)
{
    (void)s;
    ends++;
}

static void on_notice(struct slot *s, const char *text, size_t n)
{
    (void)s;
    (void)text;
    (void)n;
    notices++;
}

static bool has_ended(void *arg)
{
    (void)arg;
    return ends > 0;
}

static void on_live(struct slot *s, const char *vm, enum pv_live_kind kind, const char *text, size_t n)
{
    (void)s;
    (void)vm;
    (void)kind;
    (void)text;
    lives++;
    longest = n > longest ? n : longest;
}

/* An invalid message among valid ones. */
static void run_invalid(const struct pv_run_file *file, struct pv_result *r, void *arg)
{
    (void)file;
    (void)arg;
    pv_result_phase(r, "booting vm1");
    send(pv_result_fd(r), "nonsense", 8, MSG_NOSIGNAL);
    pv_result_phase(r, "lying");
    pv_result_file(r, PV_OK, PV_CLASS_NONE, NULL);
    _exit(0);
}

/* Runs one file whose process calls `run`. */
static struct pv_file_report run_with(struct pv_loop *loop, bool live,
                                      void (*run)(const struct pv_run_file *, struct pv_result *, void *))
{
    const struct pv_test_file file = {.path = "a.lua", .name = "a.lua", .root = "."};
    struct pv_run_opts o = {.run = run, .timeout_ns = 20 * PV_NSEC_PER_SEC, .live = live};
    struct pv_file_report report = {.name = "a.lua", .path = "a.lua", .root = "."};
    struct slot s;
    struct pv_err err = PV_ERR_INIT;

    slot_init(&s, loop, &dir);
    s.on_end = on_end;
    s.on_notice = on_notice;
    s.on_live = on_live;
    if (slot_start(
            &s, &(struct slot_file){.file = &file, .report = &report, .number = 1, .attempt = 1, .lease = -1},
            &o, &err) < 0)
        fail_msg("%s", err.text);
    if (run == run_invalid) /* all of its messages are there before the first is read */
        assert_int_equal(waitid(P_PID, (id_t)slot_pid(&s), &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
    assert_int_equal(pv_loop_run(loop, has_ended, NULL, pv_deadline(30 * PV_NSEC_PER_SEC), NULL), 0);
    assert_null(s.fault);
    return report;
}

static struct pv_file_report run_file(struct pv_loop *loop,
                                      void (*run)(const struct pv_run_file *, struct pv_result *, void *))
{
    return run_with(loop, false, run);
}

static void run_well(const struct pv_run_file *file, struct pv_result *r, void *arg)
{
    (void)file;
    (void)arg;
    pv_result_file(r, PV_OK, PV_CLASS_NONE, NULL);
}

static void run_notices(const struct pv_run_file *file, struct pv_result *r, void *arg)
{
    (void)file;
    (void)arg;
    for (int i = 0; i < 10 * SLOT_NOTICES; i++)
        pv_result_notice(r, "once more");
    pv_result_file(r, PV_OK, PV_CLASS_NONE, NULL);
}

static void run_empty(const struct pv_run_file *file, struct pv_result *r, void *arg)
{
    (void)file;
    (void)arg;
    send(pv_result_fd(r), "", 0, MSG_NOSIGNAL);
    for (;;)
        pause();
}

static void run_live(const struct pv_run_file *file, struct pv_result *r, void *arg)
{
    (void)file;
    (void)arg;
    pv_result_live(r, "vm1", PV_LIVE_STDOUT, "a\n");
    pv_result_file(r, PV_OK, PV_CLASS_NONE, NULL);
}

static void run_unknown_live(const struct pv_run_file *file, struct pv_result *r, void *arg)
{
    (void)file;
    (void)arg;
    pv_result_live(r, "vm1", PV_LIVE_KINDS, "a\n");
    pv_result_file(r, PV_OK, PV_CLASS_NONE, NULL);
}

/* A line without end. */
static void run_long_line(const struct pv_run_file *file, struct pv_result *r, void *arg)
{
    char part[1000];

    (void)file;
    (void)arg;
    memset(part, 'x', sizeof(part));
    for (int i = 0; i < 1000; i++)
        if (write(1, part, sizeof(part)) < 0)
            break;
    pv_result_file(r, PV_OK, PV_CLASS_NONE, NULL);
}

/* Lines for --live are taken only if asked for, of kinds that there are, and up to LIVE_LINE_MAX. */
static void test_live_is_checked(void **state)
{
    static const char fault[] = "killed by the supervisor: its process sent an invalid event";
    struct pv_file_report f = run_with(*state, true, run_live);

    assert_false(pv_report_failed(&f));
    assert_int_equal(lives, 1);
    pv_file_report_fini(&f);
    ends = lives = 0;
    f = run_with(*state, true, run_unknown_live);
    assert_string_equal(f.msg, fault);
    pv_file_report_fini(&f);
    ends = 0;
    f = run_file(*state, run_live);
    assert_string_equal(f.msg, fault);
    assert_int_equal(lives, 0);
    pv_file_report_fini(&f);
    ends = 0;
    f = run_with(*state, true, run_long_line);
    assert_false(pv_report_failed(&f));
    assert_true(lives > 4 && longest < 100000);
    pv_file_report_fini(&f);
}

static void test_valid_passes(void **state)
{
    struct pv_file_report f = run_file(*state, run_well);

    assert_false(pv_report_failed(&f));
    pv_file_report_fini(&f);
}

static void test_notices_are_bounded(void **state)
{
    struct pv_file_report f = run_file(*state, run_notices);

    assert_false(pv_report_failed(&f));
    assert_int_equal(notices, SLOT_NOTICES + 1);
    pv_file_report_fini(&f);
}

static void test_invalid_event_fails_the_file(void **state)
{
    struct pv_file_report f = run_file(*state, run_invalid);

    assert_int_equal(f.outcome, PV_FAIL);
    assert_int_equal(f.cls, PV_CLASS_HARNESS);
    assert_string_equal(f.msg,
                        "killed by the supervisor: its process sent an invalid event while booting vm1");
    pv_file_report_fini(&f);
}

static void test_invalid_event_ends_the_process(void **state)
{
    struct pv_file_report f = run_file(*state, run_empty);

    assert_int_equal(f.cls, PV_CLASS_HARNESS);
    assert_string_equal(f.msg, "killed by the supervisor: its process sent an invalid event");
    assert_false(f.interrupted);
    pv_file_report_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_valid_passes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_live_is_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_notices_are_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_invalid_event_fails_the_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_invalid_event_ends_the_process, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
