/* SPDX-License-Identifier: MIT */
/* A recording while it runs. */
#include "disk/recording.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk/rec.h"
#include "util/err.h"
#include "util/path.h"

struct pv_disk_recording *pv_disk_recording_alloc(const char *dir, size_t n_disks)
{
    struct pv_disk_recording *r = pv_xcalloc(1, sizeof(*r));

    r->refs = 1;
    r->dir = pv_xstrdup(dir);
    r->n_disks = n_disks;
    r->disks = pv_xcalloc(n_disks, sizeof(*r->disks));
    for (size_t i = 0; i < n_disks; i++) {
        r->disks[i].rec = r;
        r->disks[i].index = (uint16_t)i;
    }
    return r;
}

struct pv_disk_recording *pv_disk_recording_ref(struct pv_disk_recording *r)
{
    r->refs++;
    return r;
}

/* Takes the sinks off the disks. */
static void recording_detach(struct pv_disk_recording *r)
{
    for (size_t i = 0; i < r->n_disks; i++)
        if (r->disks[i].live) {
            r->disks[i].live->sink = NULL;
            r->disks[i].live = NULL;
        }
    r->stopped = true;
}

void pv_disk_recording_unref(struct pv_disk_recording *r)
{
    if (!r || --r->refs)
        return;
    recording_detach(r);
    pv_analysis_free(r->analysis, r->n_disks);
    for (size_t i = 0; i < r->n_disks; i++) {
        free(r->disks[i].name);
        pv_layer_unref(r->disks[i].base);
    }
    free(r->disks);
    free(r->events);
    pv_strv_free(&r->marks);
    pv_blob_unref(r->blob);
    free(r->dir);
    free(r);
}

struct pv_rec_event *pv_disk_recording_add(struct pv_disk_recording *r)
{
    if (r->n_events == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 256;
        r->events = pv_xrealloc(r->events, r->cap * sizeof(*r->events));
    }
    r->events[r->n_events] = (struct pv_rec_event){0};
    return &r->events[r->n_events++];
}

static void recording_fail(struct pv_disk_recording *r)
{
    r->failed = true;
    recording_detach(r);
}

