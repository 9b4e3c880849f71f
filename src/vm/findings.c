/* SPDX-License-Identifier: MIT */
/*
 * A line is taken apart (stamp, message); a message that a row of the table knows begins a report; the
 * lines behind it belong to it until its end mark, the next report's beginning, or a silence of the kernel.
 * The shapes are those of Linux 4.19 to 6.12, taken from real consoles and the kernel's documentation; see
 * tests/consoles.
 */
#include "vm/findings.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "util/mem.h"

/* LEAD: lines kept in front of a report; FOLLOWS: a panic so many kernel lines behind it came of it. */
enum { LINE_MAX_BYTES = 512, LEAD_LINES = 6, REMEMBERED = 64, FOLLOWS_WITHIN = 250 };

/* A report is over when the kernel's clock is so much further, in microseconds. */
static const uint64_t SILENCE_US = 5000000;

static const struct {
    const char *name;
    enum pv_severity severity;
} kinds[] = {
    [PV_FINDING_PANIC] = {"panic", PV_SEV_PANIC},
    [PV_FINDING_OOPS] = {"oops", PV_SEV_OOPS},
    [PV_FINDING_BUG] = {"bug", PV_SEV_OOPS},
    [PV_FINDING_KASAN] = {"kasan", PV_SEV_OOPS},
    [PV_FINDING_KFENCE] = {"kfence", PV_SEV_OOPS},
    [PV_FINDING_KMSAN] = {"kmsan", PV_SEV_OOPS},
    [PV_FINDING_KCSAN] = {"kcsan", PV_SEV_OOPS},
    [PV_FINDING_SLUB] = {"slub", PV_SEV_OOPS},
    [PV_FINDING_LIST] = {"list-corruption", PV_SEV_OOPS},
    [PV_FINDING_BAD_PAGE] = {"bad-page", PV_SEV_OOPS},
    [PV_FINDING_LOCKDEP] = {"lockdep", PV_SEV_OOPS},
    [PV_FINDING_ATOMIC] = {"atomic", PV_SEV_OOPS},
    [PV_FINDING_HUNG_TASK] = {"hung-task", PV_SEV_OOPS},
    [PV_FINDING_SOFT_LOCKUP] = {"soft-lockup", PV_SEV_OOPS},
    [PV_FINDING_HARD_LOCKUP] = {"hard-lockup", PV_SEV_OOPS},
    [PV_FINDING_RCU_STALL] = {"rcu-stall", PV_SEV_OOPS},
    [PV_FINDING_WORKQUEUE] = {"workqueue-lockup", PV_SEV_OOPS},
    [PV_FINDING_OOM] = {"oom", PV_SEV_OOPS},
    [PV_FINDING_OOM_CGROUP] = {"oom-cgroup", PV_SEV_WARNING},
    [PV_FINDING_WARNING] = {"warning", PV_SEV_WARNING},
    [PV_FINDING_REFCOUNT] = {"refcount", PV_SEV_WARNING},
    [PV_FINDING_UBSAN] = {"ubsan", PV_SEV_WARNING},
    [PV_FINDING_PAGE_ALLOC] = {"page-alloc", PV_SEV_WARNING},
    [PV_FINDING_LEAK] = {"memory-leak", PV_SEV_WARNING},
    [PV_FINDING_NETDEV] = {"netdev-leak", PV_SEV_WARNING},
    [PV_FINDING_IRQ] = {"irq", PV_SEV_WARNING},
};
_Static_assert(PV_ARRAY_LEN(kinds) == PV_FINDING_KINDS, "describe every kind");

const char *pv_finding_kind_name(enum pv_finding_kind kind)
{
    return kinds[kind].name;
}

enum pv_severity pv_finding_severity(enum pv_finding_kind kind)
{
    return kinds[kind].severity;
}

/* What ends a report. */
enum end {
    END_NOW,   /* it has one line */
    END_TRACE, /* "---[ end trace" */
    END_TASK,  /* "</TASK>" */
    END_FRAME, /* "=====", or the end of a trace */
    END_OOM,   /* who was killed */
    END_PANIC
};

/* FAULT: a line with "[#1]" belongs to the report before it when that has none yet. */
enum { FAULT = 1, VAGUE = 2 };

