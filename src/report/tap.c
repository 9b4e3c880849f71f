/* SPDX-License-Identifier: MIT */
/*
 * TAP 13, which every consumer reads: a test point for each sub-test, and one for the file if it has a
 * verdict of its own.  Readers of version 13 would skip the indented points of version 14 and count files
 * only.
 */
#include <stdio.h>
#include <string.h>

#include "report/writers.h"
#include "util/text.h"
#include "util/clock.h"

/* One line, with '#' escaped so that it is no directive. */
static void tap_description(struct pv_buf *out, const char *s)
{
    cleanup_buf struct pv_buf clean = {0};

    pv_text_clean(&clean, s, strlen(s), NULL);
    for (size_t i = 0; i < clean.len; i++) {
        if (clean.data[i] == '#' || clean.data[i] == '\\')
            pv_buf_addc(out, '\\');
        pv_buf_addc(out, clean.data[i]);
    }
}

/* A YAML scalar: a JSON string is one. */
static void tap_yaml(struct pv_buf *out, const char *name, const char *s)
{
    if (!s || !*s)
        return;
    pv_buf_addf(out, "  %s: ", name);
    pv_json_str(out, s, strlen(s));
    pv_buf_addc(out, '\n');
}

static void tap_directive(struct pv_buf *out, const char *word, const char *reason)
{
    pv_buf_addf(out, " # %s", word);
    if (reason && *reason) {
        pv_buf_addc(out, ' ');
        pv_text_clean(out, reason, strlen(reason), NULL);
    }
}

/* test NULL: the file itself.  An expected failure is TAP's TODO: a point that is not ok and counts as none. */
static void tap_point(struct pv_buf *out, size_t number, enum pv_outcome o, const char *file,
                      const char *test, const char *msg)
{
    bool passed = o != PV_FAIL && o != PV_TODO && o != PV_XFAIL;

    pv_buf_addf(out, "%s %zu - ", passed ? "ok" : "not ok", number);
    tap_description(out, file);
    if (test) {
        pv_buf_adds(out, ": ");
        tap_description(out, test);
    }
    if (o == PV_SKIP)
        tap_directive(out, "SKIP", msg);
    else if (o == PV_TODO)
        tap_directive(out, "TODO", msg);
    else if (o == PV_XFAIL)
        tap_directive(out, "TODO expected to fail:", msg);
    pv_buf_addc(out, '\n');
}

