/* SPDX-License-Identifier: MIT */
/* A state: which writes it has, its content as a map of the recording's data, and its description. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk/rec.h"
#include "util/err.h"
#include "util/parse.h"

enum { DESCRIBED = 16, OWNER_BASE = UINT32_MAX };

struct pv_state *pv_state_new(struct pv_disk_recording *r, size_t lo, size_t hi, const uint8_t *keep,
                              const uint8_t *torn, size_t n_torn)
{
    struct pv_state *st = pv_xcalloc(1, sizeof(*st));

    st->refs = 1;
    st->rec = pv_disk_recording_ref(r);
    st->lo = lo;
    st->hi = hi;
    st->keep = pv_xmalloc(hi - lo + 1);
    memcpy(st->keep, keep, hi - lo);
    st->torn = pv_xmalloc(n_torn + 1);
    if (n_torn)
        memcpy(st->torn, torn, n_torn);
    st->n_torn = n_torn;
    st->marks = pv_state_count_marks(r->analysis, lo, hi, keep);
    st->content = pv_xcalloc(r->n_disks, sizeof(struct pv_layer *));
    return st;
}

size_t pv_state_count_marks(const struct pv_analysis *a, size_t lo, size_t hi, const uint8_t *keep)
{
    size_t first = a->forced_min[hi], n = 0, end = a->n_marks;

    for (size_t i = lo; i < hi; i++)
        if (keep[i - lo] != PV_KEPT && a->writes[i].forced < first)
            first = a->writes[i].forced;
    while (n < end) {
        size_t mid = n + (end - n) / 2;

        if (a->marks[mid] < first)
            n = mid + 1;
        else
            end = mid;
    }
    return n;
}

struct pv_state *pv_state_ref(struct pv_state *st)
{
    st->refs++;
    return st;
}

void pv_state_unref(struct pv_state *st)
{
    if (!st || --st->refs)
        return;
    for (size_t i = 0; i < st->rec->n_disks; i++)
        pv_layer_unref(st->content[i]);
    free(st->content);
    free(st->keep);
    free(st->torn);
    pv_disk_recording_unref(st->rec);
    free(st);
}

uint64_t pv_state_number(const struct pv_state *st)
{
    return st->number;
}

size_t pv_state_marks(const struct pv_state *st)
{
    return st->marks;
}

const char *pv_state_mark(const struct pv_state *st, size_t i)
{
    return st->rec->marks.v[st->rec->events[st->rec->analysis->marks[i]].mark];
}

/* The last write of each listed sector of the disk. */
static uint32_t *find_owners(const struct pv_state *st, size_t disk)
{
    const struct pv_analysis *a = st->rec->analysis;
    size_t n = a->sectors[disk].n, torn = 0;
    uint32_t *owner = pv_xmalloc((n ? n : 1) * sizeof(*owner));

    for (size_t t = 0; t < n; t++)
        owner[t] = OWNER_BASE;
    for (size_t i = 0; i < st->hi; i++) {
        const struct pv_rec_write *w = &a->writes[i];
        int keep = i < st->lo ? PV_KEPT : st->keep[i - st->lo];
        bool mine = st->rec->events[w->event].disk == disk;

        for (size_t t = w->lo; mine && keep != PV_LOST && t < w->hi; t++)
            if (keep == PV_KEPT || st->torn[torn + (t - w->lo)])
                owner[t] = (uint32_t)i;
        torn += keep == PV_TORN ? w->hi - w->lo : 0;
    }
    return owner;
}

/* Where the content of a listed sector is in the recording's data. */
static uint64_t sector_source(const struct pv_state *st, size_t disk, size_t t, uint32_t owner)
{
    const struct pv_disk_recording *r = st->rec;
    const struct pv_rec_event *e = &r->events[r->analysis->writes[owner].event];

    if (e->kind != PV_REC_WRITE || e->from == PV_EXTENT_ZERO)
        return PV_EXTENT_ZERO;
    return e->from + (r->analysis->sectors[disk].at[t] * r->disks[disk].sector - e->at);
}

static struct pv_layer *state_content(struct pv_state *st, size_t disk)
{
    const struct pv_rec_disk *d = &st->rec->disks[disk];
    const struct pv_rec_sectors *s = &st->rec->analysis->sectors[disk];
    cleanup_free uint32_t *owner = NULL;
    struct pv_extent *v = NULL;
    size_t n = 0, cap = 0;