/*
 * The first row that fits decides.  A message fits that begins with `start` (NULL: with anything) and holds
 * `part` behind it.  VAGUE: a program could well say this, so the line must have a stamp.
 */
static const struct row {
    const char *start, *part;
    enum pv_finding_kind kind;
    enum end end;
    unsigned flags;
} rows[] = {
    {"Kernel panic - not syncing", NULL, PV_FINDING_PANIC, END_PANIC, 0},

    {"BUG: KASAN: ", NULL, PV_FINDING_KASAN, END_FRAME, 0},
    {"BUG: KFENCE: ", NULL, PV_FINDING_KFENCE, END_FRAME, 0},
    {"BUG: KMSAN: ", NULL, PV_FINDING_KMSAN, END_FRAME, 0},
    {"BUG: KCSAN: ", NULL, PV_FINDING_KCSAN, END_FRAME, 0},
    {"UBSAN: ", " in ", PV_FINDING_UBSAN, END_FRAME, VAGUE},
    {"BUG ", "ainted", PV_FINDING_SLUB, END_TASK, VAGUE},

    {"BUG: kernel NULL pointer dereference", NULL, PV_FINDING_OOPS, END_TRACE, 0},
    {"BUG: unable to handle ", NULL, PV_FINDING_OOPS, END_TRACE, 0},
    {"BUG: ", "stack guard page was hit", PV_FINDING_OOPS, END_TRACE, 0},
    {"Unable to handle kernel ", NULL, PV_FINDING_OOPS, END_TRACE, 0},
    {"kernel BUG at ", NULL, PV_FINDING_BUG, END_TRACE, 0},
    {"Oops: ", "[#", PV_FINDING_OOPS, END_TRACE, FAULT},
    {"general protection fault", "[#", PV_FINDING_OOPS, END_TRACE, FAULT},
    {"divide error: ", "[#", PV_FINDING_OOPS, END_TRACE, FAULT},
    {"invalid opcode: ", "[#", PV_FINDING_OOPS, END_TRACE, FAULT},
    {"stack segment: ", "[#", PV_FINDING_OOPS, END_TRACE, FAULT},
    {"double fault: ", "[#", PV_FINDING_OOPS, END_TRACE, FAULT},
    {"int3: ", "[#", PV_FINDING_OOPS, END_TRACE, FAULT},
    {"alignment check: ", "[#", PV_FINDING_OOPS, END_TRACE, FAULT},
    {"bounds: ", "[#", PV_FINDING_OOPS, END_TRACE, FAULT},
    {"segment not present: ", "[#", PV_FINDING_OOPS, END_TRACE, FAULT},
    {"invalid TSS: ", "[#", PV_FINDING_OOPS, END_TRACE, FAULT},
    {"control protection fault: ", "[#", PV_FINDING_OOPS, END_TRACE, FAULT},
    {"stack guard page: ", "[#", PV_FINDING_OOPS, END_TRACE, FAULT},
    {"kernel stack overflow ", "[#", PV_FINDING_OOPS, END_TRACE, FAULT},
    {"PANIC: double fault", NULL, PV_FINDING_OOPS, END_TRACE, 0},
    {"traps: PANIC: double fault", NULL, PV_FINDING_OOPS, END_TRACE, 0},

    {"BUG: sleeping function called from invalid context", NULL, PV_FINDING_ATOMIC, END_TASK, 0},
    {"BUG: scheduling while atomic: ", NULL, PV_FINDING_ATOMIC, END_TASK, 0},
    {"BUG: Bad page ", NULL, PV_FINDING_BAD_PAGE, END_TASK, 0},
    {"BUG: workqueue lockup ", NULL, PV_FINDING_WORKQUEUE, END_TRACE, 0},
    {"watchdog: BUG: soft lockup ", NULL, PV_FINDING_SOFT_LOCKUP, END_TASK, 0},
    {"BUG: soft lockup ", NULL, PV_FINDING_SOFT_LOCKUP, END_TASK, 0},
    {NULL, "Watchdog detected hard LOCKUP on cpu", PV_FINDING_HARD_LOCKUP, END_TASK, VAGUE},
    {"[ BUG: Invalid wait context ]", NULL, PV_FINDING_LOCKDEP, END_TASK, 0},
    {"BUG: bad unlock balance detected", NULL, PV_FINDING_LOCKDEP, END_TASK, 0},
    {"BUG: held lock freed", NULL, PV_FINDING_LOCKDEP, END_TASK, 0},
    {"BUG: ", NULL, PV_FINDING_BUG, END_TASK, VAGUE},

    {"WARNING: possible ", "lock", PV_FINDING_LOCKDEP, END_TASK, 0},
    {"WARNING: inconsistent lock state", NULL, PV_FINDING_LOCKDEP, END_TASK, 0},
    {"WARNING: bad unlock balance detected", NULL, PV_FINDING_LOCKDEP, END_TASK, 0},
    {"WARNING: bad contention detected", NULL, PV_FINDING_LOCKDEP, END_TASK, 0},
    {"WARNING: held lock freed", NULL, PV_FINDING_LOCKDEP, END_TASK, 0},
    {"WARNING: lock held when returning to user space", NULL, PV_FINDING_LOCKDEP, END_TASK, 0},
    {"WARNING: Nested lock was not taken", NULL, PV_FINDING_LOCKDEP, END_TASK, 0},
    {"WARNING: ", "-unsafe lock order detected", PV_FINDING_LOCKDEP, END_TASK, 0},
    {"WARNING: suspicious RCU usage", NULL, PV_FINDING_LOCKDEP, END_TASK, 0},
    {"INFO: trying to register non-static key", NULL, PV_FINDING_LOCKDEP, END_TASK, 0},

    {"INFO: task ", " blocked for more than ", PV_FINDING_HUNG_TASK, END_TASK, 0},
    {"rcu: INFO: rcu_", "stall", PV_FINDING_RCU_STALL, END_TASK, 0},
    {"INFO: rcu_", "stall", PV_FINDING_RCU_STALL, END_TASK, 0},

    {NULL, " invoked oom-killer: ", PV_FINDING_OOM, END_OOM, VAGUE},
    {"Memory cgroup out of memory: ", NULL, PV_FINDING_OOM_CGROUP, END_NOW, 0},
    {"Out of memory: Killed process ", NULL, PV_FINDING_OOM, END_NOW, 0},
    {"Out of memory", "Kill", PV_FINDING_OOM, END_NOW, VAGUE},

    {"list_add corruption", NULL, PV_FINDING_LIST, END_TRACE, 0},
    {"list_del corruption", NULL, PV_FINDING_LIST, END_TRACE, 0},
    {"list_add double add", NULL, PV_FINDING_LIST, END_TRACE, 0},
    {"refcount_t: ", NULL, PV_FINDING_REFCOUNT, END_TRACE, VAGUE},
    {"WARNING: ", NULL, PV_FINDING_WARNING, END_TRACE, VAGUE},
    {"unchecked MSR access error: ", NULL, PV_FINDING_WARNING, END_TASK, 0},
    {NULL, ": page allocation failure: order:", PV_FINDING_PAGE_ALLOC, END_TASK, VAGUE},
    {"kmemleak: ", " new suspected memory leaks", PV_FINDING_LEAK, END_NOW, 0},
    {"unregister_netdevice: waiting for ", NULL, PV_FINDING_NETDEV, END_NOW, 0},
    {"irq ", ": nobody cared", PV_FINDING_IRQ, END_TASK, 0},
};

