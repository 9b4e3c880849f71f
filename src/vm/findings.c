/* SPDX-License-Identifier: MIT */
/*
 * A line is split into stamp and message.  A message that a row of the table fits begins a report; the lines
 * behind it belong to it until its end mark, the next report's beginning, or a silence of the kernel.
 */
#include "vm/findings.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "util/hash.h"
#include "util/mem.h"
#include "vm/findings-table.h"

/*
 * LEAD_LINES are kept in front of a report.  A panic within CONSEQUENCE_LINES kernel lines of a finding may be
 * its consequence.
 */
enum { LINE_MAX_BYTES = 512, LEAD_LINES = 6, REMEMBERED = 64, CONSEQUENCE_LINES = 250 };

/* A report is over when the kernel's clock has moved on by so many microseconds. */
static const uint64_t SILENCE_US = 5000000;

struct text_line {
    char text[LINE_MAX_BYTES];
    size_t len;
};

/* The last lines in front of the next report: "cut here", and a sentence in front of or behind it. */
struct lead {
    struct text_line lines[LEAD_LINES];
    size_t n;
    size_t cut_here; /* 1 + its index, 0: none */
};

struct report {
    const struct pv_report_row *row; /* NULL: no report is open */
    bool told;                       /* the rest of it is recognized and dropped */
    bool fault_seen, had_warning;
    bool unstamped; /* as of the finding, like the next two */
    uint64_t after_us;
    char first[LINE_MAX_BYTES];
    uint64_t last_us;
    enum pv_finding_kind kind;
    char headline[PV_FINDING_HEADLINE + 1];
    struct text_line head[PV_FINDING_HEAD_LINES], tail[PV_FINDING_TAIL_LINES];
    size_t n_lines;
};

struct pv_findings {
    void (*fn)(const struct pv_finding *finding, void *arg);
    void *arg;
    bool stamps;               /* a line had one */
    uint64_t seen[REMEMBERED]; /* hashes of reports' first lines: `dmesg` on the console repeats them */
    size_t n_seen;
    struct lead lead;
    struct report report;
    uint64_t clock_us;  /* the last stamp */
    bool any;           /* a finding was told */
    size_t lines_since; /* kernel lines since the last finding's first one */
};

struct pv_findings *pv_findings_new(void (*fn)(const struct pv_finding *finding, void *arg), void *arg)
{
    struct pv_findings *f = pv_xcalloc(1, sizeof(*f));

    f->fn = fn;
    f->arg = arg;
    return f;
}

void pv_findings_free(struct pv_findings *f)
{
    free(f);
}

/* ---- a line ---- */

