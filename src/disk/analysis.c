/* SPDX-License-Identifier: MIT */
/*
 * The tables that iterations need of a stopped recording: its writes, when each became durable, and hashes of all content
 * that differs between states.
 *
 * A disk's list of sectors has all that writes with data touch, and of the sectors that discards and write-zeroes
 * touch those that had data at the start; all others are zeroes in every state.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "disk/rec.h"
#include "util/err.h"
#include "util/path.h"

enum { CHUNK = 1 << 20 };

static void collect_events(const struct pv_disk_recording *r, struct pv_analysis *a)
{
    uint32_t flushes = 0;

    a->writes = pv_xcalloc(r->n_events + 1, sizeof(*a->writes));
    a->flushes = pv_xcalloc(r->n_events + 1, sizeof(*a->flushes));
    a->marks = pv_xcalloc(r->n_events + 1, sizeof(*a->marks));
    for (size_t i = 0; i < r->n_events; i++) {
        if (r->events[i].kind == PV_REC_FLUSH) {
            a->flushes[a->n_flushes++] = (struct pv_rec_flush){i, a->n_writes};
            flushes++;
        } else if (r->events[i].kind == PV_REC_MARK) {
            a->marks[a->n_marks++] = i;
        } else {
            a->writes[a->n_writes++] =
                (struct pv_rec_write){.event = i, .forced = PV_NEVER, .flushes = flushes};
        }
    }
}

/* When each write became durable, from the last event to the first. */
static void find_forced(const struct pv_disk_recording *r, struct pv_analysis *a)
{
    size_t next[PV_DISK_RECORDING_DISKS], w = a->n_writes;

    for (size_t i = 0; i < PV_DISK_RECORDING_DISKS; i++)
        next[i] = PV_NEVER;
    a->forced_min = pv_xcalloc(a->n_writes + 1, sizeof(*a->forced_min));
    a->forced_min[w] = PV_NEVER;
    for (size_t i = r->n_events; i-- > 0;) {
        const struct pv_rec_event *e = &r->events[i];

        if (e->kind == PV_REC_FLUSH) {
            next[e->disk] = i;
        } else if (e->kind != PV_REC_MARK) {
            w--;
            a->writes[w].forced = e->durable ? i : next[e->disk];
            a->forced_min[w] =
                a->writes[w].forced < a->forced_min[w + 1] ? a->writes[w].forced : a->forced_min[w + 1];
        }
    }
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

struct sector_list {
    uint64_t *v;
    size_t n, cap;
};

static void sectors_add(struct sector_list *l, uint64_t first, uint64_t end)
{
    for (; first < end; first++) {
        if (l->n == l->cap) {
            l->cap = l->cap ? 2 * l->cap : 1024;
            l->v = pv_xrealloc(l->v, l->cap * sizeof(*l->v));
        }
        l->v[l->n++] = first;
    }
}

/* Sectors of [at, end) that had data at the start. */
static void sectors_add_data(struct sector_list *l, const struct pv_rec_disk *d, uint64_t at, uint64_t end)
{
    uint64_t s, e;

    while (at < end && pv_layer_data(d->base, at, &s, &e) && s < end) {
        e = e < end ? e : end;
        sectors_add(l, s / d->sector, (e + d->sector - 1) / d->sector);
        at = e;
    }
}

static void list_sectors(const struct pv_disk_recording *r, struct pv_analysis *a, size_t disk)
{
    const struct pv_rec_disk *d = &r->disks[disk];
    struct sector_list l = {0};
    size_t n = 0;

    for (size_t w = 0; w < a->n_writes; w++) {
        const struct pv_rec_event *e = &r->events[a->writes[w].event];

        if (e->disk != disk)
            continue;
        if (e->kind == PV_REC_WRITE && e->from != PV_EXTENT_ZERO)
            sectors_add(&l, e->at / d->sector, (e->at + e->len) / d->sector);
        else
            sectors_add_data(&l, d, e->at, e->at + e->len);
    }
    if (l.n)
        qsort(l.v, l.n, sizeof(*l.v), compare_u64);
    for (size_t i = 0; i < l.n; i++)
        if (i == 0 || l.v[i] != l.v[n - 1])
            l.v[n++] = l.v[i];
    a->sectors[disk].at = l.v;
    a->sectors[disk].n = n;
}

static size_t sector_find(const struct pv_rec_sectors *s, uint64_t sector)
{
    size_t lo = 0, hi = s->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (s->at[mid] < sector)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* 0: zeroes. */
static uint64_t hash_sector(const char *p, size_t n)
{
    uint64_t h = 0;

    if (p[0] || memcmp(p, p + 1, n - 1) != 0)
        h = XXH3_64bits(p, n);
    return h;
}

static int hash_write(const struct pv_disk_recording *r, struct pv_rec_write *w, char *buf)
{
    const struct pv_rec_event *e = &r->events[w->event];
    unsigned sector = r->disks[e->disk].sector;
    size_t k = 0;

    w->hashes = pv_xmalloc((w->hi - w->lo) * sizeof(*w->hashes));
    for (uint64_t done = 0; done < e->len;) {
        size_t n = e->len - done < CHUNK ? (size_t)(e->len - done) : CHUNK;
        ssize_t got = pv_pread_all(r->blob->fd, buf, n, (off_t)(e->from + done));

        if (got != (ssize_t)n) {
            errno = got < 0 ? errno : EIO;
            return -1;
        }
        for (size_t i = 0; i < n; i += sector)
            w->hashes[k++] = hash_sector(buf + i, sector);
        done += n;
    }
    return 0;
}

static int hash_base(const struct pv_rec_disk *d, struct pv_rec_sectors *s, char *buf)
{
    s->base = pv_xmalloc((s->n ? s->n : 1) * sizeof(*s->base));
    for (size_t i = 0; i < s->n;) {
        size_t n = 1;

        while (i + n < s->n && s->at[i + n] == s->at[i] + n && (n + 1) * d->sector <= CHUNK)
            n++;
        if (pv_layer_read(d->base, s->at[i] * d->sector, buf, n * d->sector) < 0)
            return -1;
        for (size_t k = 0; k < n; k++)
            s->base[i + k] = hash_sector(buf + k * d->sector, d->sector);
        i += n;
    }
    return 0;
}

static int hash_all(const struct pv_disk_recording *r, struct pv_analysis *a)
{
    cleanup_free char *buf = pv_xmalloc(CHUNK);

    for (size_t i = 0; i < r->n_disks; i++)
        if (hash_base(&r->disks[i], &a->sectors[i], buf) < 0)
            return -1;
    for (size_t i = 0; i < a->n_writes; i++) {
        struct pv_rec_write *w = &a->writes[i];
        const struct pv_rec_event *e = &r->events[w->event];
        unsigned sector = r->disks[e->disk].sector;

        w->lo = sector_find(&a->sectors[e->disk], e->at / sector);
        w->hi = sector_find(&a->sectors[e->disk], (e->at + e->len) / sector);
        if (e->kind == PV_REC_WRITE && e->from != PV_EXTENT_ZERO && hash_write(r, w, buf) < 0)
            return -1;
    }
    return 0;
}

struct pv_analysis *pv_disk_recording_analyse(struct pv_disk_recording *r, struct pv_err *err)
{
    struct pv_analysis *a;

    if (r->analysis)
        return r->analysis;
    a = pv_xcalloc(1, sizeof(*a));
    collect_events(r, a);
    find_forced(r, a);
    a->sectors = pv_xcalloc(r->n_disks, sizeof(*a->sectors));
    for (size_t i = 0; i < r->n_disks; i++)
        list_sectors(r, a, i);
    if (hash_all(r, a) < 0) {
        pv_err_sys(err, errno, "cannot read the data of a recording");
        pv_analysis_free(a, r->n_disks);
        return NULL;
    }
    return r->analysis = a;
}

void pv_analysis_free(struct pv_analysis *a, size_t n_disks)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->n_writes; i++)
        free(a->writes[i].hashes);
    for (size_t i = 0; i < n_disks; i++) {
        free(a->sectors[i].at);
        free(a->sectors[i].base);
    }
    free(a->sectors);
    free(a->writes);
    free(a->flushes);
    free(a->marks);
    free(a->forced_min);
    free(a);
}