struct text_line {
    char text[LINE_MAX_BYTES];
    size_t len;
};

struct pv_findings {
    void (*fn)(const struct pv_finding *finding, void *arg);
    void *arg;

    enum { STAMPS_UNKNOWN, STAMPS_YES, STAMPS_NO } stamps;
    uint64_t seen[REMEMBERED]; /* hashes of the first lines of reports: `dmesg` on the console repeats them */
    size_t n_seen;

    /* What may belong to the next report: "cut here", and the sentence in front of or behind it. */
    struct text_line lead[LEAD_LINES];
    size_t n_lead;
    size_t cut_here; /* 1 + its index in lead, 0: none */

    /* The report that is going on. */
    const struct row *row; /* NULL: none */
    bool told;             /* by a flush; what comes is not collected */
    bool fault_seen, had_warning;
    uint64_t last_us;
    enum pv_finding_kind kind;
    char headline[PV_FINDING_HEADLINE + 1];
    struct text_line head[PV_FINDING_HEAD_LINES], tail[PV_FINDING_TAIL_LINES];
    size_t n_lines;

    bool any;     /* a finding was told of */
    size_t since; /* kernel lines since its first */
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
    const char *stamp;       /* where it stands, NULL: none */
    uint64_t us;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "[   12.345678]": the character behind it, or NULL. */
static const char *read_stamp(const char *s, uint64_t *us)
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

/* "[    T12]" or "[    C0]": what CONFIG_PRINTK_CALLER adds; behind it, or s. */
static const char *skip_caller(const char *s)
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

/* Fills in what stands at `at`, which is the line's start or a '[' in it; false: no stamp. */
static bool parse_at(struct msg *m, const char *at)
{
    const char *s = at;

    if (s[0] == '<' && is_digit(s[1])) { /* the level, as in /proc/kmsg */
        for (s++; is_digit(*s); s++)
            ;
        s = *s == '>' ? s + 1 : at;
    }
    m->stamp = NULL;
    m->text = s;
    if ((s = read_stamp(m->text, &m->us))) {
        m->stamp = at;
        s = skip_caller(s);
        m->text = *s == ' ' ? s + 1 : s;
        return true;
    }
    s = skip_caller(m->text);
    m->text = s != m->text && *s == ' ' ? s + 1 : m->text;
    return false;
}

static const struct row *find_row(const struct msg *m, bool sure)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        size_t n = r->start ? strlen(r->start) : 0;