static bool is_zero(const char *p, size_t n)
{
    return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

/* True when the recording has reached a limit; it has failed then. */
static bool is_full(struct pv_disk_recording *r)
{
    if (r->n_events < PV_DISK_RECORDING_EVENTS && r->data_end <= PV_DISK_RECORDING_BYTES)
        return false;
    pv_err_set(&r->error, PV_E_USAGE,
               "the recording was cut short: it has more than %d events or 16 GiB; record a shorter workload",
               PV_DISK_RECORDING_EVENTS);
    recording_fail(r);
    return true;
}

static void on_change(struct pv_disk_sink *s, enum pv_change_kind kind, uint64_t at, uint64_t len,
                      const void *data, bool durable)
{
    struct pv_rec_disk *rd = PV_CONTAINER_OF(s, struct pv_rec_disk, sink);
    struct pv_disk_recording *r = rd->rec;
    uint64_t end = at + len, sector = rd->sector;
    cleanup_free char *whole = NULL;
    struct pv_rec_event *e;

    if (at % sector || end % sector) { /* a write of the host: the sectors as they are now */
        at = at / sector * sector;
        len = (end + sector - 1) / sector * sector - at;
        whole = pv_xmalloc(len);
        data = whole;
        if (pv_cache_read(rd->live, at, whole, len) < 0) {
            pv_err_sys(&r->error, errno, "cannot read disk '%s' for its recording", rd->name);
            recording_fail(r);
            return;
        }
    }
    if (is_full(r))
        return;
    e = pv_disk_recording_add(r);
    *e = (struct pv_rec_event){
        .kind = (uint8_t)kind, .durable = durable, .disk = rd->index, .at = at, .len = len};
    r->stats.writes++;
    r->stats.bytes += len;
    if (!data)
        return;
    e->from = is_zero(data, len) ? PV_EXTENT_ZERO : r->data_end;
    if (e->from == PV_EXTENT_ZERO)
        return;
    if (pv_pwrite_all(r->blob->fd, data, len, (off_t)r->data_end) < 0) {
        pv_err_sys(&r->error, errno, "the recording of disk '%s' was cut short", rd->name);
        recording_fail(r);
        return;
    }
    r->data_end += len;
}

static void on_flush(struct pv_disk_sink *s)
{
    struct pv_rec_disk *rd = PV_CONTAINER_OF(s, struct pv_rec_disk, sink);
    struct pv_rec_event *e;

    if (is_full(rd->rec))
        return;
    e = pv_disk_recording_add(rd->rec);
    e->kind = PV_REC_FLUSH;
    e->disk = rd->index;
    rd->rec->stats.flushes++;
}

static void on_end(struct pv_disk_sink *s)
{
    recording_detach(PV_CONTAINER_OF(s, struct pv_rec_disk, sink)->rec);
}

/* The content at the start of the recording, as a guest reads it now. */
static struct pv_layer *recording_base(struct pv_disk *d, struct pv_err *err)
{
    struct pv_disk_image *i = pv_disk_freeze(d, err);
    struct pv_layer *view = i ? pv_image_view(i, err) : NULL;

    if (view)
        pv_layer_ref(view);
    pv_disk_image_unref(i);
    return view;
}

static int recording_attach(struct pv_rec_disk *rd, struct pv_disk *d, struct pv_err *err)
{
    rd->name = pv_xstrdup(d->name);
    rd->sector = d->sector;
    rd->size = pv_disk_size(d);
    rd->base = recording_base(d, err);
    if (!rd->base)
        return -1;
    rd->live = d;
    rd->sink = (struct pv_disk_sink){.change = on_change, .flush = on_flush, .end = on_end};
    d->sink = &rd->sink;
    return 0;
}

struct pv_disk_recording *pv_disk_recording_start(struct pv_disk *const *disks, size_t n, const char *dir,
                                                  struct pv_err *err)
{
    struct pv_disk_recording *r;
    int fd;

    if (n == 0 || n > PV_DISK_RECORDING_DISKS) {
        pv_err_set(err, PV_E_USAGE, "a recording is of 1 to %d disks, not %zu", PV_DISK_RECORDING_DISKS, n);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        bool twice = disks[i]->sink != NULL;

        for (size_t k = 0; k < i; k++)
            twice |= disks[k] == disks[i];
        if (twice) {
            pv_err_set(err, PV_E_USAGE, "disk '%s' is being recorded already: stop that recording first",
                       disks[i]->name);
            return NULL;
        }
    }
    fd = pv_disk_tmpfile(dir, err);
    if (fd < 0)
        return NULL;
    r = pv_disk_recording_alloc(dir, n);
    r->blob = pv_blob_new(fd);
    for (size_t i = 0; i < n; i++)
        if (recording_attach(&r->disks[i], disks[i], err) < 0) {
            pv_disk_recording_unref(r);
            return NULL;
        }
    return r;
}

int pv_disk_recording_mark(struct pv_disk_recording *r, const char *text, struct pv_err *err)
{
    struct pv_rec_event *e;

    if (r->failed) {
        if (err)
            *err = r->error;
        return -1;
    }
    if (r->stopped)
        return pv_err_set(err, PV_E_USAGE, "the recording has stopped: it takes no mark");
    if (strlen(text) > PV_DISK_RECORDING_MARK)
        return pv_err_set(err, PV_E_USAGE, "a mark has at most %d bytes", PV_DISK_RECORDING_MARK);
    if (is_full(r)) {
        if (err)
            *err = r->error;
        return -1;
    }
    e = pv_disk_recording_add(r);
    e->kind = PV_REC_MARK;
    e->mark = (uint32_t)r->marks.n;
    pv_strv_add(&r->marks, text);
    return 0;
}

int pv_disk_recording_stop(struct pv_disk_recording *r, struct pv_err *err)
{
    recording_detach(r);
    if (!r->failed)
        return 0;
    if (err)
        *err = r->error;
    return -1;
}

bool pv_disk_recording_stopped(const struct pv_disk_recording *r)
{
    return r->stopped;
}

void pv_disk_recording_stats(const struct pv_disk_recording *r, struct pv_disk_recording_stats *s)
{
    *s = r->stats;
}

size_t pv_disk_recording_disks(const struct pv_disk_recording *r)
{
    return r->n_disks;
}

const char *pv_disk_recording_disk_name(const struct pv_disk_recording *r, size_t disk)
{
    return r->disks[disk].name;
}
