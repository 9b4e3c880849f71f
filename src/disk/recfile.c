/* SPDX-License-Identifier: MIT */
/*
 * Saved recordings, in the host's byte order:
 *
 *     header | disks | ranges of their content at the start | marks | events | data | content
 *
 * The content at the start is what the ranges say, one range's bytes behind the other.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "disk/rec.h"
#include "util/err.h"
#include "util/path.h"

enum { VERSION = 1, COPY = 1 << 20, RANGES_MAX = 16 << 20, META_MAX = 1 << 30 };

struct rec_header {
    char magic[8];
    uint32_t version, n_disks;
    uint64_t n_ranges, n_marks, n_events, meta_len, data_len, content_len;
    uint64_t hash; /* of the bytes behind the header up to the data, and of the members before */
};

struct rec_file_disk {
    uint64_t size;
    uint32_t sector, n_ranges;
    char name[PV_DISK_NAME + 4]; /* terminated */
};

struct rec_file_range {
    uint64_t at, len;
};

static const char rec_magic[8] = "PVREC\r\n";

/* ---- saving ---- */

static void add_ranges(const struct pv_layer *base, struct pv_buf *out, uint32_t *n, uint64_t *bytes)
{
    uint64_t size = pv_layer_size(base), at = 0, s, e;

    while (pv_layer_data(base, at, &s, &e) && *n < RANGES_MAX) {
        struct rec_file_range range;

        e = e < size ? e : size;
        range = (struct rec_file_range){s, e - s};
        pv_buf_add(out, &range, sizeof(range));
        *bytes += e - s;
        ++*n;
        at = e;
    }
}

static void add_meta(const struct pv_disk_recording *r, struct rec_header *h, struct pv_buf *out)
{
    struct pv_buf ranges = {0};

    for (size_t i = 0; i < r->n_disks; i++) {
        struct rec_file_disk d = {.size = r->disks[i].size, .sector = r->disks[i].sector};

        memcpy(d.name, r->disks[i].name, strlen(r->disks[i].name));
        add_ranges(r->disks[i].base, &ranges, &d.n_ranges, &h->content_len);
        h->n_ranges += d.n_ranges;
        pv_buf_add(out, &d, sizeof(d));
    }
    if (ranges.len)
        pv_buf_add(out, ranges.data, ranges.len);
    for (size_t i = 0; i < r->marks.n; i++)
        pv_buf_add(out, r->marks.v[i], strlen(r->marks.v[i]) + 1);
    if (out->len % 8)
        pv_buf_add(out, "\0\0\0\0\0\0\0", 8 - out->len % 8);
    for (size_t i = 0; i < r->n_events; i++) {
        struct pv_rec_event e = r->events[i];

        e.from -= e.kind == PV_REC_WRITE && e.from != PV_EXTENT_ZERO ? r->data_at : 0;
        pv_buf_add(out, &e, sizeof(e));
    }
    pv_buf_free(&ranges);
}

static uint64_t header_hash(const struct rec_header *h, const void *meta)
{
    return XXH3_64bits_withSeed(meta, h->meta_len, XXH3_64bits(h, offsetof(struct rec_header, hash)));
}

bool pv_disk_recording_fix_hash(void *file, size_t n)
{
    struct rec_header h;

    if (n < sizeof(h))
        return false;
    memcpy(&h, file, sizeof(h));
    if (h.meta_len > n - sizeof(h))
        return false;
    h.hash = header_hash(&h, (char *)file + sizeof(h));
    memcpy(file, &h, sizeof(h));
    return true;
}

/* Copies n bytes of the blob, or of a layer when `from` is not NULL. */
static int put_bytes(int blob, const struct pv_layer *from, uint64_t at, uint64_t n, int to, uint64_t to_at)
{
    cleanup_free char *buf = pv_xmalloc(COPY);

    while (n) {
        size_t part = n < COPY ? (size_t)n : COPY;

        if (from ? pv_layer_read(from, at, buf, part) < 0
                 : pv_pread_all(blob, buf, part, (off_t)at) != (ssize_t)part)
            return -1;
        if (pv_pwrite_all(to, buf, part, (off_t)to_at) < 0)
            return -1;
        at += part, to_at += part, n -= part;
    }
    return 0;
}

static int put_content(const struct pv_disk_recording *r, const char *meta, int fd, uint64_t at)
{
    const struct rec_file_disk *d = (const void *)meta;
    const struct rec_file_range *range = (const void *)(d + r->n_disks);

    for (size_t i = 0; i < r->n_disks; i++)
        for (uint32_t k = 0; k < d[i].n_ranges; k++, range++) {
            if (put_bytes(-1, r->disks[i].base, range->at, range->len, fd, at) < 0)
                return -1;
            at += range->len;
        }
    return 0;
}

