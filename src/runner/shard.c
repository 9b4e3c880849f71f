/* SPDX-License-Identifier: MIT */
/*
 * Longest first, each into the shard that is least loaded; then the heaviest shard gives files away, or
 * swaps them, as long as that makes the heavier of two shards lighter.  The first step alone can end a third
 * above the optimum (two or three long files a shard); the second mends that.  Both are deterministic: the
 * same files and durations give the same shards on every machine.
 */
#include "runner/shard.h"

#include <stdbool.h>
#include <string.h>

#include "util/mem.h"

#define UNKNOWN_NS INT64_C(1000000000) /* any value: used when no duration is known */
#define LONGEST_NS (INT64_C(1) << 46)  /* 19 hours: the sum of 100,000 stays below 2^63 */

enum { WORK_MAX = 20 * 1000 * 1000 }; /* pairs of files looked at; some tens of milliseconds */

struct item {
    const char *name;
    int64_t ns;
    size_t at; /* in the caller's list */
    unsigned shard;
};

struct division {
    struct item *items; /* longest first */
    size_t n;
    unsigned count;
    int64_t *load;
    size_t work; /* done so far */
};

static int longest_first(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    if (x->ns != y->ns)
        return x->ns < y->ns ? 1 : -1;
    return strcmp(x->name, y->name);
}

static int64_t duration_limit(int64_t ns)
{
    return ns > LONGEST_NS ? LONGEST_NS : ns;
}

static int64_t duration_average(const struct pv_shard_file *files, size_t n)
{
    int64_t sum = 0, known = 0;

    for (size_t i = 0; i < n; i++)
        if (files[i].duration_ns >= 0) {
            sum += duration_limit(files[i].duration_ns);
            known++;
        }
    return known ? sum / known : UNKNOWN_NS;
}

/* Between equal loads the shard with fewer files wins, then the first: unknown durations go round-robin. */
static void shards_fill(struct division *d)
{
    cleanup_free size_t *files = pv_xcalloc(d->count, sizeof(*files));

    for (size_t i = 0; i < d->n; i++) {
        unsigned best = 0;

        for (unsigned s = 1; s < d->count; s++)
            if (d->load[s] < d->load[best] || (d->load[s] == d->load[best] && files[s] < files[best]))
                best = s;
        d->items[i].shard = best;
        d->load[best] += d->items[i].ns;
        files[best]++;
    }
}

static unsigned shards_heaviest(const struct division *d)
{
    unsigned h = 0;

    for (unsigned s = 1; s < d->count; s++)
        if (d->load[s] > d->load[h])
            h = s;
    return h;
}

struct step {
    size_t give, take; /* items; take == give: a move, not a swap */
    int64_t load;      /* of the heavier of the two shards, afterwards */
};

static void step_consider(struct step *best, size_t give, size_t take, int64_t from, int64_t to)
{
    int64_t load = from > to ? from : to;

    if (load < best->load)
        *best = (struct step){give, take, load};
}

/* The best move or swap between shard h and another one. False: none makes h lighter. */
static bool shards_best_step(struct division *d, unsigned h, struct step *best)
{
    *best = (struct step){.load = d->load[h]};
    for (size_t i = 0; i < d->n; i++) {
        const struct item *mine = &d->items[i];

        if (mine->shard != h)
            continue;
        for (unsigned s = 0; s < d->count; s++)
            if (s != h)
                step_consider(best, i, i, d->load[h] - mine->ns, d->load[s] + mine->ns);
        for (size_t j = i + 1; j < d->n; j++) { /* a longer item would make h heavier */
            const struct item *other = &d->items[j];

            if (other->shard != h)
                step_consider(best, i, j, d->load[h] - mine->ns + other->ns,
                              d->load[other->shard] + mine->ns - other->ns);
        }
        d->work += d->n + d->count;
    }
    return best->load < d->load[h];
}

static unsigned shards_lightest(const struct division *d)
{
    unsigned l = 0;

    for (unsigned s = 1; s < d->count; s++)
        if (d->load[s] < d->load[l])
            l = s;
    return l;
}

static void item_move(struct division *d, size_t item, unsigned to)
{
    struct item *f = &d->items[item];

    d->load[f->shard] -= f->ns;
    d->load[to] += f->ns;
    f->shard = to;
}

static void shards_improve(struct division *d)
{
    struct step step;
    unsigned h = shards_heaviest(d);

    while (d->work < WORK_MAX && shards_best_step(d, h, &step)) {
        unsigned other = step.take == step.give ? shards_lightest(d) : d->items[step.take].shard;

        if (step.take != step.give)
            item_move(d, step.take, h);
        item_move(d, step.give, other);
        h = shards_heaviest(d);
    }
}

void pv_shard_divide(const struct pv_shard_file *files, size_t n, unsigned count, unsigned *shard_of)
{
    cleanup_free struct item *items = pv_xcalloc(n, sizeof(*items));
    cleanup_free int64_t *load = pv_xcalloc(count, sizeof(*load));
    struct division d = {.items = items, .n = n, .count = count, .load = load};
    int64_t unknown = duration_average(files, n);

    for (size_t i = 0; i < n; i++)
        items[i] =
            (struct item){.name = files[i].name,
                          .ns = files[i].duration_ns < 0 ? unknown : duration_limit(files[i].duration_ns),
                          .at = i};
    if (n)
        qsort(items, n, sizeof(*items), longest_first);
    shards_fill(&d);
    shards_improve(&d);
    for (size_t i = 0; i < n; i++)
        shard_of[items[i].at] = items[i].shard;
}
