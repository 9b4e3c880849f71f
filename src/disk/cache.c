/* SPDX-License-Identifier: MIT */
/*
 * The volatile cache.  Changes are made in the disk's content at once; the list has those that a power cut may
 * still lose, each with what it replaced.  A flush empties the list.  A change with FUA behind others stays in it,
 * marked durable, because changes are taken back and made again in order.
 *
 * Taking all back from the last to the first (pv_cache_withdraw) leaves the durable content, and gives each
 * change's own data on the way: when the later ones are gone, its range has what it wrote.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/internal.h"
#include "util/err.h"
#include "util/log.h"
#include "util/path.h"

enum { CHUNK = 1 << 20, CHANGES_MAX = 2000000, LOG_KEPT = 4 << 20 };

/* Copies n bytes from a layer to a file. */
static int save_bytes(const struct pv_layer *from, uint64_t at, uint64_t n, int fd, uint64_t to)
{
    cleanup_free char *buf = pv_xmalloc(n < CHUNK ? n : CHUNK);

    while (n) {
        size_t part = n < CHUNK ? (size_t)n : CHUNK;

        if (pv_layer_read(from, at, buf, part) < 0 || pv_pwrite_all(fd, buf, part, (off_t)to) < 0)
            return -1;
        at += part, to += part, n -= part;
    }
    return 0;
}

/* Copies n bytes from a file to a layer. */
static int load_bytes(int fd, uint64_t from, uint64_t n, struct pv_layer *to, uint64_t at)
{
    cleanup_free char *buf = pv_xmalloc(n < CHUNK ? n : CHUNK);

    while (n) {
        size_t part = n < CHUNK ? (size_t)n : CHUNK;
        ssize_t r = pv_pread_all(fd, buf, part, (off_t)from);

        if (r >= 0 && (size_t)r < part)
            errno = EIO;
        if (r < (ssize_t)part || pv_layer_write(to, at, buf, part) < 0)
            return -1;
        at += part, from += part, n -= part;
    }
    return 0;
}

int pv_change_apply(const struct pv_change *c, const struct pv_blob *log, struct pv_layer *to, uint64_t at,
                    uint64_t len)
{
    if (c->kind != PV_CHANGE_WRITE)
        return pv_layer_zero(to, at, len);
    return load_bytes(log->fd, c->from + (at - c->at), len, to, at);
}

/* ---- the list ---- */

static void cache_clear(struct pv_cache *c)
{
    c->first = c->n = c->n_old = 0;
    c->unflushed = 0;
    if (c->log_end > LOG_KEPT && ftruncate(c->log->fd, 0) < 0)
        pv_debug("disk", "cannot cut the log: %s", strerror(errno));
    c->log_end = c->log_begin = c->log_holes = 0;
    if (c->cap > 65536) {
        free(c->v);
        c->v = NULL;
        c->cap = 0;
    }
}

/* The oldest changes become durable when there are too many; durable ones at the front leave the list. */
static void cache_trim(struct pv_cache *c)
{
    while (c->first < c->n) {
        struct pv_pending *p = &c->v[c->first];

        if (!p->c.durable && c->unflushed <= PV_DISK_CACHE && c->log_end - c->log_begin <= PV_DISK_CACHE &&
            c->n - c->first <= CHANGES_MAX)
            break;
        c->unflushed -= p->c.durable ? 0 : p->c.len;
        c->log_begin = p->log_end;
        c->first++;
    }
    if (c->first == c->n)
        cache_clear(c);
    else if (c->log_begin - c->log_holes > LOG_KEPT) {
        fallocate(c->log->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)c->log_holes,
                  (off_t)(c->log_begin - c->log_holes));
        c->log_holes = c->log_begin;
    }
}

/* Moves the list and its replaced bytes to the beginning of their arrays. */
static void cache_compact(struct pv_cache *c)
{
    size_t gone = c->v[c->first].old;

    memmove(c->v, c->v + c->first, (c->n - c->first) * sizeof(*c->v));
    memmove(c->old, c->old + gone, (c->n_old - gone) * sizeof(*c->old));
    c->n -= c->first;
    c->n_old -= gone;
    c->first = 0;
    for (size_t i = 0; i < c->n; i++)
        c->v[i].old -= gone;
}

static void cache_push(struct pv_cache *c, struct pv_pending p)
{
    if (c->n == c->cap && c->first > c->cap / 2) {
        p.old -= c->v[c->first].old;
        cache_compact(c);
    } else if (c->n == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 64;
        c->v = pv_xrealloc(c->v, c->cap * sizeof(*c->v));
    }
    c->v[c->n++] = p;
    c->unflushed += p.c.durable ? 0 : p.c.len;
    cache_trim(c);
}

/* Notes what [at, at + n) of the content has: own blocks with their bytes, others by their range. */
static int cache_note(struct pv_disk *d, uint64_t at, uint64_t n)
{
    struct pv_cache *c = &d->cache;
    uint64_t end = at + n, next;

    for (; at < end; at = next) {
        struct pv_old old = {.at = at, .from = PV_OLD_ABSENT};
        bool own = pv_layer_own(d->store, at, end, &next);

        old.len = next - at;
        if (own) {
            if (save_bytes(d->store, at, old.len, c->log->fd, c->log_end) < 0)
                return -1;
            old.from = c->log_end;
            c->log_end += old.len;
        }
        if (c->n_old == c->cap_old) {
            c->cap_old = c->cap_old ? 2 * c->cap_old : 64;
            c->old = pv_xrealloc(c->old, c->cap_old * sizeof(*c->old));
        }
        c->old[c->n_old++] = old;
    }
    return 0;
}

