/* SPDX-License-Identifier: MIT */
/* Writes the JSON lines of docs/report-format.md directly into the buffer, without a tree of objects. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "report/writers.h"
#include "util/text.h"
#include "util/clock.h"

const char *pv_outcome_name(enum pv_outcome o)
{
    static const char *const names[] = {"ok", "fail", "skip", "todo", "xfail", "helper"};
    _Static_assert(sizeof(names) / sizeof(names[0]) == PV_OUTCOME_COUNT, "a name for every outcome");

    return names[o];
}

const char *pv_verdict_name(const struct pv_file_report *f)
{
    if (!f->ran)
        return "not-run";
    if (f->interrupted)
        return "interrupted";
    return pv_report_failed(f) ? "fail" : pv_outcome_name(f->outcome);
}

void pv_json_str(struct pv_buf *out, const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s;

    pv_buf_addc(out, '"');
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        size_t len = pv_text_utf8(p + i, n - i, &cp);

        if (len == 0 || cp == 0) {
            pv_buf_addf(out, "\\\\x%02x", p[i]);
            len = 1;
        } else if (cp == '"' || cp == '\\') {
            pv_buf_addc(out, '\\');
            pv_buf_addc(out, (char)cp);
        } else if (cp == '\n') {
            pv_buf_adds(out, "\\n");
        } else if (cp == '\t') {
            pv_buf_adds(out, "\\t");
        } else if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == 0x2028 || cp == 0x2029 || cp == 0xfeff ||
                   cp == 0xfffe || cp == 0xffff) {
            pv_buf_addf(out, "\\u%04x", cp); /* YAML and browsers reject some of these characters */
        } else {
            pv_buf_add(out, p + i, len);
        }
        i += len;
    }
    pv_buf_addc(out, '"');
}

/* ---- members: each begins with a comma unless it is the first of its object ---- */

static void json_key(struct pv_buf *out, const char *name)
{
    if (out->len && !strchr("{[", out->data[out->len - 1]))
        pv_buf_addc(out, ',');
    pv_buf_addf(out, "\"%s\":", name);
}

/* Between the elements of a list. */
static void json_next(struct pv_buf *out)
{
    if (out->data[out->len - 1] != '[')
        pv_buf_addc(out, ',');
}

static void json_str_member(struct pv_buf *out, const char *name, const char *s)
{
    json_key(out, name);
    if (s)
        pv_json_str(out, s, strlen(s));
    else
        pv_buf_adds(out, "null");
}

/* "" becomes null. */
static void json_text_member(struct pv_buf *out, const char *name, const char *s)
{
    json_str_member(out, name, s && *s ? s : NULL);
}

static void json_int_member(struct pv_buf *out, const char *name, int64_t v)
{
    json_key(out, name);
    pv_buf_addf(out, "%" PRId64, v);
}

static void json_int_or_null_member(struct pv_buf *out, const char *name, bool there, int64_t v)
{
    if (there) {
        json_int_member(out, name, v);
        return;
    }
    json_key(out, name);
    pv_buf_adds(out, "null");
}

static void json_bool_member(struct pv_buf *out, const char *name, bool v)
{
    json_key(out, name);
    pv_buf_adds(out, v ? "true" : "false");
}

static void json_open_list(struct pv_buf *out, const char *name)
{
    json_key(out, name);
    pv_buf_addc(out, '[');
}

static void json_strings_member(struct pv_buf *out, const char *name, const char *const *v, size_t n)
{
    json_open_list(out, name);
    for (size_t i = 0; i < n; i++) {
        json_next(out);
        pv_json_str(out, v[i], strlen(v[i]));
    }
    pv_buf_addc(out, ']');
}

static void json_open_line(struct pv_buf *out, const char *type)
{
    pv_buf_addc(out, '{');
    json_str_member(out, "type", type);
}

/* ---- lines ---- */

void pv_json_run(struct pv_buf *out, const struct pv_run_info *info)
{
    time_t t = (time_t)(info->started_ns / PV_NSEC_PER_SEC);
    char text[40] = "";
    struct tm tm;

    json_open_line(out, "run");
    json_str_member(out, "schema", PV_REPORT_SCHEMA);
    json_str_member(out, "version", info->version);
    json_int_member(out, "started_ns", info->started_ns);
    if (gmtime_r(&t, &tm))
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    json_str_member(out, "started", text);
    json_str_member(out, "host", info->host);
    json_str_member(out, "directory", info->directory);
    json_strings_member(out, "args", info->args, info->n_args);
    json_key(out, "shard");
    if (info->shards)
        pv_buf_addf(out, "{\"index\":%u,\"count\":%u}", info->shard, info->shards);
    else
        pv_buf_adds(out, "null");
    json_strings_member(out, "files", info->files, info->n_files);
    if (info->selected)
        json_strings_member(out, "selected", info->selected, info->n_selected);
    else
        json_str_member(out, "selected", NULL);
    json_int_member(out, "repeat", info->repeat ? info->repeat : 1);
    pv_buf_adds(out, "}\n");
}

