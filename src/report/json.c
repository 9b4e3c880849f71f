/* SPDX-License-Identifier: MIT */
/* The JSON lines of docs/report-format.md.  Written straight into the buffer: there is no tree to hold. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "report/writers.h"
#include "util/text.h"
#include "util/clock.h"

const char *pv_outcome_name(enum pv_outcome o)
{
    static const char *const names[] = {"ok", "fail", "skip", "todo", "helper"};
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
            pv_buf_addf(out, "\\u%04x", cp); /* what some reader, YAML's and a browser's too, may not take */
        } else {
            pv_buf_add(out, p + i, len);
        }
        i += len;
    }
    pv_buf_addc(out, '"');
}

/* ---- members: each begins with a comma unless it is the first of its object ---- */

static void key(struct pv_buf *out, const char *name)
{
    if (out->len && !strchr("{[", out->data[out->len - 1]))
        pv_buf_addc(out, ',');
    pv_buf_addf(out, "\"%s\":", name);
}

/* Between the elements of a list. */
static void next(struct pv_buf *out)
{
    if (out->data[out->len - 1] != '[')
        pv_buf_addc(out, ',');
}

static void add_str(struct pv_buf *out, const char *name, const char *s)
{
    key(out, name);
    if (s)
        pv_json_str(out, s, strlen(s));
    else
        pv_buf_adds(out, "null");
}

/* "" is nothing said. */
static void add_text(struct pv_buf *out, const char *name, const char *s)
{
    add_str(out, name, s && *s ? s : NULL);
}

static void add_int(struct pv_buf *out, const char *name, int64_t v)
{
    key(out, name);
    pv_buf_addf(out, "%" PRId64, v);
}

static void add_int_or_null(struct pv_buf *out, const char *name, bool there, int64_t v)
{
    if (there) {
        add_int(out, name, v);
        return;
    }
    key(out, name);
    pv_buf_adds(out, "null");
}

static void add_bool(struct pv_buf *out, const char *name, bool v)
{
    key(out, name);
    pv_buf_adds(out, v ? "true" : "false");
}

static void open_list(struct pv_buf *out, const char *name)
{
    key(out, name);
    pv_buf_addc(out, '[');
}

static void add_strings(struct pv_buf *out, const char *name, const char *const *v, size_t n)
{
    open_list(out, name);
    for (size_t i = 0; i < n; i++) {
        next(out);
        pv_json_str(out, v[i], strlen(v[i]));
    }
    pv_buf_addc(out, ']');
}

static void open_line(struct pv_buf *out, const char *type)
{
    pv_buf_addc(out, '{');
    add_str(out, "type", type);
}

/* ---- lines ---- */

void pv_json_run(struct pv_buf *out, const struct pv_run_info *info)
{
    time_t t = (time_t)(info->started_ns / PV_NSEC_PER_SEC);
    char text[40] = "";
    struct tm tm;

    open_line(out, "run");
    add_str(out, "schema", PV_REPORT_SCHEMA);
    add_str(out, "version", info->version);
    add_int(out, "started_ns", info->started_ns);
    if (gmtime_r(&t, &tm))
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    add_str(out, "started", text);
    add_str(out, "host", info->host);
    add_str(out, "directory", info->directory);
    add_strings(out, "args", info->args, info->n_args);
    key(out, "shard");
    if (info->shards)
        pv_buf_addf(out, "{\"index\":%u,\"count\":%u}", info->shard, info->shards);
    else
        pv_buf_adds(out, "null");
    add_strings(out, "files", info->files, info->n_files);
    if (info->selected)
        add_strings(out, "selected", info->selected, info->n_selected);
    else
        add_str(out, "selected", NULL);
    add_int(out, "repeat", info->repeat ? info->repeat : 1);
    pv_buf_adds(out, "}\n");
}

void pv_json_begin(struct pv_buf *out, const struct pv_file_report *f)
{
    open_line(out, "file-begin");
    add_str(out, "file", f->name);
    add_int(out, "attempt", (int64_t)f->n_attempts + 1);
    add_int(out, "begin_ns", f->begin_ns);
    pv_buf_adds(out, "}\n");
}

static void add_attempts(struct pv_buf *out, const struct pv_file_report *f)
{
    open_list(out, "attempts");
    for (size_t i = 0; i < f->n_attempts; i++) {
        const struct pv_attempt_report *a = &f->attempts[i];

        next(out);
        pv_buf_addc(out, '{');
        add_str(out, "verdict", pv_outcome_name(a->outcome));
        add_text(out, "class", pv_class_name(a->cls));
        add_text(out, "message", a->msg);
        add_int(out, "begin_ns", a->begin_ns);
        add_int(out, "duration_ns", a->duration_ns);
        pv_buf_addc(out, '}');
    }
    pv_buf_addc(out, ']');
}

static void add_tests(struct pv_buf *out, const struct pv_file_report *f)
{
    open_list(out, "tests");
    for (size_t i = 0; i < f->n_tests; i++) {
        const struct pv_test_report *t = &f->tests[i];

        next(out);
        pv_buf_addc(out, '{');
        add_str(out, "name", t->name);
        add_str(out, "outcome", pv_outcome_name(t->outcome));
        add_text(out, "class", pv_class_name(t->cls));
        add_text(out, "message", t->msg);
        add_int(out, "begin_ns", t->begin_ns);
        add_int(out, "duration_ns", t->duration_ns);
        pv_buf_addc(out, '}');
    }
    pv_buf_addc(out, ']');
}