/* Makes a change, which goes on the list unless it is durable and the list is empty. */
static int cache_make(struct pv_disk *d, struct pv_change e, const void *data)
{
    struct pv_cache *c = &d->cache;
    struct pv_pending p = {.c = e, .old = c->n_old};
    bool listed = !e.durable || c->first < c->n;

    if (listed && cache_note(d, e.at, e.len) < 0) {
        c->n_old = p.old;
        return -1;
    }
    if ((e.kind == PV_CHANGE_WRITE ? pv_layer_write(d->store, e.at, data, e.len)
                                   : pv_layer_zero(d->store, e.at, e.len)) < 0)
        return -1;
    p.n_old = c->n_old - p.old;
    p.log_end = c->log_end;
    if (listed)
        cache_push(c, p);
    return 0;
}

int pv_cache_read(struct pv_disk *d, uint64_t at, void *to, size_t n)
{
    return pv_layer_read(d->store, at, to, n);
}

int pv_cache_write(struct pv_disk *d, uint64_t at, const void *data, size_t n, bool durable)
{
    if (!n)
        return 0;
    if (cache_make(d, (struct pv_change){PV_CHANGE_WRITE, durable, at, n, 0}, data) < 0)
        return -1;
    if (d->sink)
        d->sink->change(d->sink, PV_CHANGE_WRITE, at, n, data, durable);
    return 0;
}

int pv_cache_zero(struct pv_disk *d, enum pv_change_kind kind, uint64_t at, uint64_t n, bool durable)
{
    if (!n)
        return 0;
    if (cache_make(d, (struct pv_change){kind, durable, at, n, 0}, NULL) < 0)
        return -1;
    if (d->sink)
        d->sink->change(d->sink, kind, at, n, NULL, durable);
    return 0;
}

void pv_cache_flush(struct pv_disk *d)
{
    cache_clear(&d->cache);
    if (pv_layer_sync(d->store) < 0)
        pv_debug(d->name, "cannot flush the image: %s", strerror(errno));
    if (d->sink)
        d->sink->flush(d->sink);
}

/* Puts back what the change replaced. */
static int cache_undo(struct pv_disk *d, const struct pv_pending *p)
{
    struct pv_cache *c = &d->cache;

    for (size_t i = p->old; i < p->old + p->n_old; i++) {
        const struct pv_old *o = &c->old[i];

        if ((o->from == PV_OLD_ABSENT ? pv_layer_forget(d->store, o->at, o->len)
                                      : load_bytes(c->log->fd, o->from, o->len, d->store, o->at)) < 0)
            return -1;
    }
    return 0;
}

int pv_cache_withdraw(struct pv_disk *d, struct pv_changes *out, struct pv_err *err)
{
    struct pv_cache *c = &d->cache;
    size_t n = c->n - c->first;
    uint64_t end = 0;
    int fd;

    *out = (struct pv_changes){0};
    if (!n)
        return 0;
    fd = pv_disk_tmpfile(d->dir, err);
    if (fd < 0)
        return -1;
    out->log = pv_blob_new(fd);
    out->v = pv_xcalloc(n, sizeof(*out->v));
    out->n = n;
    for (size_t i = n; i-- > 0;) {
        const struct pv_pending *p = &c->v[c->first + i];

        out->v[i] = p->c;
        if (p->c.kind == PV_CHANGE_WRITE) {
            out->v[i].from = end;
            end += p->c.len;
        }
        if ((p->c.kind == PV_CHANGE_WRITE &&
             save_bytes(d->store, p->c.at, p->c.len, fd, out->v[i].from) < 0) ||
            cache_undo(d, p) < 0) {
            pv_changes_fini(out);
            return pv_err_sys(err, errno, "disk '%s': cannot take back unflushed writes", d->name);
        }
    }
    cache_clear(c);
    return 0;
}

int pv_cache_adopt(struct pv_disk *d, const struct pv_change *v, size_t n, const struct pv_blob *log)
{
    cleanup_buf struct pv_buf buf = {0};

    for (size_t i = 0; i < n; i++) {
        struct pv_change e = v[i];

        for (uint64_t done = 0; e.kind == PV_CHANGE_WRITE && done < v[i].len; done += e.len) {
            char *p;

            e.at = v[i].at + done;
            e.len = v[i].len - done < PV_DISK_MAX_TRANSFER ? v[i].len - done : PV_DISK_MAX_TRANSFER;
            p = pv_buf_reserve(&buf, e.len);
            if (pv_pread_all(log->fd, p, e.len, (off_t)(v[i].from + done)) != (ssize_t)e.len) {
                errno = EIO;
                return -1;
            }
            if (cache_make(d, e, p) < 0)
                return -1;
        }
        if (e.kind != PV_CHANGE_WRITE && cache_make(d, e, NULL) < 0)
            return -1;
    }
    return 0;
}

void pv_changes_fini(struct pv_changes *c)
{
    free(c->v);
    pv_blob_unref(c->log);
    *c = (struct pv_changes){0};
}

int pv_cache_init(struct pv_disk *d, struct pv_err *err)
{
    int fd = pv_disk_tmpfile(d->dir, err);

    if (fd < 0)
        return -1;
    d->cache.log = pv_blob_new(fd);
    return 0;
}

void pv_cache_fini(struct pv_disk *d)
{
    pv_blob_unref(d->cache.log);
    free(d->cache.v);
    free(d->cache.old);
}
