/* SPDX-License-Identifier: MIT */
/*
 * Feeds each console log of tests/consoles whole, byte by byte and in random pieces, and compares the
 * findings and the beginnings of their headlines with the table `expected` beside the logs.
 *
 * PV_CONSOLES: the directory.  With an argument, a log's path: prints the findings of that log.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"
#include "vm/console.h"
#include "vm/findings.h"

/* "KIND HEADLINE\n" of each finding; ">" in front of one that the finding before it caused, "?" of one without a stamp. */
static void note_finding(const struct pv_finding *f, void *arg)
{
    struct pv_buf *out = arg;

    assert_non_null(f->excerpt);
    assert_true(strlen(f->headline) <= PV_FINDING_HEADLINE);
    assert_null(strpbrk(f->headline, "\r\n\033"));
    assert_true(f->unstamped || strchr(f->excerpt, '['));
    assert_non_null(strstr(f->excerpt, f->first));
    pv_buf_addf(out, "%s%s%s %s\n", f->unstamped ? "?" : "", f->follows ? ">" : "",
                pv_finding_kind_name(f->kind), f->headline);
}

static void find_all(const char *data, size_t n, size_t piece, struct pv_buf *out)
{
    struct pv_console *c = pv_console_new(NULL, NULL);
    unsigned seed = (unsigned)n;

    pv_console_read_findings(c, pv_findings_new(note_finding, out));
    for (size_t at = 0; at < n;) {
        size_t part = piece ? piece : (size_t)rand_r(&seed) % 97 + 1;

        part = n - at < part ? n - at : part;
        pv_console_feed(c, data + at, part);
        at += part;
    }
    pv_console_finish(c);
    pv_console_free(c);
}

static char *read_log(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *data;

    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    data = pv_xcalloc(1, *n + 1);
    assert_int_equal(fread(data, 1, *n, f), *n);
    fclose(f);
    return data;
}

/* The lines of the table for one log, as note_finding writes them; NULL: the log is not in it. */
static char *expected_of(const char *table, const char *name)
{
    cleanup_free char *head = pv_xasprintf("\n%s ", name);
    const char *at = strstr(table, head), *end;
    struct pv_buf out = {0};

    if (!at)
        return NULL;
    at = strchr(at + 1, '\n') + 1;
    for (; !strncmp(at, "    ", 4); at = end + 1) {
        end = strchr(at, '\n');
        pv_buf_add(&out, at + 4, (size_t)(end + 1 - at - 4));
    }
    return out.data ? out.data : pv_xstrdup("");
}

/* Each expected line is the beginning of the found one. */
static bool same_lines(const char *found, const char *want)
{
    while (*found && *want) {
        const char *found_end = strchr(found, '\n'), *want_end = strchr(want, '\n');
        size_t n = (size_t)(want_end - want);

        if ((size_t)(found_end - found) < n || strncmp(found, want, n) != 0)
            return false;
        found = found_end + 1;
        want = want_end + 1;
    }
    return !*found && !*want;
}

static void check_log(const char *dir, const char *file, const char *table, unsigned *bad)
{
    cleanup_free char *path = pv_xasprintf("%s/%s", dir, file);
    cleanup_free char *name = pv_xstrndup(file, strlen(file) - 4);
    cleanup_free char *want = expected_of(table, name);
    static const size_t pieces[] = {SIZE_MAX, 1, 0, 0};
    size_t n;
    cleanup_free char *data = read_log(path, &n);

    for (size_t i = 0; i < PV_ARRAY_LEN(pieces); i++) {
        cleanup_buf struct pv_buf out = {0};

        find_all(data, n, pieces[i], &out);
        if (want && same_lines(out.data ? out.data : "", want))
            continue;
        print_error("%s: found:\n%s  expected%s:\n%s\n", name, out.data ? out.data : "",
                    want ? "" : " (it is not in the table)", want ? want : "");
        ++*bad;
        return;
    }
}