        if (r->start && (m->text[0] != r->start[0] || strncmp(m->text, r->start, n) != 0))
            continue;
        if (r->part && !strstr(m->text + n, r->part))
            continue;
        /* another row may still know it better than by a vague word, none does now */
        return r->flags & VAGUE && !sure ? NULL : r;
    }
    return NULL;
}

/*
 * Takes a line apart.  A program's unfinished line may stand in front of the kernel's, so with stamps the
 * first one counts that a report begins behind, else the one at the start.  False: not the kernel's.
 */
static bool parse(struct pv_findings *f, const char *line, struct msg *m, const struct row **row)
{
    struct msg first = {.line = line};

    if (parse_at(&first, line))
        f->stamps = STAMPS_YES;
    else if (f->stamps == STAMPS_UNKNOWN && !strncmp(first.text, "Linux version ", 14))
        f->stamps = STAMPS_NO;
    *m = first;
    *row = NULL;
    if (first.stamp || f->stamps != STAMPS_YES)
        *row = find_row(&first, first.stamp || f->stamps == STAMPS_NO);
    for (const char *at = line + 1; !*row && *line && (at = strchr(at, '[')); at++) {
        struct msg next = {.line = line};

        if (!parse_at(&next, at))
            continue;
        *row = find_row(&next, true);
        if (*row || !m->stamp)
            *m = next;
    }
    return m->stamp || f->stamps != STAMPS_YES;
}

/* ---- a report ---- */

static void keep(struct text_line *to, const char *s)
{
    to->len = strnlen(s, LINE_MAX_BYTES - 1);
    memcpy(to->text, s, to->len);
    to->text[to->len] = '\0';
}

static void collect(struct pv_findings *f, const char *line)
{
    if (f->told)
        return;
    if (f->n_lines < PV_FINDING_HEAD_LINES)
        keep(&f->head[f->n_lines], line);
    else
        keep(&f->tail[(f->n_lines - PV_FINDING_HEAD_LINES) % PV_FINDING_TAIL_LINES], line);
    f->n_lines++;
}

static void add_line(struct pv_buf *out, const struct text_line *l)
{
    pv_buf_add(out, l->text, l->len);
    pv_buf_addc(out, '\n');
}

