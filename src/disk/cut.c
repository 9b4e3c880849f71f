/* SPDX-License-Identifier: MIT */
/* Power cuts: all changes of the cache are taken back, then those that arrive are made again in their order. */
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

static int apply_torn(struct pv_disk *d, const struct pv_change *e, const struct pv_blob *log,
                      uint64_t *random)
{
    uint64_t unit = tear_unit(d, e), end = e->at + e->len, next;

    for (uint64_t at = e->at; at < end; at = next) {
        next = (at / unit + 1) * unit;
        next = next < end ? next : end;
        if (pv_random(random) & 1 && pv_change_apply(e, log, d->store, at, next - at) < 0)
            return -1;
    }
    return 0;
}

static int cut_disk(struct pv_disk *d, enum pv_disk_keep keep, bool torn, uint64_t *random,
                    struct pv_err *err)
{
    struct pv_changes c;
    int r = 0;

    if (pv_cache_withdraw(d, &c, err) < 0)
        return -1;
    for (size_t i = 0; i < c.n && r == 0; i++) {
        const struct pv_change *e = &c.v[i];

        if (!e->durable && keep == PV_DISK_KEEP_RANDOM && torn)
            r = apply_torn(d, e, c.log, random);
        else if (e->durable || keep == PV_DISK_KEEP_ALL ||
                 (keep == PV_DISK_KEEP_RANDOM && pv_random(random) & 1))
            r = pv_change_apply(e, c.log, d->store, e->at, e->len);
    }
    if (r == 0)
        r = pv_layer_sync(d->store);
    if (r < 0)
        pv_err_sys(err, errno, "disk '%s': cannot write its content", d->name);
    if (d->sink)
        d->sink->end(d->sink);
    pv_changes_fini(&c);
    return r;
}

int pv_disk_power_cut(struct pv_disk *const *disks, size_t n, enum pv_disk_keep keep, bool torn,
                      uint64_t seed, struct pv_err *err)
{
    int r = 0;

    for (size_t i = 0; i < n; i++)
        pv_disk_disconnect(disks[i]);
    for (size_t i = 0; i < n; i++)
        if (cut_disk(disks[i], keep, torn, &seed, r == 0 ? err : NULL) < 0)
            r = -1;
    return r;
}
