/* SPDX-License-Identifier: MIT */
/* The destinations of reports, their excerpts of consoles, and the steps that a file's process sends. */
#include "util/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "childproto/event.h"
#include "report/outputs.h"
#include "util/err.h"
#include "util/path.h"

static char dir[] = "/tmp/pv-reports-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return chdir("/") == 0 ? pv_rm_rf(dir) : -1;
}

static void file_write(const char *path, const void *data, size_t n)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(pv_write_all(fd, data, n), 0);
}

static void file_read(const char *path, struct pv_buf *out)
{
    pv_buf_free(out);
    assert_int_equal(pv_read_file(path, 10 << 20, out, NULL), 0);
}

static size_t count_substr(const char *s, const char *what)
{
    size_t n = 0;

    for (; (s = strstr(s, what)); s++)
        n++;
    return n;
}

/* Asserts the names in the working directory; a hidden one is a temporary file that was not removed. */
static void assert_names(const char *want)
{
    cleanup_buf struct pv_buf got = {0};
    FILE *ls = popen("LC_ALL=C ls -A | tr '\\n' ' '", "r");
    char buf[200];

    assert_non_null(ls);
    while (fgets(buf, sizeof(buf), ls))
        pv_buf_adds(&got, buf);
    pclose(ls);
    assert_string_equal(got.data ? got.data : "", want);
}

static const char *const names[] = {"a.lua", "b.lua"};
static const struct pv_run_info info = {
    .version = "1", .host = "h", .directory = "/", .files = names, .n_files = 2, .n_selected = 2};

