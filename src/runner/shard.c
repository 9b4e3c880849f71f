/* SPDX-License-Identifier: MIT */
/*
 * Longest first, each into the shard that is least loaded; then the heaviest shard gives files away, or
 * swaps them, as long as that makes the heavier of two shards lighter.  The first alone can end a third
 * above the best there is (two or three long files a shard), the second mends that.
 * Nothing rolls dice: whoever has the same files and durations gets the same shards.
 */
#include "runner/shard.h"

#include <stdbool.h>
#include <string.h>

#include "util/mem.h"

#define UNKNOWN_NS INT64_C(1000000000) /* when none is known all are alike */
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

static int64_t limited(int64_t ns)
{
    return ns > LONGEST_NS ? LONGEST_NS : ns;
}

static int64_t average(const struct pv_shard_file *files, size_t n)
{
    int64_t sum = 0, known = 0;

    for (size_t i = 0; i < n; i++)
        if (files[i].duration_ns >= 0) {
            sum += limited(files[i].duration_ns);
            known++;
        }
    return known ? sum / known : UNKNOWN_NS;
}

/* Of equal loads the one with fewer files, then the first: files without durations go round. */
static void fill(struct division *d)
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

static unsigned heaviest(const struct division *d)
{
    unsigned h = 0;

    for (unsigned s = 1; s < d->count; s++)
        if (d->load[s] > d->load[h])
            h = s;
    return h;
}

struct step {
    size_t give, take; /* items; take == give: nothing comes back */
    int64_t load;      /* of the heavier of the two shards, afterwards */
};

static void consider(struct step *best, size_t give, size_t take, int64_t from, int64_t to)
{
    int64_t load = from > to ? from : to;

    if (load < best->load)
        *best = (struct step){give, take, load};
}

/* The best that shard h can do with one other shard. False: nothing makes it lighter. */
static bool best_step(struct division *d, unsigned h, struct step *best)
{
    *best = (struct step){.load = d->load[h]};
    for (size_t i = 0; i < d->n; i++) {
        const struct item *mine = &d->items[i];

        if (mine->shard != h)
            continue;
        for (unsigned s = 0; s < d->count; s++)
            if (s != h)
                consider(best, i, i, d->load[h] - mine->ns, d->load[s] + mine->ns);
        for (size_t j = i + 1; j < d->n; j++) { /* what is longer would make h heavier */
            const struct item *other = &d->items[j];

            if (other->shard != h)
                consider(best, i, j, d->load[h] - mine->ns + other->ns,
                         d->load[other->shard] + mine->ns - other->ns);
        }
        d->work += d->n + d->count;
    }
    return best->load < d->load[h];
}

static unsigned lightest(const struct division *d)
{
    unsigned l = 0;

    for (unsigned s = 1; s < d->count; s++)
        if (d->load[s] < d->load[l])
            l = s;
    return l;
}

static void move(struct division *d, size_t item, unsigned to)
{
    struct item *f = &d->items[item];

    d->load[f->shard] -= f->ns;
    d->load[to] += f->ns;
    f->shard = to;
}

static void improve(struct division *d)
{
    struct step step;
    unsigned h = heaviest(d);

    while (d->work < WORK_MAX && best_step(d, h, &step)) {
        unsigned other = step.take == step.give ? lightest(d) : d->items[step.take].shard;

        if (step.take != step.give)
            move(d, step.take, h);
        move(d, step.give, other);
        h = heaviest(d);
    }
}

void pv_shard_divide(const struct pv_shard_file *files, size_t n, unsigned count, unsigned *shard_of)
{
    cleanup_free struct item *items = pv_xcalloc(n, sizeof(*items));
    cleanup_free int64_t *load = pv_xcalloc(count, sizeof(*load));
    struct division d = {.items = items, .n = n, .count = count, .load = load};
    int64_t unknown = average(files, n);

    for (size_t i = 0; i < n; i++)
        items[i] = (struct item){.name = files[i].name,
                                 .ns = files[i].duration_ns < 0 ? unknown : limited(files[i].duration_ns),
                                 .at = i};
    if (n)
        qsort(items, n, sizeof(*items), longest_first);
    fill(&d);
    improve(&d);
    for (size_t i = 0; i < n; i++)
        shard_of[items[i].at] = items[i].shard;
}
