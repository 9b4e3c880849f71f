/* SPDX-License-Identifier: MIT */
#include "testfile/findings.h"

#include <stdlib.h>
#include <string.h>

#include "guest/core.h"
#include "loop/loop.h"
#include "testfile/deaths.h"
#include "testfile/places.h"
#include "testfile/testfile.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

/* Separate bounds: a flood of warnings leaves room for oopses and panics, a program's words for the kernel's. */
enum { MAX_WARNINGS = 128, MAX_WORSE = 128, MAX_DOUBTS = 64, DECIDE_ROUNDS = 4 };

static enum pv_class finding_class(enum pv_finding_kind kind)
{
    switch (pv_finding_severity(kind)) {
    case PV_SEV_PANIC:
        return PV_CLASS_PANIC;
    case PV_SEV_OOPS:
        return PV_CLASS_OOPS;
    case PV_SEV_WARNING:
        break;
    }
    return PV_CLASS_WARNING;
}

enum pv_class pv_tf_class_worse(enum pv_class a, enum pv_class b)
{
    /* the enum has PANIC before OOPS before WARNING */
    if (a == PV_CLASS_NONE || b == PV_CLASS_NONE)
        return a == PV_CLASS_NONE ? b : a;
    return a < b ? a : b;
}

static bool finding_has(const char *headline, const char *excerpt, const char *text)
{
    return strstr(headline, text) || strstr(excerpt, text);
}

/* The finding before f in the same VM. */
static struct tf_finding *finding_before(struct tf_findings *list, const struct tf_finding *f)
{
    struct tf_finding *last = NULL;

    for (struct tf_finding *x = list->first; x && x != f; x = x->next)
        if (x->vm_number == f->vm_number)
            last = x;
    return last;
}

const struct tf_finding *pv_tf_finding_last(const struct pv_testfile *tf, const struct tf_guest *g)
{
    const struct tf_finding *last = NULL;

    for (const struct tf_finding *f = tf->findings.first; f; f = f->next)
        if (f->guest == g)
            last = f;
    return last;
}

const char *pv_tf_finding_of_run(const struct pv_testfile *tf, const struct pv_guest *g)
{
    const struct tf_findings *list = &tf->findings;

    for (const struct tf_finding *f = list->first; f; f = f->next)
        if (f->vm_number == pv_guest_number(g) && !f->past)
            return f->headline;
    return list->n_warnings >= MAX_WARNINGS || list->n_worse >= MAX_WORSE ? "more than can be kept" : NULL;
}

void pv_tf_finding_handle(struct pv_testfile *tf, struct tf_finding *f)
{
    for (; f && !f->handled; f = f->follows ? finding_before(&tf->findings, f) : NULL) {
        f->handled = true;
        if (f->id != PV_NO_TEST)
            pv_result_finding_handled(tf->env->result, f->id);
    }
}

/* True when expect_report or allow_report covers it. */
static bool finding_is_allowed(const struct tf_guest *g, const char *headline, const char *excerpt)
{
    for (const struct tf_expect *e = g ? g->expect : NULL; e; e = e->outer)
        if (finding_has(headline, excerpt, e->text))
            return true;
    for (char **s = g ? g->allowed : NULL; s && *s; s++)
        if (finding_has(headline, excerpt, *s))
            return true;
    return false;
}

/* For a finding of a standby VM, which is of no VM of the test's: what any VM of the file allows. */
static bool finding_is_allowed_anywhere(const struct pv_testfile *tf, const struct tf_finding *f)
{
    for (const struct tf_guest *g = tf->guests.first; g; g = g->next)
        if (finding_is_allowed(g, f->headline, f->excerpt))
            return true;
    return false;
}

/* A finding caused by an expected finding is expected too.  Tells the innermost expect_report that fits. */
static bool finding_is_expected(struct pv_testfile *tf, struct tf_finding *f)
{
    struct tf_finding *last;

    for (struct tf_expect *e = f->guest ? f->guest->expect : NULL; e; e = e->outer)
        if (finding_has(f->headline, f->excerpt, e->text)) {
            e->first = e->first ? e->first : f;
            break;
        }
    if (finding_is_allowed(f->guest, f->headline, f->excerpt))
        return true;
    last = f->follows ? finding_before(&tf->findings, f) : NULL;
    return last && last->handled;
}

