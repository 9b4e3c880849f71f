/* SPDX-License-Identifier: MIT */
/* Each writer with hostile strings, as tests and guests may send them: the report is always valid. */
#include "util/test.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "childproto/event.h"
#include "report/writers.h"
#include "util/text.h"

static const char *const hostile[] = {
    "",
    "plain",
    "two\nlines\r\nand\ta tab",
    "]]> <![CDATA[ &amp; &bogus; <a b='c\">",
    "</script><script>alert(1)</script><!-- <!--DATA-->",
    "\x01\x02\x1b[31m\x07\x08\x0b\x0c\x0e\x1f\x7f",
    "\xc2\x80\xc2\x9f \xe2\x80\xa8\xe2\x80\xa9 \xef\xbb\xbf \xe2\x80\xae",
    "\xff\xfe\x80 \xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82",
    "\xef\xbf\xbe\xef\xbf\xbf \xf0\x9f\x90\xa7",
    "# SKIP not so # TODO neither \\# \\",
    "1..3\nok 1\nBail out!\n  ---\n  ...\n---",
    "\\ \" \\\" ' \\u0000 \\x00 %s%n ${x} @SCRIPT@",
    "caf\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac",
};

enum { N = PV_ARRAY_LEN(hostile) };

static const struct pv_run_info info = {
    .version = "1.2.3", .host = "h<>&\"\x01\xff", .directory = "/d\n\xff", .files = hostile, .n_files = N};

static void report_say(struct pv_file_report *f, struct pv_event ev)
{
    ev.name_len = ev.name ? strlen(ev.name) : 0;
    ev.text_len = ev.text ? strlen(ev.text) : 0;
    pv_report_event(f, &ev);
}

/* A failed file with s as each of its strings, and one sub-test of each outcome. */
static void fill_report(struct pv_file_report *f, const char *s)
{
    *f = (struct pv_file_report){.name = s, .ran = true, .begin_ns = 1, .duration_ns = 2000000000};
    report_say(f, (struct pv_event){.type = PV_EV_FILE, .outcome = PV_FAIL, .cls = PV_CLASS_LUA, .text = s});
    pv_report_next_attempt(f);
    f->ran = true;
    for (uint32_t i = 0; i < PV_HELPER; i++) {
        report_say(f, (struct pv_event){.type = PV_EV_TEST_BEGIN, .id = i, .name = s});
        report_say(f, (struct pv_event){.type = PV_EV_TEST_META, .id = i, .name = s, .text = s, .ok = i > 1});
        report_say(
            f, (struct pv_event){.type = PV_EV_TEST_META, .id = i, .name = s, .text = "more", .ok = i > 1});
        report_say(f, (struct pv_event){.type = PV_EV_TEST_ATTEMPT, .id = i, .cls = PV_CLASS_LUA, .text = s});
        report_say(f, (struct pv_event){.type = PV_EV_NOTE, .id = i, .text = s});
        if (i == PV_XFAIL)
            report_say(f, (struct pv_event){.type = PV_EV_TEST_EXPECT, .id = i, .text = s});
        report_say(f, (struct pv_event){.type = PV_EV_TEST_END,
                                        .id = i,
                                        .outcome = (enum pv_outcome)i,
                                        .cls = i == PV_FAIL ? PV_CLASS_ASSERTION : PV_CLASS_NONE,
                                        .text = s});
    }
    report_say(f, (struct pv_event){.type = PV_EV_NOTE, .id = PV_NO_TEST, .text = s});
    report_say(f, (struct pv_event){.type = PV_EV_CONSOLE, .id = 1, .name = s, .text = s});
    report_say(f, (struct pv_event){.type = PV_EV_CONSOLE, .id = PV_NO_TEST, .name = s, .text = s});
    report_say(f, (struct pv_event){.type = PV_EV_LOG, .name = s, .text = s});
    report_say(
        f, (struct pv_event){
               .type = PV_EV_STEP_BEGIN, .id = 0, .kind = PV_STEP_BOOT, .name = s, .text = s, .console = 3});
    report_say(f, (struct pv_event){.type = PV_EV_STEP_END, .id = 0, .ok = true, .time_ns = 5, .console = 4});
    report_say(f, (struct pv_event){
                      .type = PV_EV_STEP_BEGIN, .id = 1, .kind = PV_STEP_CALL, .text = s, .console = -1});
    report_say(f,
               (struct pv_event){.type = PV_EV_FILE, .outcome = PV_FAIL, .cls = PV_CLASS_TIMEOUT, .text = s});
    pv_report_output(f, s, strlen(s));
    pv_report_output(f, "a\0b", 3);
}