    if (st->content[disk])
        return st->content[disk];
    owner = find_owners(st, disk);
    for (size_t t = 0; t < s->n; t++) {
        uint64_t at = s->at[t] * d->sector, from;
        struct pv_extent *last = n ? &v[n - 1] : NULL;

        if (owner[t] == OWNER_BASE)
            continue;
        from = sector_source(st, disk, t, owner[t]);
        if (last && last->at + last->len == at &&
            (from == PV_EXTENT_ZERO ? last->from == from
                                    : last->from != PV_EXTENT_ZERO && last->from + last->len == from)) {
            last->len += d->sector;
            continue;
        }
        if (n == cap) {
            cap = cap ? 2 * cap : 64;
            v = pv_xrealloc(v, cap * sizeof(*v));
        }
        v[n++] = (struct pv_extent){at, d->sector, from};
    }
    st->content[disk] = pv_layer_map(st->rec->blob, d->size, v, n, d->base);
    return st->content[disk];
}

static int check_disk(const struct pv_state *st, size_t disk, struct pv_err *err)
{
    if (disk < st->rec->n_disks)
        return 0;
    return pv_err_set(err, PV_E_USAGE, "the state has %zu disks", st->rec->n_disks);
}

int pv_state_read(struct pv_state *st, size_t disk, uint64_t offset, void *to, size_t n, struct pv_err *err)
{
    uint64_t size;

    if (check_disk(st, disk, err) < 0)
        return -1;
    size = st->rec->disks[disk].size;
    if (offset > size || n > size - offset)
        return pv_err_set(err, PV_E_USAGE, "%zu bytes at %llu are not within the disk's %llu bytes", n,
                          (unsigned long long)offset, (unsigned long long)size);
    if (pv_layer_read(state_content(st, disk), offset, to, n) < 0)
        return pv_err_sys(err, errno, "cannot read a state");
    return 0;
}

struct pv_disk_image *pv_state_image(struct pv_state *st, size_t disk, struct pv_err *err)
{
    if (check_disk(st, disk, err) < 0)
        return NULL;
    return pv_image_new(st->rec->disks[disk].sector, pv_layer_ref(state_content(st, disk)), NULL, 0, NULL);
}

/* ---- description ---- */

static void add_size(struct pv_buf *out, uint64_t n)
{
    if (n % (1 << 20) == 0)
        pv_buf_addf(out, "%llu MiB", (unsigned long long)(n >> 20));
    else if (n % 1024 == 0)
        pv_buf_addf(out, "%llu KiB", (unsigned long long)(n >> 10));
    else
        pv_buf_addf(out, "%llu bytes", (unsigned long long)n);
}

/* "write 4 of 9, 8 KiB at 12288, after flush 2" */
static void describe_write(const struct pv_state *st, size_t i, struct pv_buf *out)
{
    static const char *const names[] = {"write", "discard", "write-zeroes"};
    const struct pv_disk_recording *r = st->rec;
    const struct pv_rec_write *w = &r->analysis->writes[i];
    const struct pv_rec_event *e = &r->events[w->event];

    pv_buf_addf(out, "write %zu of %zu, ", i + 1, r->analysis->n_writes);
    if (e->kind != PV_REC_WRITE)
        pv_buf_addf(out, "a %s of ", names[e->kind]);
    add_size(out, e->len);
    pv_buf_addf(out, " at %llu", (unsigned long long)e->at);
    if (r->n_disks > 1)
        pv_buf_addf(out, " of %s", r->disks[e->disk].name);
    if (w->flushes)
        pv_buf_addf(out, ", after flush %u", w->flushes);
    else
        pv_buf_adds(out, ", before any flush");
}

void pv_state_describe(const struct pv_state *st, struct pv_buf *out)
{
    const struct pv_analysis *a = st->rec->analysis;
    size_t lost = 0, torn = 0;

    pv_buf_adds(out, "lost: ");
    for (size_t i = st->lo; i < st->hi; i++) {
        size_t sectors = a->writes[i].hi - a->writes[i].lo, gone = 0;
        int keep = st->keep[i - st->lo];

        if (keep == PV_KEPT)
            continue;
        for (size_t k = 0; keep == PV_TORN && k < sectors; k++)
            gone += !st->torn[torn + k];
        torn += keep == PV_TORN ? sectors : 0;
        if (lost++ < DESCRIBED) {
            pv_buf_adds(out, lost > 1 ? "; " : "");
            if (keep == PV_TORN)
                pv_buf_addf(out, "%zu of %zu sectors of ", gone, sectors);
            describe_write(st, i, out);
        }
    }
    if (lost > DESCRIBED)
        pv_buf_addf(out, "; and %zu more", lost - DESCRIBED);
    if (!lost && st->hi == a->n_writes)
        pv_buf_adds(out, "nothing");
    else if (!lost && st->flush)
        pv_buf_addf(out, "nothing before flush %zu of %zu, all behind it", st->flush, a->n_flushes);
    else if (!lost)
        pv_buf_addf(out, "all behind write %zu of %zu", st->hi, a->n_writes);
}
