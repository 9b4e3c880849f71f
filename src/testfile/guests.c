/* SPDX-License-Identifier: MIT */
#include "testfile/guests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/guest.h"
#include "guest/worker.h"
#include "util/err.h"
#include "util/mem.h"

/* VMs that have ended and that no handle refers to: at most twice as many stay. */
enum { KEPT_GUESTS = 100 };

static void worker_free(struct tf_worker *w)
{
    pv_worker_free(w->w);
    free(w);
}

/* Workers must be freed before their VM. */
static void guest_free(struct tf_guest *g)
{
    while (g->workers) {
        struct tf_worker *w = g->workers;

        g->workers = w->next;
        worker_free(w);
    }
    pv_guest_free(g->g);
    free(g->last_tail);
    for (char **s = g->allowed; s && *s; s++)
        free(*s);
    free(g->allowed);
    free(g);
}

/* Only a handle could restore it, and there is none. */
static bool guest_is_over(const struct tf_guest *g)
{
    enum pv_guest_state s = pv_guest_state(g->g);

    return g->forgotten && s != PV_GUEST_RUNNING && s != PV_GUEST_BOOTING;
}

static bool guest_is_held(const struct tf_guest *g)
{
    if (g->n_holds || (pv_guest_log_path(g->g) && !g->log_told))
        return true;
    for (const struct tf_worker *w = g->workers; w; w = w->next)
        if (!w->forgotten)
            return true;
    return false;
}

/*
 * Bounds the memory of a file that makes and ends thousands of VMs.  The youngest ended ones stay: their
 * consoles are shown when a test fails.
 */
static void guests_prune(struct tf_guests *list)
{
    struct tf_guest **at = &list->first;
    size_t n = 0;

    for (const struct tf_guest *g = list->first; g; g = g->next)
        n += guest_is_over(g);
    if (n < 2 * KEPT_GUESTS)
        return;
    while (*at && n > KEPT_GUESTS) {
        struct tf_guest *g = *at;

        if (!guest_is_over(g) || guest_is_held(g)) {
            at = &g->next;
            continue;
        }
        *at = g->next;
        guest_free(g);
        n--;
    }
}

void pv_tf_short_name(const struct pv_guest *guest, char name[static TF_NAME_MAX])
{
    const char *full = pv_guest_name(guest);

    snprintf(name, TF_NAME_MAX, "%.*s", (int)strcspn(full, " "), full);
}

struct tf_guest *pv_tf_guest_add(struct tf_guests *list, struct pv_guest *guest)
{
    static unsigned lineages;
    struct tf_guest *g = pv_xcalloc(1, sizeof(*g)), **end;

    guests_prune(list);
    g->g = guest;
    pv_tf_short_name(guest, g->name);
    g->lineage = ++lineages;
    for (end = &list->first; *end; end = &(*end)->next)
        ;
    *end = g;
    return g;
}

struct tf_guest *pv_tf_guest_join(struct tf_guests *list, struct pv_guest *guest, struct pv_err *err)
{
    char name[TF_NAME_MAX];

    pv_tf_short_name(guest, name);
    if (!pv_tf_guest_called(list, name))
        return pv_tf_guest_add(list, guest);
    pv_err_set(err, PV_E_USAGE, "there is a VM called '%s' already: it was made while this one was resumed",
               name);
    pv_guest_free(guest);
    return NULL;
}

static void workers_prune(struct tf_guest *vm)
{
    for (struct tf_worker **at = &vm->workers; *at;) {
        struct tf_worker *w = *at;

        if (!w->forgotten || pv_worker_state(w->w) == PV_GUEST_RUNNING) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        worker_free(w);
    }
}

struct tf_worker *pv_tf_worker_add(struct tf_guest *vm, struct pv_worker *worker)
{
    struct tf_worker *w = pv_xcalloc(1, sizeof(*w));

    workers_prune(vm);
    w->w = worker;
    w->vm = vm;
    snprintf(w->name, sizeof(w->name), "%s", pv_worker_name(worker));
    w->next = vm->workers;
    vm->workers = w;
    return w;
}

struct tf_guest *pv_tf_guest_called(const struct tf_guests *list, const char *name)
{
    for (struct tf_guest *g = list->first; g; g = g->next)
        if (!strcmp(g->name, name) && pv_guest_state(g->g) < PV_GUEST_DEAD)
            return g;
    return NULL;
}

struct tf_guest *pv_tf_guest_of(const struct tf_guests *list, const struct pv_guest *guest)
{
    struct tf_guest *g = list->first;

    while (g && g->g != guest)
        g = g->next;
    return g;
}

void pv_tf_guests_kill(struct tf_guests *list)
{
    for (struct tf_guest *g = list->first; g; g = g->next)
        pv_guest_kill(g->g);
}

void pv_tf_guests_free(struct tf_guests *list)
{
    while (list->first) {
        struct tf_guest *g = list->first;

        list->first = g->next;
        guest_free(g);
    }
}