static void tell(struct pv_findings *f)
{
    size_t tail = f->n_lines > PV_FINDING_HEAD_LINES ? f->n_lines - PV_FINDING_HEAD_LINES : 0;
    size_t left_out = tail > PV_FINDING_TAIL_LINES ? tail - PV_FINDING_TAIL_LINES : 0;
    cleanup_buf struct pv_buf excerpt = {0};
    struct pv_finding finding = {.kind = f->kind, .headline = f->headline};
    /* What the kernel says when a panic is the consequence of something that it has reported already. */
    static const char *const consequences[] = {
        "Fatal exception",   "panic_on_warn set", "hung_task: blocked tasks",
        "softlockup: hung",  "RCU Stall",         "Hard LOCKUP",
        "out of memory",     "Out of memory",     "Attempted to kill init! exitcode=0x0000000",
        "Fatal hardware",    "stack guard",       "workqueue: panic_on",
        "System is deadlock"};

    if (f->told)
        return;
    f->told = true;
    for (size_t i = 0; i < f->n_lines && i < PV_FINDING_HEAD_LINES; i++)
        add_line(&excerpt, &f->head[i]);
    if (left_out)
        pv_buf_addf(&excerpt, "... %zu lines ...\n", left_out);
    for (size_t i = left_out; i < tail; i++)
        add_line(&excerpt, &f->tail[i % PV_FINDING_TAIL_LINES]);
    if (excerpt.len)
        excerpt.data[--excerpt.len] = '\0';
    finding.excerpt = excerpt.data ? excerpt.data : "";
    for (size_t i = 0; f->kind == PV_FINDING_PANIC && i < PV_ARRAY_LEN(consequences); i++)
        finding.follows |= f->any && f->since <= FOLLOWS_WITHIN && strstr(f->headline, consequences[i]);
    f->any = true;
    f->since = 0;
    f->fn(&finding, f->arg);
}

void pv_findings_flush(struct pv_findings *f)
{
    if (f->row)
        tell(f);
}

static void finish(struct pv_findings *f)
{
    pv_findings_flush(f);
    f->row = NULL;
}

/* Of the stamp and all behind it: the same report once more has the same one. */
static bool seen_before(struct pv_findings *f, const struct msg *m)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    if (!m->stamp)
        return false;
    for (const char *s = m->stamp; *s; s++)
        h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
    for (size_t i = 0; i < REMEMBERED && i < f->n_seen; i++)
        if (f->seen[i] == h)
            return true;
    f->seen[f->n_seen++ % REMEMBERED] = h;
    return false;
}

static void set_headline(struct pv_findings *f, const char *text, const char *more)
{
    size_t n = strlen(text);

    while (n && text[n - 1] == ' ')
        n--;
    snprintf(f->headline, sizeof(f->headline), "%.*s%s%s", (int)n, text, more ? ": " : "", more ? more : "");
    n = strlen(f->headline);
    if (n == sizeof(f->headline) - 1) /* cut: no half character at the end */
        while (n && ((unsigned char)f->headline[n - 1] & 0xc0) == 0x80)
            n--;
    if (n && (unsigned char)f->headline[n - 1] >= 0xc0)
        n--;
    f->headline[n] = '\0';
}

/* A lead that says more than the line that begins the report: "usercopy: ...", or what WARN was given. */
static const char *lead_message(const struct pv_findings *f)
{
    static const char *const telling[] = {"usercopy: ", "kernel tried to execute NX",
                                          "detected buffer overflow"};
    struct msg m = {0};

    if (f->cut_here && f->cut_here < f->n_lead) {
        parse_at(&m, f->lead[f->cut_here].text);
        return m.text;
    }
    for (size_t i = 0; i < f->n_lead; i++) {
        parse_at(&m, f->lead[i].text);
        for (size_t j = 0; j < PV_ARRAY_LEN(telling); j++)
            if (!strncmp(m.text, telling[j], strlen(telling[j])))
                return m.text;
    }
    return NULL;
}

static bool is_frame(const char *text)
{
    return !strncmp(text, "=====", 5);
}

/* again: it has been told of, and is now only to be recognized. */
static void begin(struct pv_findings *f, const struct msg *m, const struct row *row, bool again)
{
    const char *more = row->kind == PV_FINDING_WARNING || row->kind == PV_FINDING_BUG || row->flags & FAULT
                           ? lead_message(f)
                           : NULL;
    cleanup_free char *copy = more ? pv_xstrdup(more) : NULL;

    f->row = row;
    f->kind = row->kind;
    f->told = again;
    f->fault_seen = (row->flags & FAULT) != 0;
    f->had_warning = false;
    f->n_lines = 0;
    f->last_us = m->us;
    for (size_t i = 0; i < f->n_lead; i++)
        collect(f, f->lead[i].text);
    f->n_lead = f->cut_here = 0;
    set_headline(f, m->text, copy);
    collect(f, m->stamp ? m->stamp : m->line);
    if (row->end == END_NOW)
        finish(f);
}

