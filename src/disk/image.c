/* SPDX-License-Identifier: MIT */
/*
 * Frozen disks.  The file of a saved image, in the host's byte order:
 *
 *     content (sparse) | up to a multiple of 4096 | table of changes | their data | trailer
 */
#include "disk/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "disk/frozen.h"
#include "util/err.h"
#include "util/path.h"

enum { IMAGE_VERSION = 1, CHANGES_MAX = 5000000, COPY = 1 << 20 };

struct image_change {
    uint32_t kind, durable;
    uint64_t at, len, from;
};

struct image_trailer {
    char magic[8];
    uint32_t version, sector;
    uint64_t size, n_changes, data_len;
    uint64_t hash; /* of the table and of the members before */
};

static const char image_magic[8] = "PVDISK\r\n";

struct pv_disk_image *pv_image_new(unsigned sector, struct pv_layer *content, struct pv_change *v, size_t n,
                                   struct pv_blob *log)
{
    struct pv_disk_image *i = pv_xcalloc(1, sizeof(*i));

    i->refs = 1;
    i->sector = sector;
    i->content = content;
    i->changes = v;
    i->n_changes = n;
    i->log = log;
    return i;
}

struct pv_disk_image *pv_disk_image_ref(struct pv_disk_image *i)
{
    i->refs++;
    return i;
}

void pv_disk_image_unref(struct pv_disk_image *i)
{
    if (!i || --i->refs)
        return;
    pv_layer_unref(i->content);
    pv_layer_unref(i->view);
    pv_blob_unref(i->log);
    free(i->changes);
    free(i->dir);
    free(i);
}

uint64_t pv_disk_image_size(const struct pv_disk_image *i)
{
    return pv_layer_size(i->content);
}

unsigned pv_disk_image_sector(const struct pv_disk_image *i)
{
    return i->sector;
}

uint64_t pv_disk_image_unflushed(const struct pv_disk_image *i)
{
    uint64_t sum = 0;

    for (size_t k = 0; k < i->n_changes; k++)
        sum += i->changes[k].durable ? 0 : i->changes[k].len;
    return sum;
}

/* Copies n bytes between files; -1 with errno. */
static int copy_bytes(int from, uint64_t at, int to, uint64_t to_at, uint64_t n)
{
    cleanup_free char *buf = pv_xmalloc(COPY);

    while (n) {
        size_t part = n < COPY ? (size_t)n : COPY;
        ssize_t r = pv_pread_all(from, buf, part, (off_t)at);

        if (r >= 0 && (size_t)r < part)
            errno = EIO;
        if (r < (ssize_t)part || pv_pwrite_all(to, buf, part, (off_t)to_at) < 0)
            return -1;
        at += part, to_at += part, n -= part;
    }
    return 0;
}

/* The disk's durable content, which does not change any more; the disk gets a layer on it. */
static struct pv_layer *freeze_store(struct pv_disk *d, struct pv_err *err)
{
    struct pv_layer *content, *store;

    if (pv_layer_is_file(d->store) && !d->readonly)
        return pv_layer_flatten(d->store, d->dir, err);
    if (pv_layer_depth(d->store) >= PV_LAYER_DEPTH)
        content = pv_layer_flatten(d->store, d->dir, err);
    else
        content = pv_layer_ref(d->store);
    store = content ? pv_layer_new(d->dir, pv_layer_size(content), content, err) : NULL;
    if (!store) {
        pv_layer_unref(content);
        return NULL;
    }
    pv_layer_unref(d->store);
    d->store = store;
    return content;
}

/* The cache's changes are taken back, and made again in the disk's new layer. */
struct pv_disk_image *pv_disk_freeze(struct pv_disk *d, struct pv_err *err)
{
    struct pv_changes c;
    struct pv_disk_image *i;
    struct pv_layer *content;

    if (pv_cache_withdraw(d, &c, err) < 0)
        return NULL;
    content = freeze_store(d, err);
    if (pv_cache_adopt(d, c.v, c.n, c.log) < 0) {
        if (content) /* else *err is set */
            pv_err_sys(err, errno, "disk '%s': cannot make its unflushed writes again", d->name);
        pv_layer_unref(content);
        content = NULL;
    }
    if (!content) {
        pv_changes_fini(&c);
        return NULL;
    }
    i = pv_image_new(d->sector, content, c.v, c.n, c.log);
    i->dir = pv_xstrdup(d->dir);
    return i;
}

struct pv_layer *pv_image_view(struct pv_disk_image *i, struct pv_err *err)
{
    struct pv_layer *view;

    if (!i->n_changes)
        return i->content;
    if (i->view)
        return i->view;
    view = pv_layer_new(i->dir, pv_layer_size(i->content), i->content, err);
    for (size_t k = 0; view && k < i->n_changes; k++)
        if (pv_change_apply(&i->changes[k], i->log, view, i->changes[k].at, i->changes[k].len) < 0) {
            pv_err_sys(err, errno, "cannot write the content of a disk");
            pv_layer_unref(view);
            return NULL;
        }
    return i->view = view;
}

int pv_disk_image_read(struct pv_disk_image *i, uint64_t offset, void *to, size_t n, struct pv_err *err)
{
    uint64_t size = pv_layer_size(i->content);
    struct pv_layer *view;

    if (offset > size || n > size - offset)
        return pv_err_set(err, PV_E_USAGE, "%zu bytes at %llu are not within the disk's %llu bytes", n,
                          (unsigned long long)offset, (unsigned long long)size);
    view = pv_image_view(i, err);
    if (!view)
        return -1;
    return pv_layer_read(view, offset, to, n) < 0 ? pv_err_sys(err, errno, "cannot read a disk") : 0;
}

