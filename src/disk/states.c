/* SPDX-License-Identifier: MIT */
/*
 * The iteration over states: those at flushes or writes, then for each interval between flushes all subsets or
 * samples of its writes.
 *
 * An interval's candidates are the writes before its end that were not durable at its beginning.  A set of kept
 * ones is allowed when each durable candidate before the last kept one is kept too.
 *
 * The content of a state is known by a sum over the disks' listed sectors: a 128-bit hash of disk, sector and the
 * hash of its content each, so that a write changes the sum by its own sectors alone.  A walker has the content
 * behind the writes before `pos` and its sum.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "disk/rec.h"
#include "util/err.h"

struct sum {
    uint64_t a, b;
};

struct walker {
    size_t pos;
    uint64_t **content; /* of each disk: hashes of the listed sectors */
    struct sum sum;
};

struct seen {
    uint64_t a, b;
};

enum phase { AT, INTERVALS, END };

/* reason: all of an iteration; nothing outside of this file sees it */
struct pv_states {
    struct pv_disk_recording *rec;
    struct pv_analysis *a;
    struct pv_states_opts o;
    enum phase phase;
    uint64_t number;
    size_t next;     /* of the phase: the next write, flush or interval */
    uint64_t sample; /* of the interval: the next sample, or the next mask */
    bool sampling;   /* the interval's subsets are done, its samples follow */
    struct walker at, low;
    /* The interval. */
    size_t lo, hi;
    size_t *candidates;
    size_t n_candidates;
    /* The state being tried: as in pv_state. */
    uint8_t *keep;
    struct pv_buf torn;
    /* The changes of `low` by a try, to be undone. */
    struct change {
        uint64_t *at, old;
    } * undo;
    size_t n_undo, cap_undo;
    struct seen *seen; /* open addressing; {0, 0}: free */
    size_t n_seen, cap_seen;
    struct seen last; /* content and marks of the state that was found last */
};

static void sum_add(struct sum *s, size_t disk, uint64_t sector, uint64_t content, bool sub)
{
    uint64_t in[3] = {disk, sector, content};
    XXH128_hash_t h = XXH3_128bits(in, sizeof(in));

    s->a += sub ? -h.low64 : h.low64;
    s->b += sub ? -h.high64 : h.high64;
}

static void walker_init(struct walker *w, const struct pv_disk_recording *r)
{
    w->content = pv_xcalloc(r->n_disks, sizeof(*w->content));
    for (size_t i = 0; i < r->n_disks; i++) {
        const struct pv_rec_sectors *s = &r->analysis->sectors[i];

        w->content[i] = pv_xmalloc((s->n ? s->n : 1) * sizeof(uint64_t));
        if (s->n)
            memcpy(w->content[i], s->base, s->n * sizeof(uint64_t));
    }
}

static void walker_fini(struct walker *w, size_t n_disks)
{
    for (size_t i = 0; w->content && i < n_disks; i++)
        free(w->content[i]);
    free(w->content);
}

static void undo_push(struct pv_states *s, uint64_t *at, uint64_t old)
{
    if (s->n_undo == s->cap_undo) {
        s->cap_undo = s->cap_undo ? 2 * s->cap_undo : 1024;
        s->undo = pv_xrealloc(s->undo, s->cap_undo * sizeof(*s->undo));
    }
    s->undo[s->n_undo++] = (struct change){at, old};
}

/* Adds write i to the walker; torn: a byte for each of its sectors, NULL: all; undo: notes what it changes. */
static void walker_apply(struct pv_states *s, struct walker *w, size_t i, const uint8_t *torn, bool undo)
{
    const struct pv_rec_write *write = &s->a->writes[i];
    size_t disk = s->rec->events[write->event].disk;
    const struct pv_rec_sectors *list = &s->a->sectors[disk];

    for (size_t t = write->lo; t < write->hi; t++) {
        uint64_t *content = &w->content[disk][t], new = write->hashes ? write->hashes[t - write->lo] : 0;

        if ((torn && !torn[t - write->lo]) || *content == new)
            continue;
        if (undo)
            undo_push(s, content, *content);
        sum_add(&w->sum, disk, list->at[t], *content, true);
        sum_add(&w->sum, disk, list->at[t], new, false);
        *content = new;
    }
}

