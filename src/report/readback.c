/* SPDX-License-Identifier: MIT */
/*
 * A line is parsed as a whole, then read by a cursor that remembers the first error, so that the code that
 * fills the model reads like the model.
 */
#include "report/readback.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "report/outputs.h"
#include "util/err.h"

/* A file's report holds at most PV_REPORT_MAX bytes, and escaping makes a byte at most six times longer. */
static const size_t line_max = (size_t)400 << 20;

struct pv_readback_private {
    FILE *in;
    char *line;
    size_t cap, number; /* of the line */
    bool ended;         /* the end line was read */
};

/* ---- a cursor on one object ---- */

struct cursor {
    char bad[200]; /* the first error; "": none */
};

static void cursor_fail(struct cursor *c, const char *key, const char *expected)
{
    if (!c->bad[0])
        snprintf(c->bad, sizeof(c->bad), "'%s' is not %s", key, expected);
}

/* NULL: absent or null. */
static json_t *cursor_get(const json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);

    return json_is_null(v) ? NULL : v;
}

/* "" when there is none. The caller frees. */
static char *cursor_text(struct cursor *c, const json_t *o, const char *key)
{
    const json_t *v = cursor_get(o, key);

    if (v && !json_is_string(v))
        cursor_fail(c, key, "a string");
    return pv_xstrdup(v && json_is_string(v) ? json_string_value(v) : "");
}

/* NULL when there is none. */
static char *cursor_text_or_null(struct cursor *c, const json_t *o, const char *key)
{
    return cursor_get(o, key) ? cursor_text(c, o, key) : NULL;
}

static int64_t cursor_integer(struct cursor *c, const json_t *o, const char *key, int64_t none, int64_t max)
{
    const json_t *v = cursor_get(o, key);

    if (!v)
        return none;
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > max) {
        cursor_fail(c, key, "a number of this kind");
        return none;
    }
    return json_integer_value(v);
}

/* Nanoseconds, at most a century, so that sums cannot overflow. */
static int64_t cursor_time_ns(struct cursor *c, const json_t *o, const char *key, int64_t none)
{
    return cursor_integer(c, o, key, none, INT64_C(3155760000) * 1000000000);
}

static bool cursor_flag(struct cursor *c, const json_t *o, const char *key)
{
    const json_t *v = cursor_get(o, key);

    if (v && !json_is_boolean(v))
        cursor_fail(c, key, "true or false");
    return json_is_true(v);
}

/* An empty list when there is none; borrowed. Each element is an object. */
static size_t cursor_list(struct cursor *c, const json_t *o, const char *key, const json_t **out)
{
    const json_t *v = cursor_get(o, key);

    *out = v;
    if (v && !json_is_array(v)) {
        cursor_fail(c, key, "a list");
        return 0;
    }
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!json_is_object(json_array_get(v, i))) {
            cursor_fail(c, key, "a list of objects");
            return 0;
        }
    return json_array_size(v);
}

static void cursor_strings(struct cursor *c, const json_t *o, const char *key, struct pv_strv *out)
{
    const json_t *v = cursor_get(o, key), *s;
    size_t i;

    if (v && !json_is_array(v))
        cursor_fail(c, key, "a list of strings");
    if (!json_is_array(v))
        return;
    json_array_foreach(v, i, s)
    {
        if (!json_is_string(s)) {
            cursor_fail(c, key, "a list of strings");
            return;
        }
        pv_strv_add(out, json_string_value(s));
    }
}

static int cursor_name_index(struct cursor *c, const json_t *o, const char *key, const char *(*name)(int),
                             int n, int none)
{
    cleanup_free char *got = cursor_text_or_null(c, o, key);

    if (!got)
        return none;
    for (int i = 0; i < n; i++)
        if (!strcmp(name(i), got))
            return i;
    cursor_fail(c, key, "a name that is known");
    return none;
}

static const char *class_name(int i)
{
    return pv_class_name((enum pv_class)i);
}

static const char *outcome_name(int i)
{
    return pv_outcome_name((enum pv_outcome)i);
}

static const char *step_name(int i)
{
    return pv_step_name((enum pv_step)i);
}