void pv_json_begin(struct pv_buf *out, const struct pv_file_report *f)
{
    json_open_line(out, "file-begin");
    json_str_member(out, "file", f->name);
    json_int_member(out, "attempt", (int64_t)f->n_attempts + 1);
    json_int_member(out, "begin_ns", f->begin_ns);
    pv_buf_adds(out, "}\n");
}

static void json_attempts(struct pv_buf *out, const struct pv_file_report *f)
{
    json_open_list(out, "attempts");
    for (size_t i = 0; i < f->n_attempts; i++) {
        const struct pv_attempt_report *a = &f->attempts[i];

        json_next(out);
        pv_buf_addc(out, '{');
        json_str_member(out, "verdict", pv_outcome_name(a->outcome));
        json_text_member(out, "class", pv_class_name(a->cls));
        json_text_member(out, "message", a->msg);
        json_int_member(out, "begin_ns", a->begin_ns);
        json_int_member(out, "duration_ns", a->duration_ns);
        pv_buf_addc(out, '}');
    }
    pv_buf_addc(out, ']');
}

void pv_json_strings(struct pv_buf *out, const struct pv_strv *v)
{
    pv_buf_addc(out, '[');
    for (size_t i = 0; i < v->n; i++) {
        if (i)
            pv_buf_addc(out, ',');
        pv_json_str(out, v->v[i], strlen(v->v[i]));
    }
    pv_buf_addc(out, ']');
}

void pv_json_meta(struct pv_buf *out, const struct pv_test_report *t)
{
    pv_buf_addc(out, '{');
    for (size_t i = 0; i < t->n_meta; i++) {
        const struct pv_meta_report *m = &t->meta[i];

        if (i)
            pv_buf_addc(out, ',');
        pv_json_str(out, m->key, strlen(m->key));
        pv_buf_addc(out, ':');
        if (m->list)
            pv_json_strings(out, &m->values);
        else
            pv_json_str(out, m->values.v[0], strlen(m->values.v[0]));
    }
    pv_buf_addc(out, '}');
}

static void json_test_attempts(struct pv_buf *out, const struct pv_test_report *t)
{
    json_open_list(out, "attempts");
    for (size_t i = 0; i < t->n_attempts; i++) {
        json_next(out);
        pv_buf_addc(out, '{');
        json_text_member(out, "class", pv_class_name(t->attempts[i].cls));
        json_text_member(out, "message", t->attempts[i].msg);
        json_int_member(out, "duration_ns", t->attempts[i].duration_ns);
        pv_buf_addc(out, '}');
    }
    pv_buf_addc(out, ']');
}

static void json_tests(struct pv_buf *out, const struct pv_file_report *f)
{
    json_open_list(out, "tests");
    for (size_t i = 0; i < f->n_tests; i++) {
        const struct pv_test_report *t = &f->tests[i];

        json_next(out);
        pv_buf_addc(out, '{');
        json_str_member(out, "name", t->name);
        json_str_member(out, "outcome", pv_outcome_name(t->outcome));
        json_text_member(out, "class", pv_class_name(t->cls));
        json_text_member(out, "message", t->msg);
        json_int_member(out, "begin_ns", t->begin_ns);
        json_int_member(out, "duration_ns", t->duration_ns);
        json_str_member(out, "expect_fail", t->expect_fail);
        json_key(out, "meta");
        pv_json_meta(out, t);
        json_bool_member(out, "flaky", pv_report_test_flaky(t));
        json_test_attempts(out, t);
        json_key(out, "log");
        pv_json_strings(out, &t->log);
        pv_buf_addc(out, '}');
    }
    pv_buf_addc(out, ']');
}

static void json_findings(struct pv_buf *out, const struct pv_file_report *f)
{
    json_open_list(out, "findings");
    for (size_t i = 0; i < f->n_findings; i++) {
        const struct pv_finding_report *d = &f->findings[i];

        if (d->handled)
            continue;
        json_next(out);
        pv_buf_addc(out, '{');
        json_int_or_null_member(out, "test", d->test_id < f->n_tests, d->test_id);
        json_str_member(out, "vm", d->vm);
        json_text_member(out, "class", pv_class_name(d->cls));
        json_bool_member(out, "fails", d->outcome == PV_FAIL);
        json_str_member(out, "headline", d->headline);
        json_str_member(out, "excerpt", d->excerpt);
        pv_buf_addc(out, '}');
    }
    pv_buf_addc(out, ']');
}

