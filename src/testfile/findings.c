/* SPDX-License-Identifier: MIT */
#include "testfile/findings.h"

#include <stdlib.h>
#include <string.h>

#include "loop/loop.h"
#include "testfile/places.h"
#include "testfile/testfile.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

/* Separate bounds: a flood of warnings leaves room for oopses and panics. */
enum { MAX_WARNINGS = 128, MAX_WORSE = 128 };

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

static void finding_append(struct tf_findings *list, struct tf_finding *f)
{
    if (!list->first)
        list->end = &list->first;
    *list->end = f;
    list->end = &f->next;
    *(f->cls == PV_CLASS_WARNING ? &list->n_warnings : &list->n_worse) += 1;
    if (f->guest)
        f->guest->n_holds++;
}

void pv_tf_finding_add(const struct pv_guest *g, const struct pv_finding *finding, void *arg)
{
    struct pv_testfile *tf = arg;
    struct tf_findings *list = &tf->findings;
    struct tf_guest *guest = pv_tf_guest_of(&tf->guests, g);
    enum pv_class cls = finding_class(finding->kind);
    bool standby = pv_guest_is_standby(g);
    enum pv_guest_policy policy = cls == PV_CLASS_WARNING ? tf->env->warnings : tf->env->oopses;
    struct tf_finding *f;

    if (cls == PV_CLASS_WARNING ? list->n_warnings == MAX_WARNINGS : list->n_worse == MAX_WORSE) {
        if (policy == PV_POLICY_FAIL && !finding_is_allowed(guest, finding->headline, finding->excerpt)) {
            list->n_unkept++;
            list->unkept_cls = pv_tf_class_worse(list->unkept_cls, cls);
        }
        return;
    }
    f = pv_xcalloc(1, sizeof(*f));
    *f = (struct tf_finding){.guest = guest,
                             .test_id = standby ? PV_NO_TEST : pv_tf_test_id(&tf->tests),
                             .id = PV_NO_TEST,
                             .cls = cls,
                             .kind = pv_finding_kind_name(finding->kind),
                             .headline = pv_xstrdup(finding->headline),
                             .vm_number = pv_guest_number(g),
                             .excerpt = pv_xstrdup(finding->excerpt),
                             .fails = policy == PV_POLICY_FAIL,
                             .follows = finding->follows};
    pv_tf_short_name(g, f->vm);
    finding_append(list, f);
    if (policy != PV_POLICY_IGNORE && !tf->builder) /* a failed build tells it by itself */
        f->id = pv_result_finding(tf->env->result, f->test_id, f->vm, cls, f->fails ? PV_FAIL : PV_OK,
                                  f->headline, f->excerpt);
    if (finding_is_expected(tf, f) || (standby && finding_is_allowed_anywhere(tf, f)))
        pv_tf_finding_handle(tf, f);
}

void pv_tf_findings_settle(struct pv_testfile *tf)
{
    for (struct tf_guest *g = tf->guests.first; g; g = g->next)
        pv_guest_settle_findings(g->g);
}

void pv_tf_findings_sync(struct pv_testfile *tf)
{
    for (struct tf_guest *g = tf->guests.first; g; g = g->next)
        pv_guest_sync_console(g->g);
    pv_tf_findings_settle(tf);
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
        if (f->guest)
            f->guest->n_holds--;
        free(f->headline);
        free(f->excerpt);
        free(f);
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
        if (f->guest == g && f->test_id == pv_tf_test_id(&tf->tests) &&
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
    return e->first || pv_guest_state(e->g->g) != PV_GUEST_RUNNING;
}

int pv_tf_expect_wait(struct pv_testfile *tf, struct tf_expect *e, int64_t timeout_ns, struct pv_err *err)
{
    return pv_loop_run(tf->loop, expect_met, e, pv_deadline(timeout_ns), err) < 0 ? -1 : 0;
}

void pv_tf_expect_end(struct tf_expect *e)
{
    struct tf_expect **at;

    pv_guest_settle_findings(e->g->g);
    for (at = &e->g->expect; *at != e; at = &(*at)->outer) /* that of another task may be the innermost */
        ;
    *at = e->outer;
}
