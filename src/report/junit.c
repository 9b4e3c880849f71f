/* SPDX-License-Identifier: MIT */
/*
 * JUnit's XML as Jenkins defines it: a testsuite for each file, a testcase for each sub-test, and a testcase
 * "(file)" for the verdict on the file itself.  XML 1.0 cannot represent most control characters: they become
 * \xNN, as bytes that are not UTF-8 do.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "report/writers.h"
#include "util/text.h"
#include "util/clock.h"

static bool xml_char(uint32_t cp)
{
    if (cp < 0x20)
        return cp == '\t' || cp == '\n' || cp == '\r';
    return (cp < 0x7f || cp >= 0xa0) && cp != 0xfffe && cp != 0xffff;
}

/* Text between tags; in an attribute, newlines and tabs would otherwise be read as spaces. */
static void xml_escape(struct pv_buf *out, const char *s, size_t n, bool attribute)
{
    const unsigned char *p = (const unsigned char *)s;

    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        size_t len = pv_text_utf8(p + i, n - i, &cp);

        if (len == 0) {
            pv_buf_addf(out, "\\x%02x", p[i]);
            len = 1;
        } else if (!xml_char(cp)) {
            pv_buf_addf(out, cp < 0x100 ? "\\x%02" PRIx32 : "\\u{%" PRIx32 "}", cp);
        } else if (cp == '&') {
            pv_buf_adds(out, "&amp;");
        } else if (cp == '<') {
            pv_buf_adds(out, "&lt;");
        } else if (cp == '>') { /* ]]> must not stand in text */
            pv_buf_adds(out, "&gt;");
        } else if (cp == '"') {
            pv_buf_adds(out, "&quot;");
        } else if (cp == '\r' || (attribute && (cp == '\n' || cp == '\t'))) {
            pv_buf_addf(out, "&#%" PRIu32 ";", cp);
        } else {
            pv_buf_add(out, p + i, len);
        }
        i += len;
    }
}

static void xml_text(struct pv_buf *out, const char *s)
{
    xml_escape(out, s, strlen(s), false);
}

static void xml_attr(struct pv_buf *out, const char *name, const char *s)
{
    pv_buf_addf(out, " %s=\"", name);
    xml_escape(out, s, strlen(s), true);
    pv_buf_addc(out, '"');
}

static void xml_attr_n(struct pv_buf *out, const char *name, size_t n)
{
    pv_buf_addf(out, " %s=\"%zu\"", name, n);
}

static void xml_attr_time(struct pv_buf *out, int64_t ns)
{
    pv_buf_addf(out, " time=\"%.3f\"", (double)(ns > 0 ? ns : 0) / PV_NSEC_PER_SEC);
}

/* Readers take the last dot as the end of a package's name, so "net/tcp.v4.lua" is class tcp_v4 in net. */
static char *class_name(const char *file)
{
    char *name = pv_xstrdup(file);
    size_t n = strlen(name);

    if (n > 4 && !strcmp(name + n - 4, ".lua"))
        name[n - 4] = '\0';
    for (char *p = name; *p; p++)
        *p = *p == '/' ? '.' : *p == '.' ? '_' : *p;
    return name;
}

/* The first line of a message, for lists; the element's text has the whole message. */
static void xml_attr_message(struct pv_buf *out, const char *msg)
{
    size_t n = strcspn(msg, "\n");

    pv_buf_adds(out, " message=\"");
    xml_escape(out, msg, pv_text_clip(msg, n, 1000), true);
    pv_buf_addc(out, '"');
}

/* The findings of sub-test `id`, or of none (PV_NO_TEST); fails: those that failed it, else the others. */
static void junit_findings(struct pv_buf *out, const struct pv_file_report *f, uint32_t id, bool fails)
{
    for (size_t i = 0; i < f->n_findings; i++) {
        const struct pv_finding_report *d = &f->findings[i];

        if (d->handled || d->test_id != id || (d->outcome == PV_FAIL) != fails || !d->headline)
            continue;
        pv_buf_addf(out, "\n--- %s in ", pv_class_name(d->cls));
        xml_text(out, d->vm ? d->vm : "?");
        pv_buf_adds(out, ": ");
        xml_text(out, d->headline);
        pv_buf_adds(out, " ---\n");
        if (d->excerpt)
            xml_text(out, d->excerpt);
    }
}

static void junit_remarks(struct pv_buf *out, const struct pv_file_report *f, uint32_t id)
{
    cleanup_buf struct pv_buf all = {0};

    junit_findings(&all, f, id, false);
    if (!all.len)
        return;
    pv_buf_adds(out, "<system-err>");
    pv_buf_add(out, all.data + 1, all.len - 1); /* without its first newline */
    pv_buf_adds(out, "</system-err>\n");
}

/* JUnit's error: the test could not be carried out; its failure: an assertion did not hold. */
static bool is_error(enum pv_class cls)
{
    return cls != PV_CLASS_NONE && cls != PV_CLASS_ASSERTION && cls != PV_CLASS_PANIC &&
           cls != PV_CLASS_OOPS && cls != PV_CLASS_WARNING;
}

