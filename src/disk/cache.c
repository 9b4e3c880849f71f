/* SPDX-License-Identifier: MIT */
/*
 * The volatile cache.  A change goes to the log and to `view`.  A flush makes all changes durable, FUA one; the
 * durable ones at the front of the list are applied to `store` by a timer, in slices, because a flush must not
 * keep the loop.  A durable change behind one that is not stays in the list, for changes are applied in order.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/internal.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/path.h"

enum { SLICE = 4 << 20, CHUNK = 1 << 20, CHANGES_MAX = 4000000, APPLY_AT_ONCE = 256 << 10 };

int pv_change_apply(const struct pv_change *c, const struct pv_blob *log, struct pv_layer *to, uint64_t at,
                    uint64_t len)
{
    cleanup_free char *buf = NULL;

    if (c->kind != PV_CHANGE_WRITE)
        return pv_layer_zero(to, at, len);
    buf = pv_xmalloc(len < CHUNK ? len : CHUNK);
    for (uint64_t done = 0; done < len;) {
        size_t n = len - done < CHUNK ? (size_t)(len - done) : CHUNK;
        ssize_t r = pv_pread_all(log->fd, buf, n, (off_t)(c->from + (at - c->at) + done));

        if (r >= 0 && (size_t)r < n)
            errno = EIO;
        if (r < (ssize_t)n || pv_layer_write(to, at + done, buf, n) < 0)
            return -1;
        done += n;
    }
    return 0;
}

/* All changes are applied or dropped: starts anew. */
static int cache_restart(struct pv_disk *d)
{
    struct pv_cache *c = &d->cache;

    c->first = c->n = c->durable = 0;
    c->unflushed = 0;
    if (c->log_end > SLICE && ftruncate(c->log->fd, 0) < 0)
        return -1;
    c->log_end = 0;
    if (c->cap > 65536) {
        free(c->v);
        c->v = NULL;
        c->cap = 0;
    }
    return pv_layer_reset(d->view);
}

/* Applies durable changes from the front, about `budget` bytes; 1: some are left. */
static int cache_apply_some(struct pv_disk *d, uint64_t budget)
{
    struct pv_cache *c = &d->cache;
    uint64_t done = 0;

    while (c->first < c->durable && done <= budget) {
        const struct pv_change *e = &c->v[c->first];

        if (pv_change_apply(e, c->log, d->store, e->at, e->len) < 0)
            return -1;
        done += e->kind == PV_CHANGE_WRITE ? e->len : PV_LAYER_BLOCK;
        c->first++;
    }
    if (c->first < c->durable)
        return 1;
    if (c->first == c->n && c->n)
        return cache_restart(d);
    return 0;
}

static void on_apply(struct pv_timer *t)
{
    struct pv_disk *d = PV_CONTAINER_OF(t, struct pv_disk, apply);
    int r = cache_apply_some(d, SLICE);

    if (r != 0) /* after an error again, a little later: the host's disk may be full for a while */
        pv_timer_arm(d->loop, t, pv_now() + (r < 0 ? PV_NSEC_PER_SEC : 0));
}

int pv_cache_apply(struct pv_disk *d)
{
    pv_timer_cancel(d->loop, &d->apply);
    return cache_apply_some(d, UINT64_MAX) < 0 ? -1 : 0;
}

/* Moves `durable` over durable changes, and applies them soon. */
static void cache_advance(struct pv_disk *d)
{
    struct pv_cache *c = &d->cache;

    while (c->durable < c->n && c->v[c->durable].durable)
        c->durable++;
    if (c->first == c->durable)
        return;
    if (c->log_end < APPLY_AT_ONCE && c->n - c->first < 64 && pv_cache_apply(d) == 0)
        return;
    if (!d->apply.due)
        pv_timer_arm(d->loop, &d->apply, pv_now());
}

/* The oldest changes become durable when there are too many. */
static void cache_evict(struct pv_disk *d)
{
    struct pv_cache *c = &d->cache;

    while (c->durable < c->n && (c->unflushed > PV_DISK_CACHE || c->n - c->durable > CHANGES_MAX)) {
        struct pv_change *e = &c->v[c->durable++];

        if (!e->durable)
            c->unflushed -= e->len;
        e->durable = true;
    }
}