/* Calls fn for every string, and for 300 random ones. */
static void for_each_string(void (*fn)(const struct pv_file_report *f, const char *s))
{
    struct pv_file_report f;
    char random[64];
    unsigned seed = 1;

    for (size_t i = 0; i < N + 300; i++) {
        const char *s = i < N ? hostile[i] : random;

        for (size_t j = 0; i >= N && j < sizeof(random); j++) {
            seed = seed * 1103515245 + 12345;
            random[j] = j + 1 == sizeof(random) ? '\0' : (char)(1 + (seed >> 16) % 255);
        }
        fill_report(&f, s);
        fn(&f, s);
        pv_file_report_fini(&f);
    }
}

/* ---- JSON ---- */

static bool valid_utf8(const char *s)
{
    uint32_t cp;

    for (size_t i = 0, len, n = strlen(s); i < n; i += len)
        if (!(len = pv_text_utf8((const unsigned char *)s + i, n - i, &cp)))
            return false;
    return true;
}

static json_t *parse_json(const char *s, size_t n)
{
    json_error_t e;
    json_t *j = json_loadb(s, n, JSON_REJECT_DUPLICATES, &e);

    if (!j)
        print_message("%s at %d: %.*s\n", e.text, e.position, (int)n, s);
    assert_non_null(j);
    return j;
}

static const char *member_str(const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));

    return s ? s : "";
}

static void check_json(const struct pv_file_report *f, const char *s)
{
    cleanup_buf struct pv_buf out = {0};
    json_t *j, *test;

    pv_json_file(&out, f, false);
    assert_ptr_equal(strchr(out.data, '\n'), out.data + out.len - 1);
    j = parse_json(out.data, out.len);
    test = json_array_get(json_object_get(j, "tests"), 1);
    assert_string_equal(member_str(test, "outcome"), "fail");
    assert_string_equal(member_str(test, "class"), "assertion");
    if (valid_utf8(s)) {
        assert_string_equal(member_str(j, "file"), s);
        assert_string_equal(member_str(test, "message"), s);
        assert_string_equal(member_str(json_array_get(json_object_get(j, "steps"), 0), "text"), s);
        assert_string_equal(member_str(json_array_get(json_object_get(j, "attempts"), 0), "message"), s);
    }
    assert_non_null(strstr(member_str(j, "output"), "a\\x00b"));
    assert_true(json_is_null(json_object_get(json_array_get(json_object_get(j, "steps"), 1), "end_ns")));
    json_decref(j);
    pv_buf_free(&out);
    pv_json_file(&out, f, true);
    j = parse_json(out.data, out.len);
    assert_int_equal(json_array_size(json_object_get(j, "steps")), 1);
    assert_int_equal(json_integer_value(json_object_get(j, "steps_cut")), 1);
    json_decref(j);
}

static void test_json(void **state)
{
    struct pv_run_end end = {.exit_code = 1, .stopped_by = "SIGINT"};
    cleanup_buf struct pv_buf out = {0};
    json_t *j;

    (void)state;
    for_each_string(check_json);
    pv_json_run(&out, &info);
    j = parse_json(out.data, out.len);
    assert_string_equal(member_str(j, "schema"), "provium-report/1");
    assert_int_equal(json_array_size(json_object_get(j, "files")), N);
    json_decref(j);
    pv_buf_free(&out);
    pv_json_end(&out, &end);
    j = parse_json(out.data, out.len);
    assert_string_equal(member_str(j, "stopped_by"), "SIGINT");
    json_decref(j);
}

/* ---- XML ---- */

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
}