int pv_disk_recording_save(struct pv_disk_recording *r, const char *path, struct pv_err *err)
{
    struct rec_header h = {.version = VERSION, .n_disks = (uint32_t)r->n_disks, .n_marks = r->marks.n};
    cleanup_buf struct pv_buf meta = {0};
    cleanup_close int fd = -1;
    uint64_t at;

    if (r->failed) {
        if (err)
            *err = r->error;
        return -1;
    }
    if (!r->stopped)
        return pv_err_set(err, PV_E_USAGE, "the recording still runs: call stop() before it is saved");
    memcpy(h.magic, rec_magic, sizeof(h.magic));
    h.n_events = r->n_events;
    add_meta(r, &h, &meta);
    h.meta_len = meta.len;
    h.data_len = r->data_end;
    h.hash = header_hash(&h, meta.data);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644);
    if (fd < 0)
        return pv_err_set(err, PV_E_USAGE, "cannot save the recording to '%s': %s", path, strerror(errno));
    at = sizeof(h) + meta.len;
    if (pv_pwrite_all(fd, &h, sizeof(h), 0) < 0 || pv_pwrite_all(fd, meta.data, meta.len, sizeof(h)) < 0 ||
        put_bytes(r->blob->fd, NULL, r->data_at, r->data_end, fd, at) < 0 ||
        put_content(r, meta.data, fd, at + h.data_len) < 0)
        return pv_err_sys(err, errno, "cannot save the recording to %s", path);
    return 0;
}

/* ---- loading ---- */

/* The parts of the bytes behind the header, and how far they are read. */
struct meta {
    const char *p;
    size_t at, len;
};

static const void *meta_take(struct meta *m, uint64_t n, size_t size)
{
    const void *p = m->p + m->at;

    if (n > (m->len - m->at) / size)
        return NULL;
    m->at += n * size;
    return p;
}

static const char *check_header(const struct rec_header *h, uint64_t file)
{
    if (memcmp(h->magic, rec_magic, sizeof(h->magic)) != 0)
        return "it is no recording";
    if (h->version != VERSION)
        return "it has another version";
    if (h->n_disks == 0 || h->n_disks > PV_DISK_RECORDING_DISKS || h->n_events > PV_DISK_RECORDING_EVENTS ||
        h->n_marks > h->n_events || h->n_ranges > (uint64_t)RANGES_MAX * h->n_disks)
        return "a number in its header is too large";
    if (file > PV_DISK_SIZE_MAX || h->meta_len > file || h->meta_len > META_MAX || h->data_len > file ||
        h->content_len > file || sizeof(*h) + h->meta_len + h->data_len + h->content_len != file)
        return "its parts do not add up to its size";
    return NULL;
}

static const char *load_disk(struct pv_rec_disk *d, const struct rec_file_disk *f, struct meta *m,
                             struct pv_blob *blob, uint64_t *content, uint64_t content_end)
{
    const struct rec_file_range *range = meta_take(m, f->n_ranges, sizeof(*range));
    struct pv_extent *v;
    uint64_t end = 0;

    if (!range || !memchr(f->name, 0, PV_DISK_NAME + 1) || (f->sector != 512 && f->sector != 4096) ||
        !f->size || f->size % f->sector || f->size > PV_DISK_SIZE_MAX)
        return "a disk of it is bad";
    v = pv_xcalloc(f->n_ranges + 1, sizeof(*v));
    for (uint32_t i = 0; i < f->n_ranges; i++) {
        if (range[i].at < end || !range[i].len || range[i].at > f->size ||
            range[i].len > f->size - range[i].at || range[i].len > content_end - *content) {
            free(v);
            return "a range of a disk's content is bad";
        }
        v[i] = (struct pv_extent){range[i].at, range[i].len, *content};
        *content += range[i].len;
        end = range[i].at + range[i].len;
    }
    d->name = pv_xstrdup(f->name);
    d->sector = f->sector;
    d->size = f->size;
    d->base = pv_layer_map(blob, f->size, v, f->n_ranges, NULL);
    return NULL;
}