static enum pv_class cursor_class(struct cursor *c, const json_t *o)
{
    return (enum pv_class)cursor_name_index(c, o, "class", class_name, PV_CLASS_COUNT, PV_CLASS_NONE);
}

static enum pv_outcome cursor_outcome(struct cursor *c, const json_t *o, const char *key)
{
    return (enum pv_outcome)cursor_name_index(c, o, key, outcome_name, PV_OUTCOME_COUNT, PV_FAIL);
}

/* ---- the parts of a file's report ---- */

/* The number of a sub-test, PV_NO_TEST for null. */
static uint32_t cursor_test(struct cursor *c, const json_t *o, const struct pv_file_report *f)
{
    return cursor_get(o, "test") ? (uint32_t)cursor_integer(c, o, "test", PV_NO_TEST, (int64_t)f->n_tests - 1)
                                 : PV_NO_TEST;
}

/* {"key": "value" or ["value", ...]} */
static void read_test_meta(struct cursor *c, const json_t *o, struct pv_test_report *t)
{
    json_t *meta = cursor_get(o, "meta"), *v;
    const char *key;

    if (meta && !json_is_object(meta))
        cursor_fail(c, "meta", "an object");
    t->meta = pv_xcalloc(json_object_size(meta) + 1, sizeof(*t->meta));
    json_object_foreach(meta, key, v)
    {
        struct pv_meta_report *m = &t->meta[t->n_meta++];

        *m = (struct pv_meta_report){.key = pv_xstrdup(key), .list = json_is_array(v)};
        if (m->list)
            cursor_strings(c, meta, key, &m->values);
        else
            pv_strv_take(&m->values, cursor_text(c, meta, key));
    }
}

static void read_test_attempts(struct cursor *c, const json_t *o, struct pv_test_report *t)
{
    const json_t *l;
    size_t n = cursor_list(c, o, "attempts", &l);

    t->attempts = pv_xcalloc(n + 1, sizeof(*t->attempts));
    for (; t->n_attempts < n; t->n_attempts++) {
        const json_t *e = json_array_get(l, t->n_attempts);

        t->attempts[t->n_attempts] =
            (struct pv_test_attempt){.cls = cursor_class(c, e),
                                     .msg = cursor_text(c, e, "message"),
                                     .duration_ns = cursor_time_ns(c, e, "duration_ns", 0)};
    }
}

static void read_tests(struct cursor *c, const json_t *o, struct pv_file_report *f)
{
    const json_t *l;
    size_t n = cursor_list(c, o, "tests", &l);

    f->tests = pv_xcalloc(n, sizeof(*f->tests));
    for (; f->n_tests < n; f->n_tests++) {
        const json_t *e = json_array_get(l, f->n_tests);

        f->tests[f->n_tests] =
            (struct pv_test_report){.name = cursor_text(c, e, "name"),
                                    .msg = cursor_text_or_null(c, e, "message"),
                                    .outcome = cursor_outcome(c, e, "outcome"),
                                    .cls = cursor_class(c, e),
                                    .ended = true,
                                    .expect_fail = cursor_text_or_null(c, e, "expect_fail"),
                                    .begin_ns = cursor_time_ns(c, e, "begin_ns", 0),
                                    .duration_ns = cursor_time_ns(c, e, "duration_ns", 0)};
        read_test_meta(c, e, &f->tests[f->n_tests]);
        read_test_attempts(c, e, &f->tests[f->n_tests]);
        cursor_strings(c, e, "log", &f->tests[f->n_tests].log);
    }
}

static void read_attempts(struct cursor *c, const json_t *o, struct pv_file_report *f)
{
    const json_t *l;
    size_t n = cursor_list(c, o, "attempts", &l);

    f->attempts = pv_xcalloc(n, sizeof(*f->attempts));
    for (; f->n_attempts < n; f->n_attempts++) {
        const json_t *e = json_array_get(l, f->n_attempts);

        f->attempts[f->n_attempts] =
            (struct pv_attempt_report){.outcome = cursor_outcome(c, e, "verdict"),
                                       .cls = cursor_class(c, e),
                                       .msg = cursor_text(c, e, "message"),
                                       .begin_ns = cursor_time_ns(c, e, "begin_ns", 0),
                                       .duration_ns = cursor_time_ns(c, e, "duration_ns", 0)};
    }
}