static void json_consoles(struct pv_buf *out, const struct pv_file_report *f, bool brief)
{
    json_open_list(out, "tails");
    for (size_t i = 0; i < f->n_consoles; i++) {
        const struct pv_console *c = &f->consoles[i];

        json_next(out);
        pv_buf_addc(out, '{');
        json_int_or_null_member(out, "test", c->id < f->n_tests, c->id);
        json_str_member(out, "vm", c->vm);
        json_str_member(out, "text", c->tail);
        pv_buf_addc(out, '}');
    }
    pv_buf_addc(out, ']');
    json_open_list(out, "logs");
    for (size_t i = 0; i < f->n_logs; i++) {
        json_next(out);
        pv_buf_addc(out, '{');
        json_str_member(out, "vm", f->logs[i].vm);
        json_str_member(out, "path", f->logs[i].path);
        pv_buf_addc(out, '}');
    }
    pv_buf_addc(out, ']');
    json_open_list(out, "vmcores");
    for (size_t i = 0; i < f->n_cores; i++) {
        json_next(out);
        pv_buf_addc(out, '{');
        json_str_member(out, "vm", f->cores[i].vm);
        json_str_member(out, "path", f->cores[i].path);
        json_str_member(out, "format", f->cores[i].format);
        json_text_member(out, "vmlinux", f->cores[i].vmlinux);
        pv_buf_addc(out, '}');
    }
    pv_buf_addc(out, ']');
    json_text_member(out, "saved", f->saved);
    json_text_member(out, "saved_vms", f->saved_vms);
    json_open_list(out, "consoles");
    for (size_t i = 0; i < f->n_texts && !brief; i++) {
        json_next(out);
        pv_buf_addc(out, '{');
        json_str_member(out, "vm", f->texts[i].vm);
        json_int_member(out, "cut", (int64_t)f->texts[i].cut);
        json_str_member(out, "text", f->texts[i].text);
        pv_buf_addc(out, '}');
    }
    pv_buf_addc(out, ']');
}

static void json_steps(struct pv_buf *out, const struct pv_file_report *f, bool brief)
{
    size_t cut = f->steps_cut;

    json_open_list(out, "steps");
    for (size_t i = 0; i < f->n_steps; i++) {
        const struct pv_step_report *s = &f->steps[i];

        if (brief && s->kind == PV_STEP_CALL) {
            cut++;
            continue;
        }
        json_next(out);
        pv_buf_addc(out, '{');
        json_str_member(out, "kind", pv_step_name(s->kind));
        json_text_member(out, "vm", s->vm);
        json_str_member(out, "text", s->text);
        json_int_member(out, "begin_ns", s->begin_ns);
        json_int_or_null_member(out, "end_ns", s->ended, s->end_ns);
        if (s->ended)
            json_bool_member(out, "ok", s->ok);
        else
            json_str_member(out, "ok", NULL);
        json_int_or_null_member(out, "console_begin", s->console_begin >= 0, s->console_begin);
        json_int_or_null_member(out, "console_end", s->console_end >= 0, s->console_end);
        pv_buf_addc(out, '}');
    }
    pv_buf_addc(out, ']');
    json_int_member(out, "steps_cut", (int64_t)cut);
}

void pv_json_file(struct pv_buf *out, const struct pv_file_report *f, bool brief)
{
    size_t n = f->output.len < PV_OUTPUT_MAX ? f->output.len : PV_OUTPUT_MAX;

    json_open_line(out, "file");
    json_str_member(out, "file", f->name);
    json_text_member(out, "path", f->path);
    json_str_member(out, "verdict", pv_verdict_name(f));
    json_text_member(out, "class", pv_class_name(f->cls));
    json_text_member(out, "message", f->msg);
    json_int_member(out, "begin_ns", f->begin_ns);
    json_int_member(out, "duration_ns", f->duration_ns);
    json_bool_member(out, "flaky", f->flaky);
    json_attempts(out, f);
    json_tests(out, f);
    json_key(out, "log");
    pv_json_strings(out, &f->log);
    json_findings(out, f);
    json_consoles(out, f, brief);
    json_steps(out, f, brief);
    json_key(out, "output");
    pv_json_str(out, n ? f->output.data + f->output.len - n : "", n);
    json_int_member(out, "output_cut", (int64_t)(f->output_cut + f->output.len - n));
    json_bool_member(out, "incomplete", f->cut);
    pv_buf_adds(out, "}\n");
}

void pv_json_end(struct pv_buf *out, const struct pv_run_end *end)
{
    const struct pv_totals *t = &end->totals;

    json_open_line(out, "end");
    json_int_or_null_member(out, "exit_code", end->exit_code >= 0, end->exit_code);
    json_str_member(out, "stopped_by", end->stopped_by);
    json_int_member(out, "duration_ns", end->duration_ns);
    json_key(out, "totals");
    pv_buf_addc(out, '{');
    json_int_member(out, "files", (int64_t)t->files);
    json_int_member(out, "passed", (int64_t)t->passed);
    json_int_member(out, "failed", (int64_t)t->failed);
    json_int_member(out, "skipped", (int64_t)t->skipped);
    json_int_member(out, "flaky", (int64_t)t->flaky);
    json_int_member(out, "interrupted", (int64_t)t->interrupted);
    json_int_member(out, "helpers", (int64_t)t->helpers);
    json_int_member(out, "not_run", (int64_t)end->not_run);
    json_int_member(out, "tests", (int64_t)t->tests);
    json_int_member(out, "tests_passed", (int64_t)t->tests_passed);
    json_int_member(out, "tests_failed", (int64_t)t->tests_failed);
    json_int_member(out, "tests_skipped", (int64_t)t->tests_skipped);
    json_int_member(out, "tests_xfailed", (int64_t)t->tests_xfailed);
    json_int_member(out, "tests_flaky", (int64_t)t->tests_flaky);
    pv_buf_adds(out, "}}\n");
}