static void test_corpus(void **state)
{
    const char *dir = getenv("PV_CONSOLES");
    cleanup_free char *path = pv_xasprintf("%s/expected", dir ? dir : ".");
    size_t n;
    cleanup_free char *table = read_log(path, &n);
    unsigned logs = 0, rows = 0, bad = 0;
    struct dirent *e;
    DIR *d;

    (void)state;
    if (!dir)
        skip();
    assert_non_null(table);
    assert_non_null(d = opendir(dir));
    while ((e = readdir(d))) {
        size_t len = strlen(e->d_name);

        if (len < 5 || strcmp(e->d_name + len - 4, ".log") != 0)
            continue;
        check_log(dir, e->d_name, table, &bad);
        logs++;
    }
    closedir(d);
    for (const char *at = table; (at = strchr(at, '\n')); at++)
        rows += at[1] && at[1] != ' ' && at[1] != '#' && at[1] != '\n';
    assert_int_equal(bad, 0);
    assert_int_equal(logs, rows);
    assert_true(logs >= 60);
}

static void keep_excerpt(const struct pv_finding *f, void *arg)
{
    char **to = arg;

    free(*to);
    *to = pv_xstrdup(f->excerpt);
}

static void assert_starts(const char *s, const char *want)
{
    assert_non_null(strstr(s, want));
    assert_true(strchr(s, '\n') == NULL || strstr(s, want) < strchr(s, '\n'));
}

/* An excerpt runs from the first line of a report to its end mark, without the middle of a long one. */
static void test_excerpts(void **state)
{
    cleanup_free char *excerpt = NULL;
    struct pv_findings *f = pv_findings_new(keep_excerpt, &excerpt);
    char line[64];

    (void)state;
#define LINE(s) pv_findings_line(f, s, strlen(s))
    LINE("[    1.000000] pvx: ready");
    LINE("[    1.000001] ------------[ cut here ]------------");
    LINE("[    1.000002] the reason");
    LINE("[    1.000003] WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2");
    LINE("a program's line");
    LINE("[    1.000004] RIP: 0010:f+0x1/0x2");
    LINE("[    1.000005] ---[ end trace 0000000000000000 ]---");
    LINE("[    1.000006] pvx: goes on");
    assert_string_equal(excerpt, "[    1.000001] ------------[ cut here ]------------\n"
                                 "[    1.000002] the reason\n"
                                 "[    1.000003] WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2\n"
                                 "[    1.000004] RIP: 0010:f+0x1/0x2\n"
                                 "[    1.000005] ---[ end trace 0000000000000000 ]---");
    LINE("[    2.000000] BUG: kernel NULL pointer dereference, address: 0");
    for (int i = 0; i < 100; i++) {
        snprintf(line, sizeof(line), "[    2.0001%02d]  frame %d", i, i);
        LINE(line);
    }
    LINE("[    2.000200] ---[ end trace 0000000000000000 ]---");
    assert_starts(excerpt, "BUG: kernel NULL");
    assert_non_null(strstr(excerpt, " frame 38\n... 50 lines ...\n[    2.000189]  frame 89\n"));
    assert_non_null(strstr(excerpt, " frame 99\n[    2.000200] ---[ end trace"));
    /* a silence ends a report too; a flush reports an unfinished one once */
    LINE("[    3.000000] BUG: something new");
    pv_findings_flush(f);
    assert_string_equal(excerpt, "[    3.000000] BUG: something new");
    LINE("[    3.000001]  more of it");
    LINE("[    3.000002] Oops: 0000 [#1] SMP");
    pv_findings_flush(f);
    pv_findings_flush(f);
    assert_string_equal(excerpt, "[    3.000002] Oops: 0000 [#1] SMP");
    pv_findings_free(f);
    pv_findings_free(NULL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_corpus), cmocka_unit_test(test_excerpts)};

    for (int i = 1; i < argc; i++) {
        cleanup_buf struct pv_buf out = {0};
        size_t n;
        cleanup_free char *data = read_log(argv[i], &n);

        if (!data)
            return 1;
        find_all(data, n, SIZE_MAX, &out);
        printf("== %s\n%s", argv[i], out.data ? out.data : "");
    }
    return argc > 1 ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}