static void read_findings(struct cursor *c, const json_t *o, struct pv_file_report *f)
{
    const json_t *l;
    size_t n = cursor_list(c, o, "findings", &l);

    f->findings = pv_xcalloc(n, sizeof(*f->findings));
    for (; f->n_findings < n; f->n_findings++) {
        const json_t *e = json_array_get(l, f->n_findings);

        f->findings[f->n_findings] =
            (struct pv_finding_report){.test_id = cursor_test(c, e, f),
                                       .cls = cursor_class(c, e),
                                       .outcome = cursor_flag(c, e, "fails") ? PV_FAIL : PV_OK,
                                       .vm = cursor_text(c, e, "vm"),
                                       .headline = cursor_text(c, e, "headline"),
                                       .excerpt = cursor_text(c, e, "excerpt")};
    }
}

/* Reports of earlier versions have none. */
static void read_cores(struct cursor *c, const json_t *o, struct pv_file_report *f)
{
    const json_t *l;
    size_t n = json_object_get(o, "vmcores") ? cursor_list(c, o, "vmcores", &l) : 0;

    f->cores = pv_xcalloc(n, sizeof(*f->cores));
    for (; f->n_cores < n; f->n_cores++) {
        const json_t *e = json_array_get(l, f->n_cores);

        f->cores[f->n_cores] = (struct pv_core_file){.vm = cursor_text(c, e, "vm"),
                                                     .path = cursor_text(c, e, "path"),
                                                     .format = cursor_text(c, e, "format"),
                                                     .vmlinux = cursor_text_or_null(c, e, "vmlinux")};
    }
}

static void read_consoles(struct cursor *c, const json_t *o, struct pv_file_report *f)
{
    const json_t *l;
    size_t n = cursor_list(c, o, "tails", &l);

    f->consoles = pv_xcalloc(n, sizeof(*f->consoles));
    for (; f->n_consoles < n; f->n_consoles++) {
        const json_t *e = json_array_get(l, f->n_consoles);

        f->consoles[f->n_consoles] = (struct pv_console){
            .id = cursor_test(c, e, f), .vm = cursor_text(c, e, "vm"), .tail = cursor_text(c, e, "text")};
    }
    n = cursor_list(c, o, "logs", &l);
    f->logs = pv_xcalloc(n, sizeof(*f->logs));
    for (; f->n_logs < n; f->n_logs++) {
        const json_t *e = json_array_get(l, f->n_logs);

        f->logs[f->n_logs] =
            (struct pv_console_log){.vm = cursor_text(c, e, "vm"), .path = cursor_text(c, e, "path")};
    }
    read_cores(c, o, f);
    f->saved = cursor_text_or_null(c, o, "saved");
    f->saved_vms = cursor_text_or_null(c, o, "saved_vms");
    n = cursor_list(c, o, "consoles", &l);
    f->texts = pv_xcalloc(n, sizeof(*f->texts));
    for (; f->n_texts < n; f->n_texts++) {
        const json_t *e = json_array_get(l, f->n_texts);

        f->texts[f->n_texts] =
            (struct pv_console_text){.vm = cursor_text(c, e, "vm"),
                                     .text = cursor_text(c, e, "text"),
                                     .cut = (uint64_t)cursor_integer(c, e, "cut", 0, INT64_MAX)};
    }
}

static void read_steps(struct cursor *c, const json_t *o, struct pv_file_report *f)
{
    const json_t *l;
    size_t n = cursor_list(c, o, "steps", &l);

    f->steps = pv_xcalloc(n, sizeof(*f->steps));
    for (; f->n_steps < n; f->n_steps++) {
        const json_t *e = json_array_get(l, f->n_steps);

        f->steps[f->n_steps] = (struct pv_step_report){
            .kind = (enum pv_step)cursor_name_index(c, e, "kind", step_name, PV_STEP_COUNT, PV_STEP_CALL),
            .ended = cursor_get(e, "end_ns") != NULL,
            .ok = cursor_flag(c, e, "ok"),
            .vm = cursor_text(c, e, "vm"),
            .text = cursor_text(c, e, "text"),
            .begin_ns = cursor_time_ns(c, e, "begin_ns", 0),
            .end_ns = cursor_time_ns(c, e, "end_ns", 0),
            .console_begin = cursor_integer(c, e, "console_begin", -1, INT64_MAX),
            .console_end = cursor_integer(c, e, "console_end", -1, INT64_MAX)};
    }
    f->steps_cut = (uint32_t)cursor_integer(c, o, "steps_cut", 0, UINT32_MAX);
}