static uint64_t table_at(uint64_t size)
{
    return (size + 4095) / 4096 * 4096;
}

static uint64_t image_hash(const struct image_trailer *t, const struct image_change *v)
{
    return XXH3_64bits_withSeed(v, t->n_changes * sizeof(*v),
                                XXH3_64bits(t, offsetof(struct image_trailer, hash)));
}

int pv_disk_image_save(struct pv_disk_image *i, int fd, struct pv_err *err)
{
    struct image_trailer t = {.version = IMAGE_VERSION,
                              .sector = i->sector,
                              .size = pv_layer_size(i->content),
                              .n_changes = i->n_changes};
    cleanup_free struct image_change *v = pv_xcalloc(i->n_changes + 1, sizeof(*v));
    uint64_t at = table_at(t.size), data = at + i->n_changes * sizeof(*v);

    memcpy(t.magic, image_magic, sizeof(t.magic));
    if (ftruncate(fd, (off_t)at) < 0 || pv_layer_copy(i->content, fd) < 0)
        return pv_err_sys(err, errno, "cannot save a disk");
    for (size_t k = 0; k < i->n_changes; k++) {
        const struct pv_change *c = &i->changes[k];

        v[k] = (struct image_change){.kind = c->kind, .durable = c->durable, .at = c->at, .len = c->len};
        if (c->kind != PV_CHANGE_WRITE)
            continue;
        v[k].from = t.data_len;
        if (copy_bytes(i->log->fd, c->from, fd, data + t.data_len, c->len) < 0)
            return pv_err_sys(err, errno, "cannot save a disk");
        t.data_len += c->len;
    }
    t.hash = image_hash(&t, v);
    if (pv_pwrite_all(fd, v, i->n_changes * sizeof(*v), (off_t)at) < 0 ||
        pv_pwrite_all(fd, &t, sizeof(t), (off_t)(data + t.data_len)) < 0)
        return pv_err_sys(err, errno, "cannot save a disk");
    return 0;
}

/* NULL, or what is wrong with the trailer of a file of `file` bytes. */
static const char *check_trailer(const struct image_trailer *t, uint64_t file)
{
    if (memcmp(t->magic, image_magic, sizeof(t->magic)) != 0)
        return "no trailer";
    if (t->version != IMAGE_VERSION)
        return "another version";
    if ((t->sector != 512 && t->sector != 4096) || !t->size || t->size > PV_DISK_SIZE_MAX ||
        t->size % t->sector)
        return "bad size";
    if (t->n_changes > CHANGES_MAX || t->data_len > PV_DISK_SIZE_MAX ||
        table_at(t->size) + t->n_changes * sizeof(struct image_change) + t->data_len + sizeof(*t) != file)
        return "its parts do not add up to its size";
    return NULL;
}

static const char *check_change(const struct image_trailer *t, const struct image_change *c)
{
    if (c->kind > PV_CHANGE_ZERO || c->durable > 1 || !c->len || c->at > t->size || c->len > t->size - c->at)
        return "bad change";
    if (c->kind == PV_CHANGE_WRITE ? c->from > t->data_len || c->len > t->data_len - c->from : c->from != 0)
        return "bad data of a change";
    return NULL;
}

/* Reads and checks the table; NULL with *why. */
static struct pv_change *load_changes(int fd, const struct image_trailer *t, const char **why)
{
    size_t bytes = t->n_changes * sizeof(struct image_change);
    cleanup_free struct image_change *v = pv_xmalloc(bytes ? bytes : 1);
    struct pv_change *to;
    uint64_t data = table_at(t->size) + bytes;

    if (pv_pread_all(fd, v, bytes, (off_t)table_at(t->size)) != (ssize_t)bytes ||
        image_hash(t, v) != t->hash) {
        *why = "wrong checksum";
        return NULL;
    }
    to = pv_xcalloc(t->n_changes + 1, sizeof(*to));
    for (size_t k = 0; k < t->n_changes; k++) {
        *why = check_change(t, &v[k]);
        if (*why) {
            free(to);
            return NULL;
        }
        to[k] = (struct pv_change){v[k].kind, v[k].durable, v[k].at, v[k].len, data + v[k].from};
    }
    return to;
}

struct pv_disk_image *pv_disk_image_load(int fd, const char *dir, struct pv_err *err)
{
    off_t file = lseek(fd, 0, SEEK_END);
    struct image_trailer t;
    const char *why = "too short";
    struct pv_change *v = NULL;
    struct pv_blob *blob;
    struct pv_disk_image *i;
    int own;

    if (file >= (off_t)sizeof(t) &&
        pv_pread_all(fd, &t, sizeof(t), file - (off_t)sizeof(t)) == (ssize_t)sizeof(t)) {
        why = check_trailer(&t, (uint64_t)file);
        v = why ? NULL : load_changes(fd, &t, &why);
    }
    if (!v) {
        pv_err_set(err, PV_E_PROTOCOL, "the file is no saved disk: %s", why);
        return NULL;
    }
    own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0) {
        pv_err_sys(err, errno, "cannot keep a saved disk open");
        free(v);
        return NULL;
    }
    blob = pv_blob_new(own);
    i = pv_image_new(t.sector, pv_layer_file(blob, t.size), v, t.n_changes, blob);
    i->dir = pv_xstrdup(dir);
    return i;
}