static void add_findings(struct pv_buf *out, const struct pv_file_report *f)
{
    open_list(out, "findings");
    for (size_t i = 0; i < f->n_findings; i++) {
        const struct pv_finding_report *d = &f->findings[i];

        if (d->handled)
            continue;
        next(out);
        pv_buf_addc(out, '{');
        add_int_or_null(out, "test", d->test_id < f->n_tests, d->test_id);
        add_str(out, "vm", d->vm);
        add_text(out, "class", pv_class_name(d->cls));
        add_bool(out, "fails", d->outcome == PV_FAIL);
        add_str(out, "headline", d->headline);
        add_str(out, "excerpt", d->excerpt);
        pv_buf_addc(out, '}');
    }
    pv_buf_addc(out, ']');
}

static void add_consoles(struct pv_buf *out, const struct pv_file_report *f, bool brief)
{
    open_list(out, "tails");
    for (size_t i = 0; i < f->n_consoles; i++) {
        const struct pv_console *c = &f->consoles[i];

        next(out);
        pv_buf_addc(out, '{');
        add_int_or_null(out, "test", c->id < f->n_tests, c->id);
        add_str(out, "vm", c->vm);
        add_str(out, "text", c->tail);
        pv_buf_addc(out, '}');
    }
    pv_buf_addc(out, ']');
    open_list(out, "logs");
    for (size_t i = 0; i < f->n_logs; i++) {
        next(out);
        pv_buf_addc(out, '{');
        add_str(out, "vm", f->logs[i].vm);
        add_str(out, "path", f->logs[i].path);
        pv_buf_addc(out, '}');
    }
    pv_buf_addc(out, ']');
    open_list(out, "consoles");
    for (size_t i = 0; i < f->n_texts && !brief; i++) {
        next(out);
        pv_buf_addc(out, '{');
        add_str(out, "vm", f->texts[i].vm);
        add_int(out, "cut", (int64_t)f->texts[i].cut);
        add_str(out, "text", f->texts[i].text);
        pv_buf_addc(out, '}');
    }
    pv_buf_addc(out, ']');
}

static void add_steps(struct pv_buf *out, const struct pv_file_report *f, bool brief)
{
    size_t cut = f->steps_cut;

    open_list(out, "steps");
    for (size_t i = 0; i < f->n_steps; i++) {
        const struct pv_step_report *s = &f->steps[i];

        if (brief && s->kind == PV_STEP_CALL) {
            cut++;
            continue;
        }
        next(out);
        pv_buf_addc(out, '{');
        add_str(out, "kind", pv_step_name(s->kind));
        add_text(out, "vm", s->vm);
        add_str(out, "text", s->text);
        add_int(out, "begin_ns", s->begin_ns);
        add_int_or_null(out, "end_ns", s->ended, s->end_ns);
        if (s->ended)
            add_bool(out, "ok", s->ok);
        else
            add_str(out, "ok", NULL);
        add_int_or_null(out, "console_begin", s->console_begin >= 0, s->console_begin);
        add_int_or_null(out, "console_end", s->console_end >= 0, s->console_end);
        pv_buf_addc(out, '}');
    }
    pv_buf_addc(out, ']');
    add_int(out, "steps_cut", (int64_t)cut);
}

void pv_json_file(struct pv_buf *out, const struct pv_file_report *f, bool brief)
{
    size_t n = f->output.len < PV_OUTPUT_MAX ? f->output.len : PV_OUTPUT_MAX;

    open_line(out, "file");
    add_str(out, "file", f->name);
    add_text(out, "path", f->path);
    add_str(out, "verdict", pv_verdict_name(f));
    add_text(out, "class", pv_class_name(f->cls));
    add_text(out, "message", f->msg);
    add_int(out, "begin_ns", f->begin_ns);
    add_int(out, "duration_ns", f->duration_ns);
    add_bool(out, "flaky", f->flaky);
    add_attempts(out, f);
    add_tests(out, f);
    add_findings(out, f);
    add_consoles(out, f, brief);
    add_steps(out, f, brief);
    key(out, "output");
    pv_json_str(out, n ? f->output.data + f->output.len - n : "", n);
    add_int(out, "output_cut", (int64_t)(f->output_cut + f->output.len - n));
    add_bool(out, "incomplete", f->cut);
    pv_buf_adds(out, "}\n");
}

void pv_json_end(struct pv_buf *out, const struct pv_run_end *end)
{
    const struct pv_totals *t = &end->totals;

    open_line(out, "end");
    add_int_or_null(out, "exit_code", end->exit_code >= 0, end->exit_code);
    add_str(out, "stopped_by", end->stopped_by);
    add_int(out, "duration_ns", end->duration_ns);
    key(out, "totals");
    pv_buf_addc(out, '{');
    add_int(out, "files", (int64_t)t->files);
    add_int(out, "passed", (int64_t)t->passed);
    add_int(out, "failed", (int64_t)t->failed);
    add_int(out, "skipped", (int64_t)t->skipped);
    add_int(out, "flaky", (int64_t)t->flaky);
    add_int(out, "interrupted", (int64_t)t->interrupted);
    add_int(out, "helpers", (int64_t)t->helpers);
    add_int(out, "not_run", (int64_t)end->not_run);
    add_int(out, "tests", (int64_t)t->tests);
    add_int(out, "tests_passed", (int64_t)t->tests_passed);
    add_int(out, "tests_failed", (int64_t)t->tests_failed);
    add_int(out, "tests_skipped", (int64_t)t->tests_skipped);
    pv_buf_adds(out, "}}\n");
}