static void read_verdict(struct cursor *c, const json_t *o, struct pv_file_report *f)
{
    cleanup_free char *verdict = cursor_text(c, o, "verdict");

    f->verdict = true;
    f->ran = strcmp(verdict, "not-run") != 0;
    f->interrupted = !strcmp(verdict, "interrupted");
    f->outcome = f->interrupted ? PV_FAIL : f->ran ? cursor_outcome(c, o, "verdict") : PV_OK;
}

static void read_file_line(struct cursor *c, const json_t *o, struct pv_file_report *f)
{
    cleanup_free char *output = cursor_text(c, o, "output");

    f->name = cursor_text(c, o, "file");
    f->path = cursor_text_or_null(c, o, "path");
    if (!*f->name)
        cursor_fail(c, "file", "a name");
    read_verdict(c, o, f);
    f->cls = cursor_class(c, o);
    f->msg = cursor_text_or_null(c, o, "message");
    f->begin_ns = cursor_time_ns(c, o, "begin_ns", 0);
    f->duration_ns = cursor_time_ns(c, o, "duration_ns", 0);
    f->flaky = cursor_flag(c, o, "flaky");
    read_tests(c, o, f);
    cursor_strings(c, o, "log", &f->log);
    read_attempts(c, o, f);
    read_findings(c, o, f);
    read_consoles(c, o, f);
    read_steps(c, o, f);
    pv_buf_adds(&f->output, output);
    f->output_cut = (uint64_t)cursor_integer(c, o, "output_cut", 0, INT64_MAX);
    f->cut = cursor_flag(c, o, "incomplete");
}

/* ---- the other lines ---- */

static void read_run_line(struct cursor *c, const json_t *o, struct pv_readback_run *run)
{
    const json_t *shard = cursor_get(o, "shard");

    run->version = cursor_text(c, o, "version");
    run->host = cursor_text(c, o, "host");
    run->directory = cursor_text(c, o, "directory");
    run->started_ns = cursor_integer(c, o, "started_ns", 0, INT64_MAX / 2);
    run->repeat = (unsigned)cursor_integer(c, o, "repeat", 1, 1000000000);
    if (!run->repeat)
        cursor_fail(c, "repeat", "a number from 1 on");
    cursor_strings(c, o, "args", &run->args);
    cursor_strings(c, o, "files", &run->files);
    cursor_strings(c, o, cursor_get(o, "selected") ? "selected" : "files", &run->selected);
    if (!shard)
        return;
    run->shards = (unsigned)cursor_integer(c, shard, "count", 0, 1000000);
    run->shard = (unsigned)cursor_integer(c, shard, "index", 0, run->shards);
    if (!run->shard)
        cursor_fail(c, "shard", "a shard");
}

static void read_end_line(struct cursor *c, const json_t *o, struct pv_readback_end *end)
{
    end->there = true;
    end->exit_code = (int)cursor_integer(c, o, "exit_code", 2, 255);
    free(end->stopped_by);
    end->stopped_by = cursor_text_or_null(c, o, "stopped_by");
    end->duration_ns = cursor_time_ns(c, o, "duration_ns", 0);
}

static int readback_bad_line(const struct pv_readback *r, struct pv_err *err, const char *what)
{
    return pv_err_set(err, PV_E_USAGE, "%s:%zu: %s", r->path, r->p->number, what);
}