static void walker_go(struct pv_states *s, struct walker *w, size_t pos)
{
    for (; w->pos < pos; w->pos++)
        walker_apply(s, w, w->pos, NULL, false);
}

/* True for content and marks that came before; else they are noted. */
static bool seen_before(struct pv_states *s, struct sum sum, size_t marks)
{
    uint64_t in[3] = {sum.a, sum.b, marks};
    XXH128_hash_t h = XXH3_128bits(in, sizeof(in));
    struct seen key = {h.low64 | 1, h.high64}, *old = s->seen;
    size_t old_cap = s->cap_seen, i;

    if (2 * (s->n_seen + 1) > s->cap_seen) {
        s->cap_seen = s->cap_seen ? 2 * s->cap_seen : 1024;
        s->seen = pv_xcalloc(s->cap_seen, sizeof(*s->seen));
        for (size_t k = 0; k < old_cap; k++)
            if (old[k].a) {
                for (i = old[k].b & (s->cap_seen - 1); s->seen[i].a; i = (i + 1) & (s->cap_seen - 1))
                    ;
                s->seen[i] = old[k];
            }
        free(old);
    }
    for (i = key.b & (s->cap_seen - 1); s->seen[i].a; i = (i + 1) & (s->cap_seen - 1))
        if (s->seen[i].a == key.a && s->seen[i].b == key.b)
            return true;
    s->seen[i] = s->last = key;
    s->n_seen++;
    return false;
}

struct pv_states *pv_states_new(struct pv_disk_recording *r, const struct pv_states_opts *o,
                                struct pv_err *err)
{
    struct pv_states *s;

    if (r->failed) {
        if (err)
            *err = r->error;
        return NULL;
    }
    if (!r->stopped) {
        pv_err_set(err, PV_E_USAGE, "the recording still runs: call stop() before its states are looked at");
        return NULL;
    }
    if (o->exhaustive > PV_DISK_RECORDING_EXHAUSTIVE) {
        pv_err_set(err, PV_E_USAGE, "exhaustive is at most %d: an interval of n writes has 2^n subsets",
                   PV_DISK_RECORDING_EXHAUSTIVE);
        return NULL;
    }
    if (!pv_disk_recording_analyse(r, err))
        return NULL;
    s = pv_xcalloc(1, sizeof(*s));
    s->rec = pv_disk_recording_ref(r);
    s->a = r->analysis;
    s->o = *o;
    s->keep = pv_xmalloc(s->a->n_writes + 1);
    s->candidates = pv_xmalloc((s->a->n_writes + 1) * sizeof(*s->candidates));
    walker_init(&s->at, r);
    walker_init(&s->low, r);
    return s;
}

void pv_states_free(struct pv_states *s)
{
    if (!s)
        return;
    walker_fini(&s->at, s->rec->n_disks);
    walker_fini(&s->low, s->rec->n_disks);
    free(s->keep);
    free(s->candidates);
    free(s->undo);
    free(s->seen);
    pv_buf_free(&s->torn);
    pv_disk_recording_unref(s->rec);
    free(s);
}

/* ---- states at flushes and writes ---- */

/* The next position; false: there is none. */
static bool at_next(struct pv_states *s, size_t *writes, size_t *flush)
{
    size_t i = s->next++;

    *flush = 0;
    if (s->o.at_write) {
        *writes = i + 1;
        return i < s->a->n_writes;
    }
    if (i >= s->a->n_flushes)
        return false;
    *writes = s->a->flushes[i].writes;
    *flush = i + 1;
    return true;
}