static const char *load_marks(struct pv_disk_recording *r, uint64_t n, struct meta *m)
{
    for (uint64_t i = 0; i < n; i++) {
        const char *text = m->p + m->at, *end = memchr(text, 0, m->len - m->at);

        if (!end || end - text > PV_DISK_RECORDING_MARK)
            return "a mark of it is bad";
        pv_strv_add(&r->marks, text);
        m->at += (size_t)(end - text) + 1;
    }
    if (m->at % 8)
        m->at += 8 - m->at % 8;
    return m->at > m->len ? "its marks are cut off" : NULL;
}

static bool event_ok(const struct pv_disk_recording *r, const struct pv_rec_event *e, uint64_t data_len,
                     uint32_t marks)
{
    const struct pv_rec_disk *d = &r->disks[e->disk < r->n_disks ? e->disk : 0];

    if (e->kind > PV_REC_MARK || e->durable > 1 || e->disk >= r->n_disks)
        return false;
    if (e->kind == PV_REC_MARK)
        return e->mark == marks && marks < r->marks.n;
    if (e->kind == PV_REC_FLUSH)
        return true;
    if (!e->len || e->at % d->sector || e->len % d->sector || e->at > d->size || e->len > d->size - e->at)
        return false;
    if (e->kind != PV_REC_WRITE || e->from == PV_EXTENT_ZERO)
        return true;
    return e->from <= data_len && e->len <= data_len - e->from;
}

static const char *load_events(struct pv_disk_recording *r, const struct rec_header *h, struct meta *m)
{
    const struct pv_rec_event *e = meta_take(m, h->n_events, sizeof(*e));
    uint32_t marks = 0;

    if (!e || m->at != m->len)
        return "its events are cut off";
    for (uint64_t i = 0; i < h->n_events; i++) {
        if (!event_ok(r, &e[i], h->data_len, marks))
            return "an event of it is bad";
        marks += e[i].kind == PV_REC_MARK;
        *pv_disk_recording_add(r) = e[i];
        r->events[i].from += e[i].kind == PV_REC_WRITE && e[i].from != PV_EXTENT_ZERO ? r->data_at : 0;
        r->stats.flushes += e[i].kind == PV_REC_FLUSH;
        r->stats.writes += e[i].kind < PV_REC_FLUSH;
        r->stats.bytes += e[i].kind < PV_REC_FLUSH ? e[i].len : 0;
    }
    return marks == r->marks.n ? NULL : "a mark of it has no event";
}

static const char *load_all(struct pv_disk_recording *r, const struct rec_header *h, const char *bytes)
{
    struct meta m = {bytes, 0, h->meta_len};
    uint64_t content = r->data_at + h->data_len, content_end = content + h->content_len;
    const struct rec_file_disk *f = meta_take(&m, h->n_disks, sizeof(*f));
    const char *why = f ? NULL : "its disks are cut off";

    for (uint32_t i = 0; !why && i < h->n_disks; i++)
        why = load_disk(&r->disks[i], &f[i], &m, r->blob, &content, content_end);
    if (!why)
        why = load_marks(r, h->n_marks, &m);
    return why ? why : load_events(r, h, &m);
}

struct pv_disk_recording *pv_disk_recording_load(const char *path, const char *dir, struct pv_err *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    off_t file = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    struct rec_header h;
    struct stat st;
    cleanup_free char *bytes = NULL;
    const char *why = "it is too short";
    struct pv_disk_recording *r = NULL;

    if (fd < 0) {
        pv_err_set_at(err, errno == ENOENT ? PV_E_MISSING : PV_E_HOST, errno, __FILE__, __LINE__,
                      "cannot open recording %s: %s", path, strerror(errno));
        return NULL;
    }
    if (file >= (off_t)sizeof(h) && pv_pread_all(fd, &h, sizeof(h), 0) == (ssize_t)sizeof(h))
        why = check_header(&h, (uint64_t)file);
    if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode))
        why = "it is no regular file";
    if (!why) {
        bytes = pv_xmalloc(h.meta_len + 1);
        if (pv_pread_all(fd, bytes, h.meta_len, sizeof(h)) != (ssize_t)h.meta_len ||
            header_hash(&h, bytes) != h.hash)
            why = "its checksum is wrong";
    }
    if (!why) {
        r = pv_disk_recording_alloc(dir, h.n_disks);
        r->stopped = true;
        r->blob = pv_blob_new(pv_steal_fd(&fd));
        r->data_at = sizeof(h) + h.meta_len;
        why = load_all(r, &h, bytes);
        r->data_end = h.data_len;
    }
    if (!why)
        return r;
    pv_disk_recording_unref(r);
    pv_err_set(err, PV_E_USAGE, "recording '%s' cannot be used: %s; expected a file that rec:save wrote",
               path, why);
    return NULL;
}
