/* SPDX-License-Identifier: MIT */
#include "testfile/verdict.h"

#include <stdlib.h>

#include "testfile/deaths.h"
#include "testfile/findings.h"
#include "testfile/limit.h"
#include "testfile/rules.h"
#include "testfile/tails.h"
#include "testfile/netreport.h"
#include "testfile/nets.h"
#include "testfile/places.h"
#include "testfile/testfile.h"
#include "util/mem.h"

/*
 * Any process in the guest can print a panic's words; the kernel has panicked if the machine ends then or stays
 * silent.  Undecided: the sub-test's own time is over.  The machine of a VM without an entry has ended.
 */
static enum tf_panic finding_decide_panic(struct pv_testfile *tf, struct tf_finding *f)
{
    const struct pv_guest *g = f->guest ? f->guest->g : NULL;

    if (f->panic == TF_PANIC_UNDECIDED && g)
        pv_guest_decide_panic(f->guest->g, pv_tf_limit(tf));
    if (f->panic != TF_PANIC_UNDECIDED)
        return f->panic;
    if (!g || pv_guest_panicked(g))
        f->panic = TF_PANIC_YES;
    else if (pv_guest_state(g) != PV_GUEST_RUNNING || !pv_guest_panic_suspected(g))
        f->panic = TF_PANIC_NO;
    return f->panic;
}

/* Whether f counts against the sub-test, which ended with this outcome. */
static bool finding_counts(struct pv_testfile *tf, struct tf_finding *f, enum pv_outcome outcome)
{
    enum tf_panic panic = f->cls == PV_CLASS_PANIC && !f->met ? finding_decide_panic(tf, f) : TF_PANIC_YES;

    if (panic == TF_PANIC_UNDECIDED && f->test_id != PV_NO_TEST) {
        f->test_id = PV_NO_TEST; /* decided with the file's findings */
        return false;
    }
    if (panic == TF_PANIC_NO) {
        f->follows = false;
        pv_tf_finding_handle(tf, f);
        return false;
    }
    if (f->met && outcome != PV_FAIL) /* the test caught the error */
        pv_tf_finding_handle(tf, f);
    return !f->met;
}

static char *findings_text(const struct tf_finding *worst, size_t n)
{
    if (!worst)
        return pv_xasprintf("the kernel of a VM: %zu more report%s than are kept", n, n == 1 ? "" : "s");
    if (n == 1)
        return pv_xasprintf("the kernel of %s: %s", worst->vm, worst->headline);
    return pv_xasprintf("the kernel of %s: %s (and %zu more report%s)", worst->vm, worst->headline, n - 1,
                        n == 2 ? "" : "s");
}

static bool judge_findings(struct pv_testfile *tf, uint32_t test_id, enum pv_outcome *outcome,
                           enum pv_class *cls, char **msg)
{
    struct tf_findings *list = &tf->findings;
    struct tf_unkept *unkept = pv_tf_unkept(&tf->tests, test_id);
    enum pv_class worst_cls = unkept->cls;
    const struct tf_finding *worst = NULL;
    bool met = false;
    size_t n = 0;

    pv_tf_findings_decide_unknown(tf);
    for (struct tf_finding *f = list->first; f; f = f->next) {
        if (f->test_id != test_id || !f->fails || f->handled)
            continue;
        if (!finding_counts(tf, f, *outcome)) {
            if (f->met && !f->handled) {
                met = true;
                pv_tf_finding_place(tf, f);
            }
            continue;
        }
        n++;
        pv_tf_finding_place(tf, f);
        if (!worst || pv_tf_class_worse(f->cls, worst->cls) != worst->cls)
            worst = f;
        worst_cls = pv_tf_class_worse(worst_cls, f->cls);
    }
    n += unkept->n_findings;
    unkept->n_findings = 0;
    unkept->cls = PV_CLASS_NONE;
    if (worst_cls == PV_CLASS_NONE)
        return met;
    if (*outcome == PV_FAIL && *msg) {
        /* The test's own message stays; a broken kernel is the better class for it. */
        if (worst_cls != PV_CLASS_WARNING)
            *cls = worst_cls;
        return true;
    }
    *outcome = PV_FAIL;
    *cls = worst_cls;
    free(*msg);
    *msg = findings_text(worst, n);
    return true;
}

bool pv_tf_judge(struct pv_testfile *tf, uint32_t test_id, enum pv_outcome *outcome, enum pv_class *cls,
                 char **msg)
{
    bool reported = judge_findings(tf, test_id, outcome, cls, msg);

    return pv_tf_deaths_judge(tf, test_id, outcome, cls, msg) || reported;
}

enum pv_outcome pv_tf_file_outcome(const struct pv_testfile *tf, bool ok)
{
    const struct tf_tests *t = &tf->tests;

    if (!ok || t->n_failed)
        return PV_FAIL;
    if (t->outcome != PV_OK)
        return t->outcome;
    if (t->n_deselected && !t->n_begun)
        return PV_SKIP;
    return tf->touched ? PV_OK : PV_HELPER;
}

void pv_tf_file_judge(struct pv_testfile *tf, enum pv_outcome *outcome, enum pv_class *cls, char **msg)
{
    bool failed = *cls != PV_CLASS_NONE;

    for (struct tf_net *net = tf->nets; net; net = net->next)
        pv_tf_net_end_track(net);
    pv_tf_rules_end(tf, PV_NO_TEST);
    pv_tf_judge(tf, PV_NO_TEST, outcome, cls, msg);
    if (failed || *cls != PV_CLASS_NONE)
        pv_tf_tails_send(tf, PV_NO_TEST);
    else
        pv_tf_logs_send(tf);
}
