/* SPDX-License-Identifier: MIT */
/* Power cuts: the unflushed changes that arrive are applied in their order, the others are dropped. */
#include <errno.h>

#include "disk/internal.h"
#include "util/err.h"

enum { PIECES_MAX = 65536 }; /* of a torn discard */

/* The unit in which a change is torn: a sector; of a large discard a larger part. */
static uint64_t tear_unit(const struct pv_disk *d, const struct pv_change *e)
{
    uint64_t unit = d->sector;

    while (e->kind != PV_CHANGE_WRITE && e->len / unit > PIECES_MAX)
        unit *= 2;
    return unit;
}

static int apply_torn(struct pv_disk *d, const struct pv_change *e, uint64_t *random)
{
    uint64_t unit = tear_unit(d, e), end = e->at + e->len, next;

    for (uint64_t at = e->at; at < end; at = next) {
        next = (at / unit + 1) * unit;
        next = next < end ? next : end;
        if (pv_random(random) & 1 && pv_change_apply(e, d->cache.log, d->store, at, next - at) < 0)
            return -1;
    }
    return 0;
}

static int cut_disk(struct pv_disk *d, enum pv_disk_keep keep, bool torn, uint64_t *random)
{
    struct pv_cache *c = &d->cache;
    int r = 0;

    pv_disk_disconnect(d);
    for (size_t i = c->first; i < c->n && r == 0; i++) {
        const struct pv_change *e = &c->v[i];

        if (!e->durable && keep == PV_DISK_KEEP_RANDOM && torn)
            r = apply_torn(d, e, random);
        else if (e->durable || keep == PV_DISK_KEEP_ALL ||
                 (keep == PV_DISK_KEEP_RANDOM && pv_random(random) & 1))
            r = pv_change_apply(e, c->log, d->store, e->at, e->len);
    }
    if (d->sink)
        d->sink->end(d->sink);
    return r < 0 || pv_cache_drop(d) < 0 ? -1 : 0;
}

int pv_disk_power_cut(struct pv_disk *const *disks, size_t n, enum pv_disk_keep keep, bool torn,
                      uint64_t seed, struct pv_err *err)
{
    int r = 0;

    for (size_t i = 0; i < n; i++)
        pv_disk_disconnect(disks[i]);
    for (size_t i = 0; i < n; i++)
        if (cut_disk(disks[i], keep, torn, &seed) < 0 && r == 0)
            r = pv_err_sys(err, errno, "disk '%s': cannot write its content", disks[i]->name);
    return r;
}