/* The last lines in front of a report that has not begun. */
static void note_lead(struct pv_findings *f, const struct msg *m)
{
    if (f->n_lead == LEAD_LINES) {
        memmove(f->lead, f->lead + 1, (LEAD_LINES - 1) * sizeof(f->lead[0]));
        f->n_lead--;
        f->cut_here -= f->cut_here != 0;
    }
    keep(&f->lead[f->n_lead++], m->stamp ? m->stamp : m->line);
    if (!strncmp(m->text, "------------[ cut here ]", 24))
        f->cut_here = f->n_lead;
}

/* Lines that were kept but have nothing to do with the report that begins: all in front of the telling ones.
 */
static void trim_lead(struct pv_findings *f)
{
    size_t from = f->n_lead;
    struct msg m = {0};

    if (f->cut_here)
        from = f->cut_here - 1;
    for (size_t i = 0; i < f->n_lead && i < from; i++) {
        parse_at(&m, f->lead[i].text);
        if (is_frame(m.text) || !strncmp(m.text, "usercopy: ", 10) ||
            !strncmp(m.text, "kernel tried to execute", 23) || !strncmp(m.text, "------", 6))
            from = i;
    }
    memmove(f->lead, f->lead + from, (f->n_lead - from) * sizeof(f->lead[0]));
    f->n_lead -= from;
    f->cut_here = f->cut_here ? f->cut_here - from : 0;
}

/* True when a line that could begin a report belongs to the one that is going on. */
static bool belongs(struct pv_findings *f, const struct row *row)
{
    if (!f->row)
        return false;
    if (row->flags & FAULT && !f->fault_seen &&
        (f->row->end == END_TRACE || f->kind == PV_FINDING_KASAN || f->kind == PV_FINDING_KFENCE)) {
        f->fault_seen = true;
        return true;
    }
    if ((f->kind == PV_FINDING_LIST || f->kind == PV_FINDING_REFCOUNT) && !f->had_warning && !f->fault_seen &&
        (row->kind == PV_FINDING_WARNING || row->kind == PV_FINDING_BUG)) {
        f->had_warning = true;
        return true;
    }
    return f->row->end == END_OOM && (row->kind == PV_FINDING_OOM || row->kind == PV_FINDING_OOM_CGROUP) &&
           row->end == END_NOW;
}

static bool ends(const struct pv_findings *f, const char *text)
{
    while (*text == ' ')
        text++;
    if (!strncmp(text, "---[ end ", 9))
        return true;
    switch (f->row->end) {
    case END_TASK:
        return !strncmp(text, "</TASK>", 7);
    case END_FRAME:
        return is_frame(text);
    case END_PANIC:
        return !strncmp(text, "Rebooting in ", 13) || !strncmp(text, "Kernel Offset: ", 15);
    case END_NOW:
    case END_TRACE:
    case END_OOM:
        break;
    }
    return false;
}

static void in_report(struct pv_findings *f, const struct msg *m, const struct row *row)
{
    bool over = ends(f, m->text);

    collect(f, m->stamp ? m->stamp : m->line);
    f->last_us = m->us;
    if (row && f->row->end == END_OOM) { /* who was killed: the better headline, and whose OOM it was */
        f->kind = row->kind;
        set_headline(f, m->text, NULL);
        over = true;
    }
    if (over)
        finish(f);
}

void pv_findings_line(struct pv_findings *f, const char *line, size_t n)
{
    char copy[LINE_MAX_BYTES];
    const struct row *row;
    struct msg m;

    n = n < sizeof(copy) ? n : sizeof(copy) - 1;
    memcpy(copy, line, n);
    copy[n] = '\0';
    if (!parse(f, copy, &m, &row))
        return;
    f->since++;
    if (f->row && m.stamp && m.us > f->last_us && m.us - f->last_us > SILENCE_US)
        finish(f);
    if (f->row && (!row || belongs(f, row))) {
        in_report(f, &m, row);
        return;
    }
    if (!row) {
        note_lead(f, &m);
        return;
    }
    finish(f);
    trim_lead(f);
    begin(f, &m, row, seen_before(f, &m));
}