/* 1: *make is set when a state was new; 0: the phase is over. */
static bool at_step(struct pv_states *s, bool make, struct pv_state **st)
{
    size_t writes, flush, marks;

    if (!at_next(s, &writes, &flush)) {
        s->phase = INTERVALS;
        s->next = 0;
        s->hi = SIZE_MAX; /* no interval yet */
        return false;
    }
    walker_go(s, &s->at, writes);
    marks = pv_state_count_marks(s->a, writes, writes, s->keep);
    if (seen_before(s, s->at.sum, marks))
        return false;
    s->number++;
    if (!make)
        return true;
    *st = pv_state_new(s->rec, writes, writes, s->keep, NULL, 0);
    (*st)->flush = flush;
    return true;
}

/* ---- intervals ---- */

/* Loads interval number s->next; false: there is none. */
static bool interval_load(struct pv_states *s)
{
    const struct pv_analysis *a = s->a;
    size_t begin, i = s->next;

    if (i > a->n_flushes || (!s->o.samples && !s->o.exhaustive))
        return false;
    begin = i ? a->flushes[i - 1].event : 0;
    s->hi = i < a->n_flushes ? a->flushes[i].writes : a->n_writes;
    s->lo = s->low.pos;
    while (s->lo < s->hi && i && a->writes[s->lo].forced <= begin)
        s->lo++;
    walker_go(s, &s->low, s->lo);
    s->n_candidates = 0;
    for (size_t w = s->lo; w < s->hi; w++)
        if (!i || a->writes[w].forced > begin)
            s->candidates[s->n_candidates++] = w;
    s->sample = 0;
    s->sampling = s->n_candidates > s->o.exhaustive || !s->o.exhaustive;
    return true;
}

static bool is_durable(const struct pv_states *s, size_t write)
{
    return s->rec->events[s->a->writes[write].event].durable;
}

/* Subset number s->sample of the candidates; false: it is not allowed. */
static bool choose_subset(struct pv_states *s)
{
    bool missing = false; /* a durable one is */

    for (size_t k = 0; k < s->n_candidates; k++) {
        bool kept = s->sample >> k & 1;

        if (kept && missing)
            return false;
        missing |= !kept && is_durable(s, s->candidates[k]);
        s->keep[s->candidates[k] - s->lo] = kept ? PV_KEPT : PV_LOST;
    }
    return true;
}

/* Chooses the part that a cache kept of a write that may be lost. */
static uint8_t choose_fate(struct pv_states *s, size_t write, uint64_t odds, uint64_t *random)
{
    const struct pv_rec_write *w = &s->a->writes[write];
    size_t n = w->hi - w->lo, kept = 0;
    uint8_t *bits;

    if (!s->o.torn || n < 2 || pv_random(random) & 1)
        return pv_random(random) % 8 < odds ? PV_KEPT : PV_LOST;
    bits = (uint8_t *)pv_buf_reserve(&s->torn, n);
    for (size_t i = 0; i < n; i++)
        kept += bits[i] = pv_random(random) >> 32 & 1;
    if (kept == 0 || kept == n)
        return kept ? PV_KEPT : PV_LOST;
    s->torn.len += n;
    return PV_TORN;
}

/* A random allowed set: a crash at one of the candidates, or behind them all. */
static void choose_sample(struct pv_states *s)
{
    static const uint8_t odds[] = {4, 4, 1, 7};
    uint64_t random = s->o.seed, likely;
    size_t crash = s->n_candidates;

    random = pv_random(&random) ^ (s->next * UINT64_C(0x9e3779b97f4a7c15) + s->sample);
    likely = odds[pv_random(&random) % PV_ARRAY_LEN(odds)];
    if (pv_random(&random) & 1)
        crash = pv_random(&random) % (s->n_candidates + 1);
    for (size_t k = 0; k < s->n_candidates; k++) {
        size_t w = s->candidates[k];
        uint8_t fate = PV_LOST;

        if (k < crash && is_durable(s, w))
            fate = PV_KEPT;
        else if (k <= crash)
            fate = choose_fate(s, w, likely, &random);
        s->keep[w - s->lo] = fate;
    }
}

/* The sum of the state being tried. */
static struct sum try_sum(struct pv_states *s)
{
    struct sum before = s->low.sum, sum;
    size_t torn = 0;