static size_t *finding_count(struct tf_findings *list, const struct tf_finding *f)
{
    return f->doubt.first ? &list->n_doubts : f->cls == PV_CLASS_WARNING ? &list->n_warnings : &list->n_worse;
}

static void finding_append(struct tf_findings *list, struct tf_finding *f)
{
    if (!list->first)
        list->end = &list->first;
    *list->end = f;
    list->end = &f->next;
    ++*finding_count(list, f);
    if (f->guest)
        f->guest->n_holds++;
}

static bool findings_are_full(const struct tf_findings *list, enum pv_class cls, bool doubtful)
{
    return doubtful                  ? list->n_doubts == MAX_DOUBTS
           : cls == PV_CLASS_WARNING ? list->n_warnings >= MAX_WARNINGS
                                     : list->n_worse >= MAX_WORSE;
}

static enum pv_guest_policy finding_policy(const struct pv_testfile *tf, enum pv_class cls)
{
    return cls == PV_CLASS_WARNING ? tf->env->warnings : tf->env->oopses;
}

/* Of a finding that is the kernel's. */
static void finding_tell(struct pv_testfile *tf, struct tf_finding *f)
{
    if (finding_policy(tf, f->cls) != PV_POLICY_IGNORE &&
        !tf->builder) /* a failed build tells it by itself */
        f->id = pv_result_finding(tf->env->result, f->test_id, f->vm, f->cls, f->fails ? PV_FAIL : PV_OK,
                                  f->headline, f->excerpt);
    if (finding_is_expected(tf, f) || (f->standby && finding_is_allowed_anywhere(tf, f)))
        pv_tf_finding_handle(tf, f);
    /* Not by testfile/core.h, which asks this file what a core is of. */
    if (tf->guest_env.cores.open && f->guest && f->cls == PV_CLASS_OOPS && f->fails && !f->handled)
        pv_guest_core(f->guest->g);
}

/* why: nobody can know that it is the kernel's; NULL: it is. */
static void finding_believe(struct pv_testfile *tf, struct tf_finding *f, const char *why)
{
    char *headline = f->headline;

    tf->findings.n_doubts--;
    free(f->doubt.first);
    f->doubt.first = NULL;
    ++*finding_count(&tf->findings, f);
    if (why) {
        f->headline =
            pv_xasprintf("%s (without a time stamp, so the kernel or a program printed it; which one is "
                         "not known: %.*s)",
                         headline, (int)strcspn(why, "\n"), why);
        free(headline);
    }
    finding_tell(tf, f);
}

void pv_tf_finding_add(const struct pv_guest *g, const struct pv_finding *finding, void *arg)
{
    struct pv_testfile *tf = arg;
    struct tf_findings *list = &tf->findings;
    struct tf_guest *guest = pv_tf_guest_of(&tf->guests, g);
    enum pv_class cls = finding_class(finding->kind);
    bool standby = pv_guest_is_standby(g);
    bool fails = finding_policy(tf, cls) == PV_POLICY_FAIL;
    /* Whether the words of a panic are one is decided by the guest's silence. */
    bool doubtful = finding->unstamped && finding->first && cls != PV_CLASS_PANIC;
    struct tf_unkept *unkept;
    struct tf_finding *f;

    if (findings_are_full(list, cls, doubtful)) {
        if (fails && !finding_is_allowed(guest, finding->headline, finding->excerpt)) {
            unkept = pv_tf_unkept(&tf->tests, standby ? PV_NO_TEST : pv_tf_test_id(&tf->tests));
            unkept->n_findings++;
            unkept->cls = pv_tf_class_worse(unkept->cls, cls);
        }
        return;
    }
    f = pv_xcalloc(1, sizeof(*f));
    *f = (struct tf_finding){
        .guest = guest,
        .test_id = standby ? PV_NO_TEST : pv_tf_test_id(&tf->tests),
        .id = PV_NO_TEST,
        .cls = cls,
        .kind = pv_finding_kind_name(finding->kind),
        .headline = pv_xstrdup(finding->headline),
        .vm_number = pv_guest_number(g),
        .excerpt = pv_xstrdup(finding->excerpt),
        .doubt = {doubtful ? pv_xstrdup(finding->first) : NULL, finding->after_us, pv_now()},
        .standby = standby,
        .fails = fails,
        .follows = finding->follows};
    pv_tf_short_name(g, f->vm);
    finding_append(list, f);
    if (!doubtful)
        finding_tell(tf, f);
    else if (!guest)
        finding_believe(tf, f, "the VM was none of the test's yet");
}