struct msg {
    const char *line, *text; /* text: behind stamp and caller */
    const char *stamp;       /* its start, NULL: none */
    uint64_t us;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads "[   12.345678]".  Returns the character behind it, or NULL. */
static const char *stamp_read(const char *s, uint64_t *us)
{
    uint64_t v = 0;
    unsigned digits = 0, frac = 0;

    if (*s++ != '[')
        return NULL;
    while (*s == ' ')
        s++;
    for (; is_digit(*s) && digits < 10; digits++)
        v = v * 10 + (uint64_t)(*s++ - '0');
    if (!digits || *s++ != '.')
        return NULL;
    for (; is_digit(*s) && frac < 6; frac++)
        v = v * 10 + (uint64_t)(*s++ - '0');
    if (frac != 6 || *s++ != ']')
        return NULL;
    *us = v;
    return s;
}

/* Skips "[    T12]" or "[    C0]", which CONFIG_PRINTK_CALLER adds. */
static const char *caller_skip(const char *s)
{
    const char *p = s;

    if (*p++ != '[')
        return s;
    while (*p == ' ')
        p++;
    if (*p != 'T' && *p != 'C')
        return s;
    for (p++; is_digit(*p); p++)
        ;
    return *p == ']' && p[1] == ' ' ? p + 1 : s;
}

/* Reads stamp and message at `at`, which is the line's start or a '[' in it.  False: it has no stamp. */
static bool msg_parse_at(struct msg *m, const char *at)
{
    const char *s = at;

    if (s[0] == '<' && is_digit(s[1])) { /* the level, as in /proc/kmsg */
        for (s++; is_digit(*s); s++)
            ;
        s = *s == '>' ? s + 1 : at;
    }
    m->stamp = NULL;
    m->text = s;
    if ((s = stamp_read(m->text, &m->us))) {
        m->stamp = at;
        s = caller_skip(s);
        m->text = *s == ' ' ? s + 1 : s;
        return true;
    }
    s = caller_skip(m->text);
    m->text = s != m->text && *s == ' ' ? s + 1 : m->text;
    return false;
}

/*
 * Splits a line.  A program's unfinished line may stand in front of the kernel's, so the first stamp with a
 * report behind it counts, else the one at the start, else the text without a stamp.  False: the line is not the
 * kernel's, because the kernel prints stamps.
 */
static bool line_parse(struct pv_findings *f, const char *line, struct msg *m,
                       const struct pv_report_row **row)
{
    struct msg first = {.line = line};

    f->stamps |= msg_parse_at(&first, line);
    *m = first;
    *row = first.stamp ? pv_report_row_of(first.text) : NULL;
    for (const char *at = line + 1; !*row && *line && (at = strchr(at, '[')); at++) {
        struct msg next = {.line = line};

        if (!msg_parse_at(&next, at))
            continue;
        *row = pv_report_row_of(next.text);
        if (*row || !m->stamp)
            *m = next;
    }
    if (!*row && !first.stamp && (*row = pv_report_row_of(first.text)))
        *m = first;
    return *row || m->stamp || !f->stamps || (f->report.row && f->report.unstamped);
}

/* ---- a report ---- */

static void text_line_set(struct text_line *to, const char *s)
{
    to->len = strnlen(s, LINE_MAX_BYTES - 1);
    memcpy(to->text, s, to->len);
    to->text[to->len] = '\0';
}

static void report_add_line(struct pv_findings *f, const char *line)
{
    if (f->report.told)
        return;
    if (f->report.n_lines < PV_FINDING_HEAD_LINES)
        text_line_set(&f->report.head[f->report.n_lines], line);
    else
        text_line_set(&f->report.tail[(f->report.n_lines - PV_FINDING_HEAD_LINES) % PV_FINDING_TAIL_LINES],
                      line);
    f->report.n_lines++;
}

static void excerpt_add(struct pv_buf *out, const struct text_line *l)
{
    pv_buf_add(out, l->text, l->len);
    pv_buf_addc(out, '\n');
}

static void report_tell(struct pv_findings *f)
{
    size_t tail = f->report.n_lines > PV_FINDING_HEAD_LINES ? f->report.n_lines - PV_FINDING_HEAD_LINES : 0;
    size_t left_out = tail > PV_FINDING_TAIL_LINES ? tail - PV_FINDING_TAIL_LINES : 0;
    cleanup_buf struct pv_buf excerpt = {0};
    struct pv_finding finding = {.kind = f->report.kind,
                                 .headline = f->report.headline,
                                 .first = f->report.first,
                                 .unstamped = f->report.unstamped,
                                 .after_us = f->report.after_us};

    if (f->report.told)
        return;
    f->report.told = true;
    for (size_t i = 0; i < f->report.n_lines && i < PV_FINDING_HEAD_LINES; i++)
        excerpt_add(&excerpt, &f->report.head[i]);
    if (left_out)
        pv_buf_addf(&excerpt, "... %zu lines ...\n", left_out);
    for (size_t i = left_out; i < tail; i++)
        excerpt_add(&excerpt, &f->report.tail[i % PV_FINDING_TAIL_LINES]);
    if (excerpt.len)
        excerpt.data[--excerpt.len] = '\0';
    finding.excerpt = excerpt.data ? excerpt.data : "";
    finding.follows = f->report.kind == PV_FINDING_PANIC && f->any && f->lines_since <= CONSEQUENCE_LINES &&
                      pv_report_is_consequence(f->report.headline);
    f->any = true;
    f->lines_since = 0;
    f->fn(&finding, f->arg);
}

void pv_findings_lost(struct pv_findings *f, int size)
{
    char text[PV_FINDING_HEADLINE];

    snprintf(text, sizeof(text),
             "%d bytes of console output waited, because the test kept Provium from reading them: what came "
             "behind them, also kernel reports, may be lost",
             size);
    f->fn(&(struct pv_finding){.kind = PV_FINDING_LOST, .headline = text, .excerpt = text}, f->arg);
}

void pv_findings_flush(struct pv_findings *f)
{
    if (f->report.row)
        report_tell(f);
}

static void report_finish(struct pv_findings *f)
{
    pv_findings_flush(f);
    f->report.row = NULL;
}

/* By a hash of stamp and message: a report that is printed again has the same one. */
static bool line_seen_before(struct pv_findings *f, const struct msg *m)
{
    uint64_t h;

    if (!m->stamp)
        return false;
    h = pv_hash(PV_HASH_BEGIN, m->stamp, strlen(m->stamp));
    for (size_t i = 0; i < REMEMBERED && i < f->n_seen; i++)
        if (f->seen[i] == h)
            return true;
    f->seen[f->n_seen++ % REMEMBERED] = h;
    return false;
}

static void report_set_headline(struct pv_findings *f, const char *text, const char *more)
{
    size_t n = strlen(text);

    while (n && text[n - 1] == ' ')
        n--;
    snprintf(f->report.headline, sizeof(f->report.headline), "%.*s%s%s", (int)n, text, more ? ": " : "",
             more ? more : "");
    n = strlen(f->report.headline);
    if (n == sizeof(f->report.headline) - 1) /* cut: no half character at the end */
        while (n && ((unsigned char)f->report.headline[n - 1] & 0xc0) == 0x80)
            n--;
    if (n && (unsigned char)f->report.headline[n - 1] >= 0xc0)
        n--;
    f->report.headline[n] = '\0';
}

/* A lead more specific than the report's first line: "usercopy: ...", or the text of a WARN; NULL: none. */
static const char *lead_message(const struct pv_findings *f)
{
    static const char *const telling[] = {"usercopy: ", "kernel tried to execute NX",
                                          "detected buffer overflow"};
    struct msg m = {0};

    if (f->lead.cut_here && f->lead.cut_here < f->lead.n) {
        msg_parse_at(&m, f->lead.lines[f->lead.cut_here].text);
        return m.text;
    }
    for (size_t i = 0; i < f->lead.n; i++) {
        msg_parse_at(&m, f->lead.lines[i].text);
        for (size_t j = 0; j < PV_ARRAY_LEN(telling); j++)
            if (!strncmp(m.text, telling[j], strlen(telling[j])))
                return m.text;
    }
    return NULL;
}

/* again: it is printed a second time, and recognized without being told. */
static void report_begin(struct pv_findings *f, const struct msg *m, const struct pv_report_row *row,
                         bool again)
{
    const char *more =
        row->kind == PV_FINDING_WARNING || row->kind == PV_FINDING_BUG || row->flags & PV_REPORT_FAULT
            ? lead_message(f)
            : NULL;
    cleanup_free char *copy = more ? pv_xstrdup(more) : NULL;

    f->report.row = row;
    f->report.kind = row->kind;
    f->report.told = again;
    f->report.unstamped = !m->stamp;
    f->report.after_us = f->clock_us;
    snprintf(f->report.first, sizeof(f->report.first), "%s", m->text);
    f->report.fault_seen = (row->flags & PV_REPORT_FAULT) != 0;
    f->report.had_warning = false;
    f->report.n_lines = 0;
    f->report.last_us = m->us;
    for (size_t i = 0; i < f->lead.n; i++)
        report_add_line(f, f->lead.lines[i].text);
    f->lead.n = f->lead.cut_here = 0;
    report_set_headline(f, m->text, copy);
    report_add_line(f, m->stamp ? m->stamp : m->line);
    if (row->end == PV_REPORT_END_NOW)
        report_finish(f);
}

static void lead_add(struct pv_findings *f, const struct msg *m)
{
    if (f->lead.n == LEAD_LINES) {
        memmove(f->lead.lines, f->lead.lines + 1, (LEAD_LINES - 1) * sizeof(f->lead.lines[0]));
        f->lead.n--;
        f->lead.cut_here -= f->lead.cut_here != 0;
    }
    text_line_set(&f->lead.lines[f->lead.n++], m->stamp ? m->stamp : m->line);
    if (!strncmp(m->text, "------------[ cut here ]", 24))
        f->lead.cut_here = f->lead.n;
}

/* Drops the lines in front of the first one that belongs to the report that begins. */
static void lead_trim(struct pv_findings *f)
{
    size_t from = f->lead.n;
    struct msg m = {0};

    if (f->lead.cut_here)
        from = f->lead.cut_here - 1;
    for (size_t i = 0; i < f->lead.n && i < from; i++) {
        msg_parse_at(&m, f->lead.lines[i].text);
        if (pv_report_is_frame(m.text) || !strncmp(m.text, "usercopy: ", 10) ||
            !strncmp(m.text, "kernel tried to execute", 23) || !strncmp(m.text, "------", 6))
            from = i;
    }
    memmove(f->lead.lines, f->lead.lines + from, (f->lead.n - from) * sizeof(f->lead.lines[0]));
    f->lead.n -= from;
    f->lead.cut_here = f->lead.cut_here ? f->lead.cut_here - from : 0;
}

/* True when a line that could begin a report belongs to the open one. */
static bool report_includes(struct pv_findings *f, const struct pv_report_row *row)
{
    if (!f->report.row)
        return false;
    if (row->flags & PV_REPORT_FAULT && !f->report.fault_seen &&
        (f->report.row->end == PV_REPORT_END_TRACE || f->report.kind == PV_FINDING_KASAN ||
         f->report.kind == PV_FINDING_KFENCE)) {
        f->report.fault_seen = true;
        return true;
    }
    if ((f->report.kind == PV_FINDING_LIST || f->report.kind == PV_FINDING_REFCOUNT) &&
        !f->report.had_warning && !f->report.fault_seen &&
        (row->kind == PV_FINDING_WARNING || row->kind == PV_FINDING_BUG)) {
        f->report.had_warning = true;
        return true;
    }
    return f->report.row->end == PV_REPORT_END_OOM &&
           (row->kind == PV_FINDING_OOM || row->kind == PV_FINDING_OOM_CGROUP) &&
           row->end == PV_REPORT_END_NOW;
}

static void report_continue(struct pv_findings *f, const struct msg *m, const struct pv_report_row *row)
{
    bool over = pv_report_ends(f->report.row, m->text);

    report_add_line(f, m->stamp ? m->stamp : m->line);
    f->report.last_us = m->us;
    if (row &&
        f->report.row->end ==
            PV_REPORT_END_OOM) { /* the killed process: a better headline, and whether a cgroup's limit was hit */
        f->report.kind = row->kind;
        report_set_headline(f, m->text, NULL);
        over = true;
    }
    if (over)
        report_finish(f);
}

void pv_findings_line(struct pv_findings *f, const char *line, size_t n)
{
    char copy[LINE_MAX_BYTES];
    const struct pv_report_row *row;
    struct msg m;

    n = n < sizeof(copy) ? n : sizeof(copy) - 1;
    memcpy(copy, line, n);
    copy[n] = '\0';
    if (!line_parse(f, copy, &m, &row))
        return;
    f->lines_since++;
    if (m.stamp)
        f->clock_us = m.us;
    if (f->report.row && m.stamp && m.us > f->report.last_us && m.us - f->report.last_us > SILENCE_US)
        report_finish(f);
    if (f->report.row && (!row || report_includes(f, row))) {
        report_continue(f, &m, row);
        return;
    }
    if (!row) {
        lead_add(f, &m);
        return;
    }
    report_finish(f);
    lead_trim(f);
    report_begin(f, &m, row, line_seen_before(f, &m));
}