    s->n_undo = 0;
    for (size_t i = s->lo; i < s->hi; i++) {
        uint8_t keep = s->keep[i - s->lo];
        const uint8_t *bits = keep == PV_TORN ? (uint8_t *)s->torn.data + torn : NULL;

        if (keep != PV_LOST)
            walker_apply(s, &s->low, i, bits, true);
        torn += bits ? s->a->writes[i].hi - s->a->writes[i].lo : 0;
    }
    sum = s->low.sum;
    while (s->n_undo) {
        s->n_undo--;
        *s->undo[s->n_undo].at = s->undo[s->n_undo].old;
    }
    s->low.sum = before;
    return sum;
}

/* Chooses the next set of the interval; false: there is none. */
static bool interval_next(struct pv_states *s)
{
    memset(s->keep, PV_KEPT, s->hi - s->lo);
    s->torn.len = 0;
    while (!s->sampling) {
        bool last = s->sample >> s->n_candidates;
        bool allowed = !last && choose_subset(s);

        s->sample++;
        if (allowed)
            return true;
        if (last) {
            s->sampling = true;
            s->sample = 0;
            if (!s->o.torn) /* samples would be subsets again */
                return false;
        }
    }
    if (s->sample >= s->o.samples || (s->sample && !s->n_candidates))
        return false;
    choose_sample(s);
    s->sample++;
    return true;
}

static bool interval_step(struct pv_states *s, bool make, struct pv_state **st)
{
    if (s->hi == SIZE_MAX && !interval_load(s)) {
        s->phase = END;
        s->rec->stats.states = s->number;
        return false;
    }
    if (!interval_next(s)) {
        s->next++;
        s->hi = SIZE_MAX;
        return false;
    }
    if (seen_before(s, try_sum(s), pv_state_count_marks(s->a, s->lo, s->hi, s->keep)))
        return false;
    s->number++;
    if (make)
        *st = pv_state_new(s->rec, s->lo, s->hi, s->keep, (uint8_t *)s->torn.data, s->torn.len);
    return true;
}

/* Goes to the next state; false: the end.  make: *st gets it. */
static bool states_step(struct pv_states *s, bool make, struct pv_state **st)
{
    while (s->phase != END)
        if (s->phase == AT ? at_step(s, make, st) : interval_step(s, make, st))
            return true;
    return false;
}

struct pv_state *pv_states_next(struct pv_states *s, struct pv_err *err)
{
    struct pv_state *st = NULL;

    (void)err;
    if (states_step(s, true, &st))
        st->number = s->number;
    return st;
}

struct pv_state *pv_disk_recording_state(struct pv_disk_recording *r, uint64_t number,
                                         const struct pv_states_opts *o, struct pv_err *err)
{
    struct pv_states *s = pv_states_new(r, o, err);
    struct pv_state *st = NULL;

    if (!s)
        return NULL;
    while (s->number + 1 < number && states_step(s, false, NULL))
        ;
    if (number && s->number + 1 == number)
        st = pv_states_next(s, err);
    if (!st)
        pv_err_set(err, PV_E_USAGE, "there is no state %llu: these options give %llu",
                   (unsigned long long)number, (unsigned long long)s->number);
    pv_states_free(s);
    return st;
}

uint64_t pv_disk_recording_number(struct pv_disk_recording *r, const struct pv_state *st,
                                  const struct pv_states_opts *o)
{
    struct pv_states *s = pv_states_new(r, o, NULL), *wanted = pv_states_new(r, o, NULL);
    uint64_t number = 0;

    if (s && wanted) {
        walker_go(wanted, &wanted->low, st->lo);
        wanted->lo = st->lo;
        wanted->hi = st->hi;
        memcpy(wanted->keep, st->keep, st->hi - st->lo);
        pv_buf_add(&wanted->torn, st->torn, st->n_torn);
        seen_before(wanted, try_sum(wanted), st->marks);
        while (!number && states_step(s, false, NULL))
            if (s->last.a == wanted->last.a && s->last.b == wanted->last.b)
                number = s->number;
    }
    pv_states_free(s);
    pv_states_free(wanted);
    return number;
}