/* The length of the entity at p, which must be one that the writers use. */
static size_t entity_len(const char *p)
{
    static const char *const known[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#10;", "&#9;", "&#13;"};

    for (size_t i = 0; i < PV_ARRAY_LEN(known); i++)
        if (!strncmp(p, known[i], strlen(known[i])))
            return strlen(known[i]);
    fail_msg("no entity: %.20s", p);
    return 0;
}

/* Skips to a character of `ends`; asserts that XML 1.0 allows those before it. */
static const char *skip_chars(const char *p, const char *ends)
{
    while (*p && !strchr(ends, *p)) {
        uint32_t cp = 0;
        size_t len = pv_text_utf8((const unsigned char *)p, strlen(p), &cp);

        assert_true(len > 0);
        assert_true(cp == '\t' || cp == '\n' || (cp >= 0x20 && cp != 0x7f && cp != 0xfffe && cp != 0xffff));
        assert_true(strncmp(p, "]]>", 3) != 0);
        p += *p == '&' ? entity_len(p) : len;
    }
    return p;
}

/* Asserts that elements nest, and that attributes are quoted and unique. */
static void assert_well_formed(const char *p)
{
    const char *open[16];
    size_t depth = 0, n;

    while (*(p = skip_chars(p, "<"))) {
        const char *name = p + (p[1] == '/' ? 2 : 1);

        p++;

        for (n = 0; is_name(name[n]); n++)
            ;
        assert_true(n > 0);
        if (*p == '/') {
            assert_true(depth > 0 && !strncmp(open[depth - 1], name, n) && name[n] == '>');
            depth--;
            p = name + n + 1;
            continue;
        }
        open[depth++] = name;
        assert_true(depth < PV_ARRAY_LEN(open));
        for (p = name + n; *p == ' ';) {
            for (p++; is_name(*p); p++)
                ;
            assert_true(p[0] == '=' && p[1] == '"');
            p = skip_chars(p + 2, "\"<");
            assert_true(*p++ == '"');
        }
        if (*p == '/') {
            depth--;
            p++;
        }
        assert_true(*p++ == '>');
    }
    assert_int_equal(depth, 0);
}

static void check_junit(const struct pv_file_report *f, const char *s)
{
    cleanup_buf struct pv_buf out = {0};
    struct pv_run_end end = {0};

    (void)s;
    pv_totals_add(&end.totals, f);
    pv_junit_head(&out, &end);
    assert_non_null(strstr(out.data, "tests=\"6\" failures=\"1\" errors=\"1\""));
    pv_junit_file(&out, f, &info);
    pv_junit_foot(&out);
    assert_int_equal(out.len, strlen(out.data));
    assert_well_formed(strchr(out.data, '\n'));
}

static void test_junit(void **state)
{
    (void)state;
    for_each_string(check_junit);
}

static void test_junit_golden(void **state)
{
    struct pv_file_report f = {.name = "net/tcp.v4.lua", .ran = true, .duration_ns = 1500000000};
    struct pv_file_report g = {.name = "late.lua"};
    cleanup_buf struct pv_buf out = {0};
    struct pv_run_info run = {.started_ns = INT64_C(1700000000) * 1000000000};

    (void)state;
    report_say(&f, (struct pv_event){.type = PV_EV_TEST_BEGIN, .id = 0, .name = "one"});
    report_say(&f, (struct pv_event){.type = PV_EV_TEST_END, .id = 0, .duration_ns = 250000000});
    report_say(&f, (struct pv_event){.type = PV_EV_FILE});
    pv_junit_file(&out, &f, &run);
    pv_junit_file(&out, &g, &run);
    assert_string_equal(
        out.data, "<testsuite name=\"net/tcp.v4.lua\" tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"0\" "
                  "time=\"1.500\" timestamp=\"2023-11-14T22:13:20\">\n"
                  "<testcase classname=\"net.tcp_v4\" name=\"one\" time=\"0.250\"></testcase>\n"
                  "</testsuite>\n"
                  "<testsuite name=\"late.lua\" tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"1\" "
                  "time=\"0.000\" timestamp=\"2023-11-14T22:13:20\">\n"
                  "<testcase classname=\"late\" name=\"(file)\" time=\"0.000\"><skipped type=\"not-run\" "
                  "message=\"the run was stopped before this file\"/></testcase>\n"
                  "</testsuite>\n");
    pv_file_report_fini(&f);
    pv_buf_free(&out);
    f = (struct pv_file_report){.name = "\xed\xa0\x80\x01\xef\xbf\xbf\xc2\x85"};
    pv_junit_file(&out, &f, &run);
    assert_non_null(strstr(out.data, "<testsuite name=\"\\xed\\xa0\\x80\\x01\\u{ffff}\\x85\" "));
}

/* ---- TAP ---- */

static void check_tap(const struct pv_file_report *f, const char *s)
{
    static const char *const want[] = {"ok 1 - ",     "not ok 2 - ", "ok 3 - ",
                                       "not ok 4 - ", "not ok 5 - ", "not ok 6 - "};
    cleanup_buf struct pv_buf out = {0};
    size_t n = 0, points = 0;
    bool yaml = false;

    if (!*s)
        return; /* a file without a message of its own has no test point */
    pv_tap_file(&out, f, &n);
    assert_int_equal(n, PV_ARRAY_LEN(want));
    for (char *line = out.data, *end; (end = strchr(line, '\n')); line = end + 1) {
        const char *value;

        *end = '\0';
        if (!strcmp(line, "  ---") || !strcmp(line, "  ...")) {
            yaml = line[2] == '-';
            continue;
        }
        if (yaml) { /* a word or a quoted number, a colon, and a value that is both JSON and YAML */
            value = strstr(line, ": ");
            if (line[2] == '"')
                value = strstr(line, "\": ") + 1;
            assert_non_null(value);
            json_decref(json_loads(value + 2, JSON_DECODE_ANY, NULL) ?: parse_json(value, strlen(value)));
            continue;
        }
        if (!strncmp(line, "# ", 2)) /* a comment */
            continue;
        assert_true(points < PV_ARRAY_LEN(want) && !strncmp(line, want[points], strlen(want[points])));
        for (const char *hash = line; (hash = strchr(hash, '#')); hash++)
            if (hash[-1] == ' ') { /* a directive: only our own */
                assert_true(!strncmp(hash, points == 2 ? "# SKIP" : "# TODO", 6) &&
                            (points == 2 || points == 3 || points == 4));
                break;
            }
        points++;
    }
    assert_int_equal(points, PV_ARRAY_LEN(want));
    assert_false(yaml);
}

static void test_tap(void **state)
{
    (void)state;
    for_each_string(check_tap);
}

/* ---- HTML ---- */

static void check_html(const struct pv_file_report *f, const char *s)
{
    static const char begin[] = "<script type=\"application/json\" class=\"file\">", end[] = "</script>\n";
    cleanup_buf struct pv_buf out = {0};
    const char *data;
    size_t n;

    (void)s;
    pv_html_file(&out, f, false);
    assert_memory_equal(out.data, begin, sizeof(begin) - 1);
    data = out.data + sizeof(begin) - 1;
    n = strcspn(data, "<>&");
    assert_string_equal(data + n, end);
    json_decref(parse_json(data, n));
}

static void test_html(void **state)
{
    struct pv_run_end run_end = {.exit_code = 1};
    cleanup_buf struct pv_buf out = {0};

    (void)state;
    for_each_string(check_html);
    pv_html_head(&out, &info, &run_end);
    pv_html_foot(&out);
    assert_non_null(strstr(out.data, "default-src 'none'; script-src 'sha256-"));
    assert_null(strstr(out.data, "<script>alert"));
    assert_null(strstr(out.data, "unsafe"));
    assert_null(strstr(out.data, "http"
                                 "s://"));
    assert_null(strstr(out.data, "src="));
    assert_non_null(strstr(out.data + out.len - 20, "</html>"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json), cmocka_unit_test(test_junit), cmocka_unit_test(test_junit_golden),
        cmocka_unit_test(test_tap),  cmocka_unit_test(test_html),
    };

    return cmocka_run_group_tests_name("runner-writers", tests, NULL, NULL);
}