/* ---- findings without a time stamp ---- */

static void finding_free(struct tf_finding *f)
{
    if (f->guest)
        f->guest->n_holds--;
    free(f->headline);
    free(f->excerpt);
    free(f->doubt.first);
    free(f);
}

/* A program printed it. */
static void finding_drop(struct tf_findings *list, struct tf_finding *f)
{
    struct tf_finding **at = &list->first;

    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    if (!f->next)
        list->end = at;
    list->n_doubts--;
    finding_free(f);
}

static struct tf_finding *finding_first_doubt(const struct tf_findings *list)
{
    struct tf_finding *f = list->first;

    while (f && !f->doubt.first)
        f = f->next;
    return f;
}

/*
 * Decides all of the guest's.  A finding that comes meanwhile may be younger than the log; another task may decide and
 * drop others, so the list is looked at after the call only.
 */
static void guest_decide_doubts(struct pv_testfile *tf, struct tf_guest *g)
{
    int64_t asked = pv_now();
    struct pv_err unread = PV_ERR_INIT;
    cleanup_buf struct pv_buf log = {0};
    bool read = pv_guest_kernel_log(g->g, &log, &unread) == 0;

    for (struct tf_finding *f = tf->findings.first, *next; f; f = next) {
        struct pv_err err = unread;
        int rc = -1;

        next = f->next;
        if (f->guest != g || !f->doubt.first || f->doubt.since > asked)
            continue;
        if (f->doubt.over)
            pv_err_set(&err, PV_E_GUEST, "that run of the VM is over");
        else if (read)
            rc = pv_kernel_log_has(log.data, log.len, f->doubt.first, f->doubt.after_us, &err);
        if (rc == 0)
            finding_drop(&tf->findings, f);
        else
            finding_believe(tf, f, rc < 0 ? err.text : NULL);
    }
}

void pv_tf_findings_decide_unknown(struct pv_testfile *tf)
{
    struct tf_finding *f;

    while (tf->findings.n_doubts && (f = finding_first_doubt(&tf->findings)))
        finding_believe(tf, f, "its VM could not be asked");
}

static bool guest_has_doubts(const struct pv_testfile *tf, const struct tf_guest *g)
{
    const struct tf_finding *f = tf->findings.first;

    while (f && (f->guest != g || !f->doubt.first))
        f = f->next;
    return f;
}

void pv_tf_findings_decide(struct pv_testfile *tf)
{
    for (int i = 0; i < DECIDE_ROUNDS && tf->findings.n_doubts; i++) {
        struct tf_guest *next;

        for (struct tf_guest *g = tf->guests.first; g; g = next) {
            g->n_holds++; /* over a call, in which other tasks may drop VMs */
            if (guest_has_doubts(tf, g))
                guest_decide_doubts(tf, g);
            g->n_holds--;
            next = g->next;
        }
    }
}

void pv_tf_findings_decide_before_end(struct pv_testfile *tf, struct tf_guest *g)
{
    pv_guest_settle_findings(g->g);
    pv_tf_findings_decide(tf);
}

void pv_tf_findings_settle(struct pv_testfile *tf)
{
    for (struct tf_guest *g = tf->guests.first; g; g = g->next)
        pv_guest_settle_findings(g->g);
}