static void cache_push(struct pv_disk *d, struct pv_change e)
{
    struct pv_cache *c = &d->cache;

    if (c->n == c->cap && c->first > c->cap / 2) {
        memmove(c->v, c->v + c->first, (c->n - c->first) * sizeof(*c->v));
        c->n -= c->first;
        c->durable -= c->first;
        c->first = 0;
    } else if (c->n == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 64;
        c->v = pv_xrealloc(c->v, c->cap * sizeof(*c->v));
    }
    c->v[c->n++] = e;
    if (!e.durable)
        c->unflushed += e.len;
}

/* Adds a change that `view` has already. */
static void cache_add(struct pv_disk *d, struct pv_change e)
{
    cache_push(d, e);
    cache_evict(d);
    cache_advance(d);
}

int pv_cache_read(struct pv_disk *d, uint64_t at, void *to, size_t n)
{
    return pv_layer_read(d->cache.first == d->cache.n ? d->store : d->view, at, to, n);
}

int pv_cache_write(struct pv_disk *d, uint64_t at, const void *data, size_t n, bool durable)
{
    struct pv_cache *c = &d->cache;
    struct pv_change e = {
        .kind = PV_CHANGE_WRITE, .durable = durable, .at = at, .len = n, .from = c->log_end};

    if (!n)
        return 0;
    if (durable && c->first == c->n) {
        if (pv_layer_write(d->store, at, data, n) < 0)
            return -1;
    } else {
        if (pv_pwrite_all(c->log->fd, data, n, (off_t)c->log_end) < 0 ||
            pv_layer_write(d->view, at, data, n) < 0)
            return -1;
        c->log_end += n;
        cache_add(d, e);
    }
    if (d->sink)
        d->sink->change(d->sink, e.kind, at, n, data, durable);
    return 0;
}

int pv_cache_zero(struct pv_disk *d, enum pv_change_kind kind, uint64_t at, uint64_t n, bool durable)
{
    struct pv_cache *c = &d->cache;
    struct pv_change e = {.kind = kind, .durable = durable, .at = at, .len = n};

    if (!n)
        return 0;
    if (durable && c->first == c->n) {
        if (pv_layer_zero(d->store, at, n) < 0)
            return -1;
    } else {
        if (pv_layer_zero(d->view, at, n) < 0)
            return -1;
        cache_add(d, e);
    }
    if (d->sink)
        d->sink->change(d->sink, kind, at, n, NULL, durable);
    return 0;
}

void pv_cache_flush(struct pv_disk *d)
{
    struct pv_cache *c = &d->cache;

    for (size_t i = c->durable; i < c->n; i++)
        c->v[i].durable = true;
    c->unflushed = 0;
    if (d->sink)
        d->sink->flush(d->sink);
    cache_advance(d);
}

int pv_cache_drop(struct pv_disk *d)
{
    pv_timer_cancel(d->loop, &d->apply);
    return cache_restart(d);
}

int pv_cache_adopt(struct pv_disk *d, const struct pv_change *v, size_t n, struct pv_blob *log)
{
    struct pv_cache *c = &d->cache;
    cleanup_free char *buf = NULL;

    for (size_t i = 0; i < n; i++) {
        struct pv_change e = v[i];

        e.from = c->log_end;
        for (uint64_t done = 0; e.kind == PV_CHANGE_WRITE && done < e.len;) {
            size_t part = e.len - done < CHUNK ? (size_t)(e.len - done) : CHUNK;

            if (!buf)
                buf = pv_xmalloc(CHUNK);
            if (pv_pread_all(log->fd, buf, part, (off_t)(v[i].from + done)) != (ssize_t)part ||
                pv_pwrite_all(c->log->fd, buf, part, (off_t)c->log_end) < 0)
                return -1;
            c->log_end += part;
            done += part;
        }
        if (pv_change_apply(&e, c->log, d->view, e.at, e.len) < 0)
            return -1;
        cache_push(d, e);
    }
    return 0;
}

int pv_cache_init(struct pv_disk *d, struct pv_err *err)
{
    int fd = pv_disk_tmpfile(d->dir, err);

    if (fd < 0)
        return -1;
    d->cache.log = pv_blob_new(fd);
    d->apply.fn = on_apply;
    d->view = pv_layer_new(d->dir, pv_layer_size(d->store), d->store, err);
    return d->view ? 0 : -1;
}

void pv_cache_fini(struct pv_disk *d)
{
    pv_timer_cancel(d->loop, &d->apply);
    pv_blob_unref(d->cache.log);
    free(d->cache.v);
    pv_layer_unref(d->view);
}