static void tap_yaml_of_vm(struct pv_buf *out, const char *what, size_t number, const char *vm, const char *s)
{
    pv_buf_addf(out, "  \"%s %zu: ", what, number); /* the number makes keys differ */
    for (const char *p = vm ? vm : ""; *p; p++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_ ", *p))
            pv_buf_addc(out, *p);
    pv_buf_adds(out, "\": ");
    pv_json_str(out, s, strlen(s));
    pv_buf_addc(out, '\n');
}

static void tap_yaml_log(struct pv_buf *out, const struct pv_strv *log)
{
    if (!log->n)
        return;
    pv_buf_adds(out, "  log: ");
    pv_json_strings(out, log);
    pv_buf_addc(out, '\n');
}

/* The keys of a sub-test that do not depend on its outcome. */
static void tap_yaml_of_test(struct pv_buf *out, const struct pv_test_report *t)
{
    tap_yaml(out, "expect_fail", t->expect_fail);
    if (t->n_meta) {
        pv_buf_adds(out, "  meta: ");
        pv_json_meta(out, t);
        pv_buf_addc(out, '\n');
    }
    for (size_t i = 0; i < t->n_attempts; i++) {
        pv_buf_addf(out, "  \"attempt %zu\": ", i + 1);
        pv_json_str(out, t->attempts[i].msg, strlen(t->attempts[i].msg));
        pv_buf_addc(out, '\n');
    }
    tap_yaml_log(out, &t->log);
}

/* The diagnostics of a failed point; id: the sub-test, or PV_NO_TEST. */
static void tap_diagnostics(struct pv_buf *out, const struct pv_file_report *f, uint32_t id,
                            enum pv_class cls, const char *msg, int64_t duration_ns)
{
    pv_buf_adds(out, "  ---\n");
    if (id < f->n_tests)
        tap_yaml_of_test(out, &f->tests[id]);
    tap_yaml(out, "message", msg);
    tap_yaml(out, "class", pv_class_name(cls));
    pv_buf_addf(out, "  duration_ms: %.3f\n", (double)duration_ns / PV_NSEC_PER_MSEC);
    for (size_t i = 0; i < f->n_findings; i++) {
        const struct pv_finding_report *d = &f->findings[i];

        if (!d->handled && d->test_id == id && d->excerpt)
            tap_yaml_of_vm(out, "finding", i + 1, d->vm, d->excerpt);
    }
    for (size_t i = 0; i < f->n_consoles; i++) {
        const struct pv_console *c = &f->consoles[i];

        if (c->id == id && c->tail && *c->tail)
            tap_yaml_of_vm(out, "console", i + 1, c->vm, c->tail);
    }
    pv_buf_adds(out, "  ...\n");
}

/* Kernel findings that failed no test. */
static void tap_remarks(struct pv_buf *out, const struct pv_file_report *f)
{
    for (size_t i = 0; i < f->n_findings; i++) {
        const struct pv_finding_report *d = &f->findings[i];

        if (d->handled || d->outcome == PV_FAIL || !d->headline)
            continue;
        pv_buf_adds(out, "# ");
        tap_description(out, f->name);
        pv_buf_addf(out, ": %s in ", pv_class_name(d->cls));
        tap_description(out, d->vm ? d->vm : "?");
        pv_buf_adds(out, ": ");
        tap_description(out, d->headline);
        pv_buf_addc(out, '\n');
    }
}

void pv_tap_head(struct pv_buf *out)
{
    pv_buf_adds(out, "TAP version 13\n");
}

void pv_tap_file(struct pv_buf *out, const struct pv_file_report *f, size_t *n)
{
    bool told = false; /* the point of a sub-test shows that the file failed */

    if (!f->ran || f->interrupted)
        return; /* the "Bail out!" line covers it */
    for (size_t i = 0; i < f->n_tests; i++) {
        const struct pv_test_report *t = &f->tests[i];

        tap_point(out, ++*n, t->outcome, f->name, t->name, t->outcome == PV_XFAIL ? t->expect_fail : t->msg);
        told |= t->outcome == PV_FAIL;
        if (t->outcome == PV_FAIL || t->outcome == PV_XFAIL) {
            tap_diagnostics(out, f, (uint32_t)i, t->cls, t->msg, t->duration_ns);
        } else if (t->n_meta || t->log.n || t->n_attempts || t->expect_fail) {
            pv_buf_adds(out, "  ---\n");
            tap_yaml_of_test(out, t);
            pv_buf_adds(out, "  ...\n");
        }
    }
    if (f->outcome == PV_FAIL && (!told || (f->msg && *f->msg))) {
        tap_point(out, ++*n, PV_FAIL, f->name, NULL, NULL);
        tap_diagnostics(out, f, PV_NO_TEST, f->cls, f->msg, f->duration_ns);
    } else if (f->outcome != PV_HELPER && f->outcome != PV_FAIL && f->n_tests == 0) {
        tap_point(out, ++*n, f->outcome, f->name, NULL, f->msg);
    }
    tap_remarks(out, f);
    for (size_t i = 0; i < f->log.n; i++) {
        pv_buf_adds(out, "# ");
        tap_description(out, f->name);
        pv_buf_adds(out, ": ");
        tap_description(out, f->log.v[i]);
        pv_buf_addc(out, '\n');
    }
    if (f->flaky) {
        pv_buf_adds(out, "# ");
        tap_description(out, f->name);
        if (f->n_attempts)
            pv_buf_addf(out, ": flaky, passed at attempt %zu\n", f->n_attempts + 1);
        else
            pv_buf_adds(out, ": flaky, a test of it did not pass at its first attempt\n");
    }
}

void pv_tap_foot(struct pv_buf *out, const struct pv_run_end *end, size_t n)
{
    if (end->stopped_by)
        pv_buf_addf(out, "Bail out! stopped by %s\n", end->stopped_by);
    else if (n == 0)
        pv_buf_adds(out, "1..0 # SKIP nothing to test\n");
    else
        pv_buf_addf(out, "1..%zu\n", n);
}
