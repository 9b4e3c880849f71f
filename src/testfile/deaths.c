/* SPDX-License-Identifier: MIT */
#include "testfile/deaths.h"

#include <stdlib.h>
#include <string.h>

#include "guest/end.h"
#include "guest/guest.h"
#include "loop/loop.h"
#include "testfile/error.h"
#include "testfile/tails.h"
#include "testfile/testfile.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

enum { MAX_DEATHS = 256 };

struct tf_death {
    char vm[TF_NAME_MAX];
    unsigned vm_number; /* as pv_guest_number */
    uint32_t test_id;   /* the sub-test that was running, or PV_NO_TEST */
    enum pv_err_died died;
    char *reason, *tail;
    bool met; /* a call raised it */
    struct tf_death *next;
};

static void death_free(struct tf_death *d)
{
    free(d->reason);
    free(d->tail);
    free(d);
}

void pv_tf_deaths_add(struct pv_testfile *tf, const struct pv_guest *g, const struct pv_guest_death *death)
{
    struct tf_deaths *list = &tf->deaths;
    struct tf_death **end = &list->first, *d;

    if (list->n == MAX_DEATHS) {
        pv_tf_unkept(&tf->tests, pv_tf_test_id(&tf->tests))->n_deaths++;
        return;
    }
    while (*end)
        end = &(*end)->next;
    *end = d = pv_xcalloc(1, sizeof(*d));
    list->n++;
    pv_tf_short_name(g, d->vm);
    d->vm_number = pv_guest_number(g);
    d->test_id = pv_tf_test_id(&tf->tests);
    d->died = death->died;
    d->reason = pv_xstrdup(death->reason);
    d->tail = pv_xstrdup(death->tail ? death->tail : "");
}

void pv_tf_deaths_notice(struct pv_testfile *tf)
{
    pv_loop_run(tf->loop, NULL, NULL, pv_now(), NULL);
    for (struct tf_guest *g = tf->guests.first; g; g = g->next)
        pv_guest_notice_end(g->g);
}

void pv_tf_deaths_met(struct pv_testfile *tf, const struct pv_err *err)
{
    if (err->cls != PV_E_GUEST_DIED)
        return;
    for (struct tf_death *d = tf->deaths.first; d; d = d->next)
        d->met |= d->vm_number == err->vm;
}

bool pv_tf_deaths_unmet(struct pv_testfile *tf, uint32_t test_id)
{
    for (const struct tf_death *d = tf->deaths.first; d; d = d->next)
        if (d->test_id == test_id && !d->met)
            return true;
    return pv_tf_unkept(&tf->tests, test_id)->n_deaths;
}

static char *death_text(const struct tf_death *d)
{
    return d ? pv_xasprintf("%s died while no call waited for it: %s", d->vm, d->reason)
             : pv_xstrdup("more VMs died than are kept");
}

static void death_fail(const struct tf_death *d, enum pv_outcome *outcome, enum pv_class *cls, char **msg)
{
    struct pv_err err = {.cls = PV_E_GUEST_DIED, .died = d ? d->died : PV_DIED_QEMU};

    if (*outcome == PV_FAIL && *msg)
        return; /* the test's own message stays */
    *outcome = PV_FAIL;
    *cls = pv_tf_err_class(&err);
    free(*msg);
    *msg = death_text(d);
}

/* The failed sub-test shows the console of each VM (tails.h), but a VM that runs anew has another one by now. */
static void death_show_console(struct pv_testfile *tf, const struct tf_death *d)
{
    for (const struct tf_guest *g = tf->guests.first; g; g = g->next)
        if (pv_guest_number(g->g) == d->vm_number && pv_guest_state(g->g) == PV_GUEST_DEAD)
            return;
    if (*d->tail)
        pv_tf_tails_add(&tf->tails, pv_xstrdup(d->vm), d->tail, strlen(d->tail));
}

bool pv_tf_deaths_judge(struct pv_testfile *tf, uint32_t test_id, enum pv_outcome *outcome,
                        enum pv_class *cls, char **msg)
{
    struct tf_deaths *list = &tf->deaths;
    struct tf_unkept *unkept = pv_tf_unkept(&tf->tests, test_id);
    bool unmet = pv_tf_deaths_unmet(tf, test_id);

    for (struct tf_death **at = &list->first, *d; (d = *at);) {
        if (d->test_id != test_id) {
            at = &d->next;
            continue;
        }
        if (!d->met) {
            death_show_console(tf, d);
            death_fail(d, outcome, cls, msg);
        }
        *at = d->next;
        list->n--;
        death_free(d);
    }
    if (unkept->n_deaths)
        death_fail(NULL, outcome, cls, msg);
    unkept->n_deaths = 0;
    return unmet;
}

void pv_tf_deaths_free(struct tf_deaths *list)
{
    while (list->first) {
        struct tf_death *d = list->first;

        list->first = d->next;
        death_free(d);
    }
}