/* 1: a line, parsed; 0: no more; -1. */
static int readback_line(struct pv_readback *r, json_t **out, struct pv_err *err)
{
    struct pv_readback_private *p = r->p;
    json_error_t je;
    ssize_t n;

    errno = 0;
    n = getline(&p->line, &p->cap, p->in);
    if (n < 0)
        return ferror(p->in) || errno ? pv_err_sys(err, errno, "cannot read '%s'", r->path) : 0;
    p->number++;
    if (p->line[n - 1] != '\n')
        return 0; /* cut by a crash */
    if ((size_t)n > line_max)
        return readback_bad_line(r, err, "this line is too long for a report");
    *out = json_loadb(p->line, (size_t)n, 0, &je);
    if (!json_is_object(*out)) {
        json_decref(*out);
        return readback_bad_line(r, err, *out ? "this is no JSON object" : je.text);
    }
    return 1;
}

static int read_first_line(struct pv_readback *r, struct pv_err *err)
{
    struct cursor c = {""};
    json_t *o = NULL;
    int rc = readback_line(r, &o, err);

    if (rc < 0)
        return pv_err_wrap(err, "no report of provium test --json");
    if (rc == 0)
        return pv_err_set(err, PV_E_USAGE, "%s: no report of provium test --json: it has no complete line",
                          r->path);
    const char *schema = json_string_value(json_object_get(o, "schema"));
    const char *type = json_string_value(json_object_get(o, "type"));

    if (!type || strcmp(type, "run") != 0 || !schema || strcmp(schema, PV_REPORT_SCHEMA) != 0)
        rc = pv_err_set(err, PV_E_USAGE,
                        "%s: no report of provium test --json: its first line has schema '%s'; expected '%s'",
                        r->path, schema ? schema : "", PV_REPORT_SCHEMA);
    else
        read_run_line(&c, o, &r->run);
    json_decref(o);
    return rc > 0 && c.bad[0] ? readback_bad_line(r, err, c.bad) : rc;
}

struct pv_readback *pv_readback_open(const char *path, struct pv_err *err)
{
    struct pv_readback *r = pv_xcalloc(1, sizeof(*r));
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;

    r->path = path;
    r->p = pv_xcalloc(1, sizeof(*r->p));
    if (fd < 0 || fstat(fd, &st) < 0)
        pv_err_sys(err, errno, "cannot open '%s'", path);
    else if (!S_ISREG(st.st_mode))
        pv_err_set(err, PV_E_USAGE, "'%s' is no regular file", path);
    else if (!(r->p->in = fdopen(fd, "r")))
        pv_err_sys(err, errno, "cannot read '%s'", path);
    if (r->p->in) {
        fd = -1; /* the stream owns it now */
        if (read_first_line(r, err) > 0)
            return r;
    }
    pv_readback_free(r);
    return NULL;
}

int pv_readback_next(struct pv_readback *r, struct pv_file_report *f, struct pv_err *err)
{
    for (;;) {
        struct cursor c = {""};
        json_t *o = NULL;
        int rc = readback_line(r, &o, err);
        const char *type;
        bool is_file;

        if (rc <= 0)
            return rc;
        type = json_string_value(json_object_get(o, "type"));
        is_file = type && !strcmp(type, "file");
        if (!type)
            cursor_fail(&c, "type", "a string");
        *f = (struct pv_file_report){0};
        if (is_file)
            read_file_line(&c, o, f);
        else if (type && !strcmp(type, "end"))
            read_end_line(&c, o, &r->end);
        json_decref(o);
        if (c.bad[0]) {
            pv_readback_fini(f);
            return readback_bad_line(r, err, c.bad);
        }
        if (is_file)
            return 1;
    }
}

void pv_readback_fini(struct pv_file_report *f)
{
    free((char *)f->name);
    free((char *)f->path);
    pv_file_report_fini(f);
}

void pv_readback_free(struct pv_readback *r)
{
    if (!r)
        return;
    if (r->p->in)
        fclose(r->p->in);
    free(r->p->line);
    free(r->p);
    free(r->run.version);
    free(r->run.host);
    free(r->run.directory);
    pv_strv_free(&r->run.args);
    pv_strv_free(&r->run.files);
    pv_strv_free(&r->run.selected);
    free(r->end.stopped_by);
    free(r);
}
