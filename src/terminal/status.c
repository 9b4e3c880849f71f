/* SPDX-License-Identifier: MIT */
#include "terminal/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/text.h"
#include "util/clock.h"

enum { BAR_COLS = 24, NAME_COLS_MAX = 40, MAX_VMS_SHOWN = 16, LINE_COLS = 200 };

const char *pv_status_time(int64_t ns, char buf[static 32])
{
    int64_t s = ns > 0 ? ns / PV_NSEC_PER_SEC : 0;

    if (s < 60)
        snprintf(buf, 32, "%" PRId64 "s", s);
    else if (s < 3600)
        snprintf(buf, 32, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
    else
        snprintf(buf, 32, "%" PRId64 "h%02" PRId64 "m", s / 3600, s / 60 % 60);
    return buf;
}

/* The innermost open sub-test: the one that began last. */
static const struct pv_test_report *status_open_test(const struct pv_file_report *f)
{
    for (size_t i = f->n_tests; i > 0; i--)
        if (!f->tests[i - 1].ended)
            return &f->tests[i - 1];
    return NULL;
}

void pv_status_doing(struct pv_buf *out, const struct pv_file_report *f)
{
    const struct pv_test_report *t = status_open_test(f);
    bool phase = f->phase && *f->phase;

    if (t)
        pv_buf_addf(out, "in test \"%s\"%s", t->name, phase ? ": " : "");
    if (phase)
        pv_buf_adds(out, f->phase);
    else if (!t)
        pv_buf_adds(out, "running");
}

static void line_add_spaces(struct pv_buf *out, unsigned n)
{
    while (n--)
        pv_buf_addc(out, ' ');
}

/* One line of a terminal, built so that it never wraps. */
struct line {
    struct pv_buf *out;
    unsigned left; /* columns */
    const struct pv_format_style *st;
};

static void line_add(struct line *l, const char *color, const char *s, unsigned most)
{
    bool paint = color && l->st->color && l->left;
    unsigned cols = most < l->left ? most : l->left;

    if (paint)
        pv_buf_addf(l->out, "\033[%sm", color);
    l->left -= pv_text_fit(l->out, s, strlen(s), cols);
    if (paint)
        pv_buf_adds(l->out, "\033[0m");
}

void pv_status_line(struct pv_buf *out, const struct pv_doing *d, int64_t now, unsigned cols,
                    unsigned name_cols, const struct pv_format_style *st)
{
    struct line l = {.out = out, .left = cols, .st = st};
    cleanup_buf struct pv_buf doing = {0};
    char took[32], text[40];
    unsigned before;

    line_add(&l, NULL, "  ", UINT32_MAX);
    before = l.left;
    line_add(&l, NULL, d->report->name, name_cols);
    before -= l.left;
    if (before < name_cols && l.left > name_cols - before) {
        line_add_spaces(out, name_cols - before);
        l.left -= name_cols - before;
    }
    snprintf(text, sizeof(text), " %6s  ", pv_status_time(now - d->started, took));
    line_add(&l, "2", text, UINT32_MAX);
    pv_status_doing(&doing, d->report);
    line_add(&l, NULL, doing.data, UINT32_MAX);
    pv_buf_addc(out, '\n');
}

static void bar_add_count(struct line *l, const char *color, size_t n, const char *what)
{
    char text[64];

    if (!n)
        return;
    line_add(l, NULL, ", ", UINT32_MAX);
    snprintf(text, sizeof(text), "%zu %s", n, what);
    line_add(l, color, text, UINT32_MAX);
}

static size_t files_ended(const struct pv_progress *p)
{
    return p->passed + p->failed + p->skipped + p->flaky;
}

void pv_status_bar(struct pv_buf *out, const struct pv_progress *p, unsigned cols,
                   const struct pv_format_style *st)
{
    struct line l = {.out = out, .left = cols, .st = st};
    size_t filled = p->total ? files_ended(p) * BAR_COLS / p->total : 0;
    char bar[BAR_COLS + 1], text[96], took[32];

    for (size_t i = 0; i < BAR_COLS; i++)
        bar[i] = i < filled ? '=' : i == filled && files_ended(p) < p->total ? '>' : ' ';
    bar[BAR_COLS] = '\0';
    line_add(&l, NULL, "  [", UINT32_MAX);
    line_add(&l, p->failed ? "31" : "32", bar, UINT32_MAX);
    snprintf(text, sizeof(text), "] %zu/%zu files: %zu passed", files_ended(p), p->total, p->passed);
    line_add(&l, NULL, text, UINT32_MAX);
    bar_add_count(&l, "31", p->failed, "failed");
    bar_add_count(&l, "33", p->skipped, "skipped");
    bar_add_count(&l, "33", p->flaky, "flaky");
    snprintf(text, sizeof(text), ", %s", pv_status_time(p->elapsed_ns, took));
    line_add(&l, NULL, text, UINT32_MAX);
    if (p->stopping) {
        line_add(&l, "33", ", stopping", UINT32_MAX);
    } else if (p->left_ns >= PV_NSEC_PER_SEC) { /* a negative estimate is not shown */
        snprintf(text, sizeof(text), ", about %s left", pv_status_time(p->left_ns, took));
        line_add(&l, NULL, text, UINT32_MAX);
    }
    pv_buf_addc(out, '\n');
}

void pv_status_screen(struct pv_buf *out, const struct pv_doing *running, size_t n,
                      const struct pv_progress *p, int64_t now, unsigned cols, unsigned rows,
                      const struct pv_format_style *st)
{
    size_t room = rows > 2 ? rows - 2 : 0, show = n; /* less the bar and the line of the cursor */
    unsigned name_cols = 0;

    if (rows < 2)
        return;
    if (show > room)
        show = room ? room - 1 : 0;
    for (size_t i = 0; i < show; i++) {
        cleanup_buf struct pv_buf name = {0};
        const char *s = running[i].report->name;
        unsigned used = pv_text_fit(&name, s, strlen(s), NAME_COLS_MAX);

        if (used > name_cols)
            name_cols = used;
    }
    for (size_t i = 0; i < show; i++)
        pv_status_line(out, &running[i], now, cols, name_cols, st);
    if (show < n && room) {
        char text[64];

        snprintf(text, sizeof(text), "  ... and %zu more", n - show);
        pv_text_fit(out, text, strlen(text), cols);
        pv_buf_addc(out, '\n');
    }
    pv_status_bar(out, p, cols, st);
}

/* " for 3.2 s" */
static void status_add_lasted(struct pv_buf *out, int64_t ns)
{
    pv_buf_addf(out, "%.1f s", (double)(ns > 0 ? ns : 0) / PV_NSEC_PER_SEC);
}

static void line_fit(struct pv_buf *out, const char *s)
{
    pv_text_fit(out, s, strlen(s), LINE_COLS);
}

/* The log of the VM `name`, which log entries call by its first word. */
static const char *vm_log(const struct pv_file_report *f, const char *vm)
{
    size_t n = strcspn(vm, " ");

    for (size_t i = 0; i < f->n_logs; i++)
        if (strlen(f->logs[i].vm) == n && !strncmp(f->logs[i].vm, vm, n))
            return f->logs[i].path;
    return NULL;
}

static void status_full_vm(struct pv_buf *out, const struct pv_file_report *f, const struct pv_vm_report *v,
                           int64_t now,
                           int (*tail)(const char *path, unsigned lines, struct pv_buf *out, int64_t *age_ns))
{
    cleanup_buf struct pv_buf last = {0};
    const char *log = vm_log(f, v->name);
    int64_t age = 0;

    pv_buf_adds(out, "    ");
    line_fit(out, v->name);
    pv_buf_addf(out, ": %s for ", v->state);
    status_add_lasted(out, now - v->since);
    pv_buf_addc(out, '\n');
    if (!log || tail(log, 1, &last, &age) < 0)
        return;
    if (!last.len) {
        pv_buf_adds(out, "      console: nothing yet\n");
        return;
    }
    pv_buf_adds(out, "      console, ");
    status_add_lasted(out, age);
    pv_buf_adds(out, " ago: ");
    pv_text_fit(out, last.data, last.len, LINE_COLS);
    pv_buf_addc(out, '\n');
}

void pv_status_vms(struct pv_buf *out, const struct pv_file_report *f, int64_t now,
                   int (*tail)(const char *path, unsigned lines, struct pv_buf *out, int64_t *age_ns))
{
    size_t first = f->n_vms > MAX_VMS_SHOWN ? f->n_vms - MAX_VMS_SHOWN : 0;
    cleanup_buf struct pv_buf all = {0};

    for (size_t i = first; i < f->n_vms; i++)
        status_full_vm(&all, f, &f->vms[i], now, tail);
    if (all.len) {
        pv_buf_addc(out, '\n');
        pv_buf_add(out, all.data, all.len - 1);
    }
}

static void status_full_file(struct pv_buf *out, const struct pv_doing *d, int64_t now,
                             int (*tail)(const char *path, unsigned lines, struct pv_buf *out,
                                         int64_t *age_ns))
{
    const struct pv_file_report *f = d->report;
    const struct pv_test_report *t = status_open_test(f);
    size_t first = f->n_vms > MAX_VMS_SHOWN ? f->n_vms - MAX_VMS_SHOWN : 0;

    pv_buf_adds(out, "  ");
    line_fit(out, f->name);
    pv_buf_adds(out, ": runs for ");
    status_add_lasted(out, now - d->started);
    pv_buf_addc(out, '\n');
    if (t) {
        pv_buf_adds(out, "    in test \"");
        line_fit(out, t->name);
        pv_buf_adds(out, "\" for ");
        status_add_lasted(out, now - f->base_ns - t->begin_ns);
        pv_buf_addc(out, '\n');
    }
    if (f->phase && *f->phase) {
        pv_buf_adds(out, "    ");
        line_fit(out, f->phase);
        pv_buf_adds(out, " for ");
        status_add_lasted(out, now - f->phase_since);
        pv_buf_addc(out, '\n');
    }
    if (first)
        pv_buf_addf(out, "    (%zu VMs before these)\n", first);
    for (size_t i = first; i < f->n_vms; i++)
        status_full_vm(out, f, &f->vms[i], now, tail);
}

void pv_status_full(struct pv_buf *out, const struct pv_doing *running, size_t n, const struct pv_progress *p,
                    int64_t now,
                    int (*tail)(const char *path, unsigned lines, struct pv_buf *out, int64_t *age_ns))
{
    pv_buf_addf(out, "--- status after ");
    status_add_lasted(out, p->elapsed_ns);
    pv_buf_addf(out, ": %zu of %zu files ended (%zu failed), %zu running%s ---\n", files_ended(p), p->total,
                p->failed, n, p->stopping ? ", stopping" : "");
    for (size_t i = 0; i < n; i++)
        status_full_file(out, &running[i], now, tail);
    pv_buf_adds(out, "---\n");
}

int64_t pv_status_left(const struct pv_doing *running, size_t n, const struct pv_backlog *b, int64_t now)
{
    int64_t work = b->known_ns, longest = 0;

    if (b->unknown && b->mean_ns < 0)
        return -1;
    work += (int64_t)b->unknown * (b->mean_ns > 0 ? b->mean_ns : 0);
    for (size_t i = 0; i < n; i++) {
        int64_t expected = running[i].expected_ns >= 0 ? running[i].expected_ns : b->mean_ns;
        int64_t left = expected - (now - running[i].started);

        if (expected < 0)
            return -1;
        if (left <= 0)
            continue;
        work += left;
        if (left > longest)
            longest = left;
    }
    if (b->jobs > 1)
        work /= b->jobs;
    return work > longest ? work : longest;
}