static void junit_failed(struct pv_buf *out, const struct pv_file_report *f, uint32_t id, enum pv_class cls,
                         const char *msg)
{
    const char *element = is_error(cls) ? "error" : "failure", *type = pv_class_name(cls);

    pv_buf_addf(out, "<%s", element);
    xml_attr(out, "type", *type ? type : "failure");
    xml_attr_message(out, msg);
    pv_buf_addc(out, '>');
    xml_text(out, msg);
    junit_findings(out, f, id, true);
    for (size_t i = 0; i < f->n_consoles; i++) {
        const struct pv_console *c = &f->consoles[i];

        if (c->id != id || !c->tail || !*c->tail)
            continue;
        pv_buf_adds(out, "\n--- console of ");
        xml_text(out, c->vm ? c->vm : "?");
        pv_buf_adds(out, " ---\n");
        xml_text(out, c->tail);
    }
    pv_buf_addf(out, "</%s>", element);
}

static void junit_skipped(struct pv_buf *out, const char *type, const char *reason)
{
    pv_buf_adds(out, "<skipped");
    xml_attr(out, "type", type);
    if (reason && *reason)
        xml_attr_message(out, reason);
    pv_buf_adds(out, "/>");
}

/* An expected failure is a skip with both reasons, as pytest has it. */
static void junit_xfailed(struct pv_buf *out, const struct pv_test_report *t)
{
    cleanup_free char *reason = pv_xasprintf("%s: %s", t->expect_fail ? t->expect_fail : "expected to fail",
                                             t->msg ? t->msg : "failed");

    junit_skipped(out, pv_outcome_name(PV_XFAIL), reason);
}

/* A property for each value. */
static void junit_properties(struct pv_buf *out, const struct pv_test_report *t)
{
    if (!t->n_meta)
        return;
    pv_buf_adds(out, "<properties>");
    for (size_t i = 0; i < t->n_meta; i++)
        for (size_t j = 0; j < t->meta[i].values.n; j++) {
            pv_buf_adds(out, "<property");
            xml_attr(out, "name", t->meta[i].key);
            xml_attr(out, "value", t->meta[i].values.v[j]);
            pv_buf_adds(out, "/>");
        }
    pv_buf_adds(out, "</properties>");
}

/* The texts of log(), a line each. */
static void junit_log(struct pv_buf *out, const struct pv_strv *log)
{
    for (size_t i = 0; i < log->n; i++) {
        xml_text(out, log->v[i]);
        pv_buf_addc(out, '\n');
    }
}

static void junit_open_case(struct pv_buf *out, const char *class, const char *name, int64_t ns)
{
    pv_buf_adds(out, "<testcase");
    xml_attr(out, "classname", class);
    xml_attr(out, "name", name);
    xml_attr_time(out, ns);
    pv_buf_addc(out, '>');
}

/* True when the file itself gets a testcase. */
static bool junit_has_file_case(const struct pv_file_report *f)
{
    bool told = false;

    for (size_t i = 0; i < f->n_tests; i++)
        told |= f->tests[i].outcome == PV_FAIL;
    if (!f->ran || f->interrupted || f->n_attempts)
        return true;
    if (f->outcome == PV_FAIL)
        return !told || (f->msg && *f->msg);
    return f->n_tests == 0 && f->outcome != PV_HELPER;
}

/* An earlier attempt, as Surefire has it: kind is "flaky" when the last one passed, "rerun" when it did not. */
static void junit_attempt(struct pv_buf *out, const char *kind, enum pv_class cls, const char *msg)
{
    const char *what = is_error(cls) ? "Error" : "Failure";

    if (!msg || !*msg)
        msg = "failed";
    pv_buf_addf(out, "<%s%s", kind, what);
    xml_attr(out, "type", *pv_class_name(cls) ? pv_class_name(cls) : "failure");
    xml_attr_message(out, msg);
    pv_buf_addc(out, '>');
    xml_text(out, msg);
    pv_buf_addf(out, "</%s%s>", kind, what);
}

static void junit_attempts(struct pv_buf *out, const struct pv_file_report *f, const char *kind)
{
    for (size_t i = 0; i < f->n_attempts; i++)
        if (f->attempts[i].outcome == PV_FAIL)
            junit_attempt(out, kind, f->attempts[i].cls, f->attempts[i].msg);
}