/* A whole report exists at every moment, and the directory holds nothing else. */
static void test_whole_at_any_time(void **state)
{
    struct pv_output_opts o = {.json = "r.json", .junit = "r.xml", .html = "r.html"};
    struct pv_file_report a = {.name = "a.lua", .ran = true}, b = {.name = "b.lua"};
    cleanup_buf struct pv_buf out = {0};
    struct pv_err err = PV_ERR_INIT;
    struct pv_outputs *rs;
    struct stat st;
    mode_t mask = umask(027);

    (void)state;
    file_write("r.xml", "old", 3);
    assert_int_equal(symlink("r.xml", "link.xml"), 0);
    o.junit = "link.xml";
    rs = pv_outputs_open(&o, &info, NULL, &err);
    assert_non_null(rs);
    umask(mask);
    assert_names("link.xml r.html r.json r.xml ");
    file_read("r.xml", &out);
    assert_non_null(strstr(out.data, "<testsuites"));
    assert_non_null(strstr(out.data, "</testsuites>\n"));
    assert_int_equal(lstat("link.xml", &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(stat("r.html", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    pv_outputs_begin(rs, &a);
    file_read("r.json", &out);
    assert_int_equal(count_substr(out.data, "\n"), 2);
    usleep(300000); /* more than twenty times as long as writing so small a report takes */
    pv_outputs_file(rs, &a);
    file_read("r.xml", &out);
    assert_int_equal(count_substr(out.data, "<testsuite "), 1);
    assert_int_equal(count_substr(out.data, "</testsuites>\n"), 1);
    file_read("r.html", &out);
    assert_int_equal(count_substr(out.data, "class=\"file\">"), 1);
    assert_non_null(strstr(out.data, "\"exit_code\":null"));
    pv_outputs_file(rs, &b); /* was not run */
    assert_int_equal(pv_outputs_end(rs, 130, "SIGINT", &err), 0);
    pv_outputs_free(rs);
    file_read("r.xml", &out);
    assert_int_equal(count_substr(out.data, "<testsuite "), 2);
    file_read("r.html", &out);
    assert_int_equal(count_substr(out.data, "class=\"file\">"), 2);
    assert_non_null(strstr(out.data, "\"exit_code\":130"));
    file_read("r.json", &out);
    assert_int_equal(count_substr(out.data, "\n"), 5);
    assert_non_null(strstr(out.data, "\"verdict\":\"not-run\""));
    assert_non_null(strstr(out.data, "\"files\":1,"));
    assert_non_null(strstr(out.data, "\"not_run\":1,"));
    assert_names("link.xml r.html r.json r.xml ");
}

static void assert_refused(struct pv_output_opts o, const char *want)
{
    struct pv_err err = PV_ERR_INIT;

    assert_null(pv_outputs_open(&o, &info, NULL, &err));
    assert_int_equal(err.cls, PV_E_USAGE);
    assert_string_equal(err.text, want);
}

static void test_bad_paths(void **state)
{
    (void)state;
    assert_refused((struct pv_output_opts){.junit = "no/where.xml"},
                   "test: --junit 'no/where.xml': there is no directory 'no'; make it first");
    assert_refused((struct pv_output_opts){.json = "no/r.json"},
                   "test: --json 'no/r.json': there is no directory 'no'; make it first");
    assert_refused((struct pv_output_opts){.html = "."}, "test: --html '.': is a directory; expected a file");
    assert_refused((struct pv_output_opts){.json = "x", .html = "./x"},
                   "test: --html './x': is the file of another report too");
    assert_refused((struct pv_output_opts){.json = "-", .tap = true},
                   "test: --tap and --json can not both have standard output; give one a file");
    assert_refused((struct pv_output_opts){.json = "-", .html = "-"},
                   "test: --json and --html can not both have standard output; give one a file");
}

/* pv_outputs_end names a report that can no longer be written. */
static void test_full(void **state)
{
    static const char *const paths[] = {"/dev/full", "/dev/full"};
    struct pv_file_report a = {.name = "a.lua", .ran = true};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct pv_output_opts o = {.json = i ? NULL : paths[0], .junit = i ? paths[1] : NULL};
        struct pv_err err = PV_ERR_INIT;
        struct pv_outputs *rs = pv_outputs_open(&o, &info, NULL, &err);

        assert_non_null(rs);
        pv_outputs_file(rs, &a);
        assert_int_equal(pv_outputs_end(rs, 0, NULL, &err), -1);
        assert_non_null(strstr(err.text, "cannot write the report --j"));
        assert_non_null(strstr(err.text, "/dev/full"));
        pv_outputs_free(rs);
    }
}

/* ---- consoles ---- */

static void add_step(struct pv_file_report *f, const char *vm, int64_t begin, int64_t end)
{
    uint32_t id = (uint32_t)f->n_steps;
    struct pv_event ev = {.type = PV_EV_STEP_BEGIN, .id = id, .console = begin};

    ev.name = vm;
    ev.name_len = strlen(vm);
    pv_report_event(f, &ev);
    pv_report_event(f, &(struct pv_event){.type = PV_EV_STEP_END, .id = id, .console = end});
}

static void add_log(struct pv_file_report *f, const char *vm, const char *path)
{
    pv_report_event(
        f,
        &(struct pv_event){
            .type = PV_EV_LOG, .name = vm, .name_len = strlen(vm), .text = path, .text_len = strlen(path)});
}

static void test_consoles(void **state)
{
    static const char log[] = "one\r\n\033[31mtwo\033[0m\r\n\xff\0\033]0;title\athree\rfour\n\033[";
    struct pv_file_report f = {.name = "a.lua", .ran = true};
    const int64_t two = 10, three = (int64_t)(strstr(log, "\r\n\xff") - log) + 2 + 2 + 10;

    (void)state;
    file_write("vm1.log", log, sizeof(log) - 1);
    add_log(&f, "vm1", "vm1.log");
    add_log(&f, "vm2", "missing.log");
    add_step(&f, "vm1", 0, two);
    add_step(&f, "vm1", three, 1000);
    add_step(&f, "vm2", 1, 2);
    add_step(&f, "", -1, -1);
    pv_report_load_consoles(&f, 1000);
    assert_int_equal(f.n_texts, 1);
    assert_string_equal(f.texts[0].text, "one\ntwo\n\\xff\\x00three\nfour\n");
    assert_int_equal(f.texts[0].cut, 0);
    assert_int_equal(f.steps[0].console_begin, 0);
    assert_memory_equal(f.texts[0].text + f.steps[0].console_end, "two", 3);
    assert_memory_equal(f.texts[0].text + f.steps[1].console_begin, "three", 5);
    assert_int_equal(f.steps[1].console_end, strlen(f.texts[0].text));
    for (int i = 2; i < 4; i++)
        assert_true(f.steps[i].console_begin == -1 && f.steps[i].console_end == -1);
    pv_file_report_fini(&f);
    unlink("vm1.log");
}

/* A report holds only the end of a large log, and nothing of a symbolic link in a log's place. */
static void test_console_bounds(void **state)
{
    struct pv_file_report f = {.name = "a.lua", .ran = true};
    cleanup_buf struct pv_buf log = {0};

    (void)state;
    for (int i = 0; i < 1000; i++)
        pv_buf_addf(&log, "line %d\n", i);
    file_write("vm1.log", log.data, log.len);
    assert_int_equal(symlink("vm1.log", "vm2.log"), 0);
    add_log(&f, "vm1", "vm1.log");
    add_log(&f, "vm2", "vm2.log");
    add_step(&f, "vm1", 5, (int64_t)log.len - 9);
    pv_report_load_consoles(&f, 18);
    assert_int_equal(f.n_texts, 1);
    assert_string_equal(f.texts[0].text, "line 998\nline 999\n");
    assert_int_equal(f.texts[0].cut, log.len - 18);
    assert_int_equal(f.steps[0].console_begin, 0);
    assert_int_equal(f.steps[0].console_end, 9);
    pv_file_report_fini(&f);
    unlink("vm1.log");
    unlink("vm2.log");
}

/* ---- steps ---- */

static void drain_steps(int fd, struct pv_file_report *f)
{
    static unsigned char buf[PV_EVENT_MAX + 1];
    struct pv_event ev;
    ssize_t n;

    while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
        assert_true(pv_event_decode(&ev, buf, (size_t)n));
        pv_report_event(f, &ev);
    }
}

static int64_t size_of_log(const char *vm, void *arg)
{
    assert_string_equal(vm, "vm1");
    return (*(int64_t *)arg)++;
}

static void test_steps(void **state)
{
    struct pv_file_report f = {.name = "a.lua", .ran = true};
    struct pv_result *r;
    uint32_t outer, inner;
    int64_t size = 100;
    int sv[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), 0);
    r = pv_result_new(sv[1]);
    assert_int_equal(pv_result_step_begin(r, "vm1", PV_STEP_CALL, "nobody asked"), PV_NO_STEP);
    pv_result_step_end(r, PV_NO_STEP, true);
    pv_result_want_steps(r);
    pv_result_set_console_size(r, size_of_log, &size);
    outer = pv_result_step_begin(r, "vm1", PV_STEP_BOOT, "booting");
    inner = pv_result_step_begin(r, NULL, PV_STEP_WAIT, "waiting");
    pv_result_step_end(r, outer, true); /* in any order */
    pv_result_step_end(r, inner, false);
    for (int i = 0; i < 3000; i++) {
        pv_result_step_end(r, pv_result_step_begin(r, "vm1", PV_STEP_CALL, "call"), true);
        drain_steps(sv[0], &f);
    }
    pv_result_step_begin(r, "vm1", PV_STEP_BOOT, "still there, and never ends");
    pv_result_file(r, PV_OK, PV_CLASS_NONE, NULL);
    drain_steps(sv[0], &f);
    assert_int_equal(f.n_steps, 2 + PV_STEP_CALLS_MAX + 1);
    assert_int_equal(f.steps_cut, 3000 - PV_STEP_CALLS_MAX);
    assert_true(f.steps[0].kind == PV_STEP_BOOT && f.steps[0].ended && f.steps[0].ok);
    assert_int_equal(f.steps[0].console_begin, 100);
    assert_int_equal(f.steps[0].console_end, 101);
    assert_true(f.steps[1].ended && !f.steps[1].ok && f.steps[1].console_begin == -1);
    assert_true(f.steps[0].begin_ns <= f.steps[1].begin_ns && f.steps[1].begin_ns <= f.steps[0].end_ns);
    assert_string_equal(f.steps[f.n_steps - 1].text, "still there, and never ends");
    assert_false(f.steps[f.n_steps - 1].ended);
    pv_result_free(r);
    close(sv[0]);
    pv_file_report_fini(&f);
}

static void test_attempts(void **state)
{
    struct pv_file_report f = {.name = "a.lua", .base_ns = 7, .ran = true, .duration_ns = 9};

    (void)state;
    pv_report_event(&f, &(struct pv_event){.type = PV_EV_TEST_BEGIN, .name = "t", .name_len = 1});
    pv_report_event(&f, &(struct pv_event){.type = PV_EV_TEST_END,
                                           .outcome = PV_FAIL,
                                           .cls = PV_CLASS_ASSERTION,
                                           .text = "m",
                                           .text_len = 1});
    pv_report_event(&f, &(struct pv_event){.type = PV_EV_FILE, .outcome = PV_FAIL});
    pv_report_next_attempt(&f);
    assert_true(f.n_attempts == 1 && f.n_tests == 0 && !f.ran && !f.verdict && f.base_ns == 7);
    assert_string_equal(f.name, "a.lua");
    assert_string_equal(f.attempts[0].msg, "t: m");
    assert_true(f.attempts[0].cls == PV_CLASS_ASSERTION && f.attempts[0].duration_ns == 9);
    pv_report_broken(&f, PV_CLASS_HARNESS, "killed");
    pv_report_next_attempt(&f);
    assert_int_equal(f.n_attempts, 2);
    assert_string_equal(f.attempts[0].msg, "t: m");
    assert_string_equal(f.attempts[1].msg, "killed");
    pv_file_report_fini(&f);
}

/* pv_report_shed keeps the verdict of a file that has been shown, and drops its tests, steps and output. */
static void test_shed(void **state)
{
    struct pv_file_report f = {.name = "a.lua", .ran = true};

    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        pv_report_event(&f,
                        &(struct pv_event){.type = PV_EV_TEST_BEGIN, .id = i, .name = "t", .name_len = 1});
        pv_report_event(&f, &(struct pv_event){.type = PV_EV_TEST_END,
                                               .id = i,
                                               .outcome = i ? PV_FAIL : PV_OK,
                                               .cls = i ? PV_CLASS_ASSERTION : PV_CLASS_NONE});
    }
    add_step(&f, "vm1", 0, 1);
    pv_report_output(&f, "x", 1);
    pv_report_shed(&f);
    assert_true(pv_report_failed(&f) && f.cls == PV_CLASS_ASSERTION);
    assert_true(f.n_tests == 0 && f.n_steps == 0 && f.output.len == 0);
    pv_file_report_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_paths),      cmocka_unit_test(test_whole_at_any_time),
        cmocka_unit_test(test_full),           cmocka_unit_test(test_consoles),
        cmocka_unit_test(test_console_bounds), cmocka_unit_test(test_steps),
        cmocka_unit_test(test_attempts),       cmocka_unit_test(test_shed),
    };

    return cmocka_run_group_tests_name("runner-reports", tests, make_dir, remove_dir);
}