void pv_tf_findings_sync(struct pv_testfile *tf)
{
    pv_tf_deaths_notice(tf);
    for (struct tf_guest *g = tf->guests.first; g; g = g->next)
        pv_guest_sync_console(g->g);
    pv_tf_findings_settle(tf);
    pv_tf_findings_decide(tf);
}

void pv_tf_findings_met_death(struct pv_testfile *tf, const struct pv_err *err)
{
    struct tf_findings *list = &tf->findings;

    if (err->cls != PV_E_GUEST_DIED || err->died != PV_DIED_PANIC)
        return;
    for (struct tf_finding *f = list->first; f; f = f->next)
        if (f->cls == PV_CLASS_PANIC && !f->past && f->vm_number == err->vm)
            for (struct tf_finding *x = f; x && !x->met; x = x->follows ? finding_before(list, x) : NULL)
                x->met = true;
}

void pv_tf_findings_ended(struct pv_testfile *tf, const struct pv_guest *g, bool panicked)
{
    for (struct tf_finding *f = tf->findings.first; f; f = f->next)
        f->doubt.over |= f->vm_number == pv_guest_number(g);
    for (struct tf_finding *f = tf->findings.first; f; f = f->next)
        if (!f->past && f->vm_number == pv_guest_number(g) && f->panic == TF_PANIC_UNDECIDED)
            f->panic = panicked ? TF_PANIC_YES : TF_PANIC_NO;
}

void pv_tf_findings_outdate(struct pv_testfile *tf, const struct pv_guest *g)
{
    for (struct tf_finding *f = tf->findings.first; f; f = f->next)
        f->past |= f->vm_number == pv_guest_number(g);
}

void pv_tf_findings_free(struct tf_findings *list)
{
    pv_tf_symbols_free(list->symbols);
    while (list->first) {
        struct tf_finding *f = list->first;

        list->first = f->next;
        finding_free(f);
    }
}

/* ---- findings that a test expects ---- */

void pv_tf_findings_allow(struct pv_testfile *tf, struct tf_guest *g, const char *text)
{
    size_t n = 0;

    while (g->allowed && g->allowed[n])
        n++;
    g->allowed = pv_xrealloc(g->allowed, (n + 2) * sizeof(*g->allowed));
    g->allowed[n] = pv_xstrdup(text);
    g->allowed[n + 1] = NULL;
    pv_guest_settle_findings(g->g);
    for (struct tf_finding *f = tf->findings.first; f; f = f->next)
        if (f->guest == g && !f->doubt.first && f->test_id == pv_tf_test_id(&tf->tests) &&
            finding_has(f->headline, f->excerpt, text))
            pv_tf_finding_handle(tf, f);
}

void pv_tf_expect_begin(struct tf_expect *e)
{
    pv_guest_settle_findings(e->g->g); /* findings from before are not expected */
    e->outer = e->g->expect;
    e->g->expect = e;
}

static bool expect_met(void *arg)
{
    const struct tf_expect *e = arg;

    if (!e->first)
        pv_guest_settle_findings(e->g->g);
    return e->first || e->tf->findings.n_doubts || pv_guest_state(e->g->g) != PV_GUEST_RUNNING;
}

int pv_tf_expect_wait(struct tf_expect *e, int64_t timeout_ns, struct pv_err *err)
{
    int64_t deadline = pv_deadline(timeout_ns);
    int rc;

    while ((rc = pv_loop_run(e->tf->loop, expect_met, e, deadline, err)) > 0 && !e->first &&
           e->tf->findings.n_doubts && pv_guest_state(e->g->g) == PV_GUEST_RUNNING && pv_now() < deadline)
        pv_tf_findings_decide(e->tf);
    return rc < 0 ? -1 : 0;
}

void pv_tf_expect_end(struct tf_expect *e)
{
    struct tf_expect **at;

    pv_guest_settle_findings(e->g->g);
    pv_tf_findings_decide(e->tf);
    for (at = &e->g->expect; *at != e; at = &(*at)->outer) /* that of another task may be the innermost */
        ;
    *at = e->outer;
}