static void junit_test_case(struct pv_buf *out, const struct pv_file_report *f, uint32_t id,
                            const char *class)
{
    const struct pv_test_report *t = &f->tests[id];

    junit_open_case(out, class, t->name, t->duration_ns);
    junit_properties(out, t);
    if (t->outcome == PV_FAIL)
        junit_failed(out, f, id, t->cls, t->msg && *t->msg ? t->msg : "failed");
    else if (t->outcome == PV_XFAIL)
        junit_xfailed(out, t);
    else if (t->outcome != PV_OK)
        junit_skipped(out, pv_outcome_name(t->outcome), t->msg);
    for (size_t i = 0; i < t->n_attempts && (t->outcome == PV_OK || t->outcome == PV_FAIL); i++)
        junit_attempt(out, t->outcome == PV_OK ? "flaky" : "rerun", t->attempts[i].cls, t->attempts[i].msg);
    if (t->log.n) {
        pv_buf_adds(out, "<system-out>");
        junit_log(out, &t->log);
        pv_buf_adds(out, "</system-out>");
    }
    junit_remarks(out, f, id);
    pv_buf_adds(out, "</testcase>\n");
}

static void junit_file_case(struct pv_buf *out, const struct pv_file_report *f, const char *class)
{
    junit_open_case(out, class, "(file)", f->ran ? f->duration_ns : 0);
    if (!f->ran) {
        junit_skipped(out, "not-run", "the run was stopped before this file");
    } else if (f->interrupted) {
        junit_skipped(out, "interrupted", "the run was stopped during this file");
    } else if (f->outcome == PV_FAIL) {
        junit_failed(out, f, PV_NO_TEST, f->cls, f->msg && *f->msg ? f->msg : "a sub-test failed");
        junit_attempts(out, f, "rerun");
    } else if (f->n_attempts) {
        junit_attempts(out, f, "flaky");
    } else if (f->outcome != PV_OK) {
        junit_skipped(out, pv_outcome_name(f->outcome), f->msg);
    }
    pv_buf_adds(out, "</testcase>\n");
}

static void junit_output(struct pv_buf *out, const struct pv_file_report *f)
{
    size_t n = f->output.len < PV_OUTPUT_MAX ? f->output.len : PV_OUTPUT_MAX;
    uint64_t cut = f->output_cut + f->output.len - n;

    if (!n && !f->log.n)
        return;
    pv_buf_adds(out, "<system-out>");
    junit_log(out, &f->log);
    if (cut)
        pv_buf_addf(out, "[%" PRIu64 " bytes before this are not kept]\n", cut);
    if (n)
        xml_escape(out, f->output.data + f->output.len - n, n, false);
    pv_buf_adds(out, "</system-out>\n");
}

void pv_junit_count(const struct pv_file_report *f, struct pv_junit_counts *c)
{
    bool own = junit_has_file_case(f);

    c->cases += f->n_tests + own;
    for (size_t i = 0; i < f->n_tests; i++) {
        const struct pv_test_report *t = &f->tests[i];

        if (t->outcome == PV_FAIL)
            *(is_error(t->cls) ? &c->errors : &c->failures) += 1;
        c->skipped += t->outcome == PV_SKIP || t->outcome == PV_TODO || t->outcome == PV_XFAIL;
    }
    if (!own)
        return;
    if (!f->ran || f->interrupted || f->outcome == PV_SKIP || f->outcome == PV_TODO)
        c->skipped++;
    else if (f->outcome == PV_FAIL)
        *(is_error(f->cls) ? &c->errors : &c->failures) += 1;
}

void pv_junit_file(struct pv_buf *out, const struct pv_file_report *f, const struct pv_run_info *info)
{
    cleanup_free char *class = class_name(f->name);
    struct pv_junit_counts c = {0};
    time_t t = (time_t)((info->started_ns + f->begin_ns) / PV_NSEC_PER_SEC);
    char when[40] = "";
    struct tm tm;

    pv_junit_count(f, &c);
    if (gmtime_r(&t, &tm))
        strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    pv_buf_adds(out, "<testsuite");
    xml_attr(out, "name", f->name);
    xml_attr_n(out, "tests", c.cases);
    xml_attr_n(out, "failures", c.failures);
    xml_attr_n(out, "errors", c.errors);
    xml_attr_n(out, "skipped", c.skipped);
    xml_attr_time(out, f->duration_ns);
    xml_attr(out, "timestamp", when);
    if (info->host && *info->host)
        xml_attr(out, "hostname", info->host);
    pv_buf_adds(out, ">\n");
    for (size_t i = 0; i < f->n_tests; i++)
        junit_test_case(out, f, (uint32_t)i, class);
    if (junit_has_file_case(f))
        junit_file_case(out, f, class);
    junit_output(out, f);
    junit_remarks(out, f, PV_NO_TEST);
    pv_buf_adds(out, "</testsuite>\n");
}

void pv_junit_head(struct pv_buf *out, const struct pv_run_end *end)
{
    const struct pv_junit_counts *c = &end->totals.junit;

    pv_buf_adds(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"provium\"");
    xml_attr_n(out, "tests", c->cases);
    xml_attr_n(out, "failures", c->failures);
    xml_attr_n(out, "errors", c->errors);
    xml_attr_time(out, end->duration_ns);
    pv_buf_adds(out, ">\n");
}

void pv_junit_foot(struct pv_buf *out)
{
    pv_buf_adds(out, "</testsuites>\n");
}
