/* SPDX-License-Identifier: MIT */
/*
 * A failing state is made smaller by delta debugging over its lost writes: groups of them are kept, and where the
 * state still fails, stay kept; groups are halved until they have one write.
 */
#include <stdlib.h>
#include <string.h>

#include "disk/rec.h"

struct pv_minimise {
    struct pv_disk_recording *rec;
    struct pv_state *best, *trial;
    unsigned left; /* trials */
    size_t group, at;
    bool better;  /* a trial of this size of groups failed */
    size_t *lost; /* the writes that `best` lost or tore */
    size_t n_lost;
};

static void minimise_list(struct pv_minimise *m)
{
    const struct pv_state *b = m->best;

    m->n_lost = 0;
    free(m->lost);
    m->lost = pv_xmalloc((b->hi - b->lo + 1) * sizeof(*m->lost));
    for (size_t i = b->lo; i < b->hi; i++)
        if (b->keep[i - b->lo] != PV_KEPT)
            m->lost[m->n_lost++] = i;
}

/* The state with all writes up to the end of its interval as candidates: those behind a crash count as lost. */
static struct pv_state *minimise_widen(struct pv_state *st)
{
    const struct pv_analysis *a = st->rec->analysis;
    size_t end = st->hi, forced = a->forced_min[st->hi];
    cleanup_free uint8_t *keep = NULL;
    struct pv_state *wide;

    for (size_t i = st->lo; i < st->hi; i++)
        if (st->keep[i - st->lo] != PV_KEPT && a->writes[i].forced < forced)
            forced = a->writes[i].forced;
    while (end < a->n_writes && a->writes[end].event < forced)
        end++;
    keep = pv_xcalloc(end - st->lo + 1, 1);
    memcpy(keep, st->keep, st->hi - st->lo);
    wide = pv_state_new(st->rec, st->lo, end, keep, st->torn, st->n_torn);
    wide->number = st->number;
    return wide;
}

struct pv_minimise *pv_minimise_new(struct pv_state *st, unsigned limit)
{
    struct pv_minimise *m = pv_xcalloc(1, sizeof(*m));

    m->rec = pv_disk_recording_ref(st->rec);
    m->best = minimise_widen(st);
    m->left = limit;
    minimise_list(m);
    m->group = m->n_lost;
    return m;
}

/* A durable write that is lost, and a later one that is kept: no power failure leaves that. */
static bool is_allowed(const struct pv_disk_recording *r, size_t lo, size_t hi, const uint8_t *keep)
{
    bool missing = false;

    for (size_t i = lo; i < hi; i++) {
        if (keep[i - lo] != PV_LOST && missing)
            return false;
        missing |= keep[i - lo] != PV_KEPT && r->events[r->analysis->writes[i].event].durable;
    }
    return true;
}

/* `best` with the lost writes [from, to) of the list kept; NULL: not allowed. */
static struct pv_state *minimise_trial(const struct pv_minimise *m, size_t from, size_t to)
{
    const struct pv_state *b = m->best;
    cleanup_free uint8_t *keep = pv_xmalloc(b->hi - b->lo + 1);
    struct pv_buf torn = {0};
    struct pv_state *st = NULL;
    size_t at = 0;

    memcpy(keep, b->keep, b->hi - b->lo);
    for (size_t k = from; k < to; k++)
        keep[m->lost[k] - b->lo] = PV_KEPT;
    for (size_t i = b->lo; i < b->hi; i++) {
        const struct pv_rec_write *w = &m->rec->analysis->writes[i];

        if (keep[i - b->lo] == PV_TORN)
            pv_buf_add(&torn, b->torn + at, w->hi - w->lo);
        if (b->keep[i - b->lo] == PV_TORN)
            at += w->hi - w->lo;
    }
    if (is_allowed(m->rec, b->lo, b->hi, keep)) {
        st = pv_state_new(m->rec, b->lo, b->hi, keep, (uint8_t *)torn.data, torn.len);
        st->number = b->number;
    }
    pv_buf_free(&torn);
    return st;
}

struct pv_state *pv_minimise_next(struct pv_minimise *m)
{
    while (m->left && m->group) {
        size_t from = m->at, to = from + m->group < m->n_lost ? from + m->group : m->n_lost;

        if (from >= m->n_lost) {
            m->at = 0;
            if (m->group > 1)
                m->group = (m->group + 1) / 2;
            else if (!m->better)
                m->group = 0;
            m->better = false;
            continue;
        }
        m->at = to;
        m->trial = minimise_trial(m, from, to);
        if (!m->trial)
            continue;
        m->left--;
        return m->trial;
    }
    return NULL;
}

void pv_minimise_result(struct pv_minimise *m, bool fails)
{
    struct pv_state *trial = pv_steal(&m->trial);

    if (!trial)
        return;
    if (!fails) {
        pv_state_unref(trial);
        return;
    }
    pv_state_unref(m->best);
    m->best = trial;
    m->better = true;
    m->at = m->at > m->group ? m->at - m->group : 0; /* the list has lost this group */
    minimise_list(m);
}

struct pv_state *pv_minimise_free(struct pv_minimise *m)
{
    struct pv_state *best = pv_steal(&m->best);

    pv_state_unref(m->trial);
    pv_disk_recording_unref(m->rec);
    free(m->lost);
    free(m);
    return best;
}
