/* SPDX-License-Identifier: MIT */
/*
 * Present blocks are bits of leaves, one leaf for 32768 blocks.  A leaf is NULL (no block) or LEAF_FULL (all
 * blocks) without memory, so that zeroing a large range is cheap.  A present block of zeroes is a hole of the file.
 */
#include "disk/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/remote.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

enum { LEAF_BITS = 32768, LEAF_BYTES = LEAF_BITS / 8, COPY = 1 << 20 };

enum layer_kind { LAYER_BLOCKS, LAYER_FILE, LAYER_MAP, LAYER_REMOTE };

struct pv_layer {
    enum layer_kind kind;
    unsigned refs, depth;
    uint64_t size;
    struct pv_layer *lower;
    struct pv_blob *blob;
    struct pv_remote *remote; /* LAYER_REMOTE */
    uint8_t **leaves;         /* LAYER_BLOCKS */
    size_t n_leaves;
    struct pv_extent *extents; /* LAYER_MAP */
    size_t n_extents;
};

static uint8_t leaf_full[1];
#define LEAF_FULL leaf_full

struct pv_blob *pv_blob_new(int fd)
{
    struct pv_blob *b = pv_xcalloc(1, sizeof(*b));

    b->fd = fd;
    b->refs = 1;
    return b;
}

struct pv_blob *pv_blob_ref(struct pv_blob *b)
{
    b->refs++;
    return b;
}

void pv_blob_unref(struct pv_blob *b)
{
    if (!b || --b->refs)
        return;
    pv_close(&b->fd);
    free(b);
}

int pv_disk_tmpfile(const char *dir, struct pv_err *err)
{
    int fd = pv_temp_file(dir);

    if (fd < 0) {
        pv_err_sys(err, errno, "cannot make an unlinked file for a disk in '%s'", dir);
        pv_err_append(err, "; set TMPDIR to a directory that you can write to");
    }
    return fd;
}

static struct pv_layer *layer_alloc(enum layer_kind kind, uint64_t size, struct pv_layer *lower)
{
    struct pv_layer *l = pv_xcalloc(1, sizeof(*l));

    l->kind = kind;
    l->refs = 1;
    l->size = size;
    l->lower = lower ? pv_layer_ref(lower) : NULL;
    l->depth = lower ? lower->depth + 1 : 0;
    return l;
}

struct pv_layer *pv_layer_new(const char *dir, uint64_t size, struct pv_layer *lower, struct pv_err *err)
{
    int fd = pv_disk_tmpfile(dir, err);
    struct pv_layer *l;

    if (fd < 0)
        return NULL;
    if (ftruncate(fd, (off_t)size) < 0) {
        pv_err_sys(err, errno, "cannot make a sparse file of %llu bytes in %s", (unsigned long long)size,
                   dir);
        pv_close(&fd);
        return NULL;
    }
    l = layer_alloc(LAYER_BLOCKS, size, lower);
    l->blob = pv_blob_new(fd);
    l->n_leaves = size / PV_LAYER_BLOCK / LEAF_BITS + 1;
    l->leaves = pv_xcalloc(l->n_leaves, sizeof(*l->leaves));
    return l;
}

struct pv_layer *pv_layer_file(struct pv_blob *b, uint64_t size)
{
    struct pv_layer *l = layer_alloc(LAYER_FILE, size, NULL);

    l->blob = pv_blob_ref(b);
    return l;
}

struct pv_layer *pv_layer_remote(struct pv_remote *r)
{
    struct pv_layer *l = layer_alloc(LAYER_REMOTE, pv_remote_size(r), NULL);

    l->remote = r;
    return l;
}

struct pv_layer *pv_layer_map(struct pv_blob *b, uint64_t size, struct pv_extent *v, size_t n,
                              struct pv_layer *lower)
{
    struct pv_layer *l = layer_alloc(LAYER_MAP, size, lower);

    l->blob = pv_blob_ref(b);
    l->extents = v;
    l->n_extents = n;
    return l;
}

struct pv_layer *pv_layer_ref(struct pv_layer *l)
{
    l->refs++;
    return l;
}

static void leaf_free(uint8_t **leaf)
{
    if (*leaf != LEAF_FULL)
        free(*leaf);
    *leaf = NULL;
}

void pv_layer_unref(struct pv_layer *l)
{
    if (!l || --l->refs)
        return;
    for (size_t i = 0; i < l->n_leaves; i++)
        leaf_free(&l->leaves[i]);
    free(l->leaves);
    free(l->extents);
    pv_blob_unref(l->blob);
    pv_remote_close(l->remote);
    pv_layer_unref(l->lower);
    free(l);
}

uint64_t pv_layer_size(const struct pv_layer *l)
{
    return l->size;
}

unsigned pv_layer_depth(const struct pv_layer *l)
{
    return l->depth;
}

bool pv_layer_is_file(const struct pv_layer *l)
{
    return l->kind == LAYER_FILE || l->kind == LAYER_REMOTE;
}

static bool block_get(const struct pv_layer *l, uint64_t block)
{
    const uint8_t *leaf = l->leaves[block / LEAF_BITS];

    if (!leaf || leaf == LEAF_FULL)
        return leaf != NULL;
    return leaf[block % LEAF_BITS / 8] >> (block % 8) & 1;
}

static void block_set(struct pv_layer *l, uint64_t block, bool on)
{
    uint8_t **leaf = &l->leaves[block / LEAF_BITS], bit = (uint8_t)(1u << block % 8);

    if (block_get(l, block) == on)
        return;
    if (!*leaf || *leaf == LEAF_FULL) {
        uint8_t fill = *leaf ? 0xff : 0;

        *leaf = pv_xmalloc(LEAF_BYTES);
        memset(*leaf, fill, LEAF_BYTES);
    }
    if (on)
        (*leaf)[block % LEAF_BITS / 8] |= bit;
    else
        (*leaf)[block % LEAF_BITS / 8] &= (uint8_t)~bit;
}

/* Sets or clears the bits of [first, end); whole leaves without touching their bits. */
static void blocks_set(struct pv_layer *l, uint64_t first, uint64_t end, bool on)
{
    while (first < end) {
        if (first % LEAF_BITS == 0 && end - first >= LEAF_BITS) {
            leaf_free(&l->leaves[first / LEAF_BITS]);
            l->leaves[first / LEAF_BITS] = on ? LEAF_FULL : NULL;
            first += LEAF_BITS;
        } else {
            block_set(l, first++, on);
        }
    }
}

/* The end of the run of blocks with the state of `block`, at most `end`; skips whole leaves. */
static uint64_t blocks_run(const struct pv_layer *l, uint64_t block, uint64_t end)
{
    bool on = block_get(l, block);

    while (block < end) {
        const uint8_t *leaf = l->leaves[block / LEAF_BITS];

        if (block_get(l, block) != on)
            break;
        if (!leaf || leaf == LEAF_FULL)
            block = (block / LEAF_BITS + 1) * LEAF_BITS;
        else
            block++;
    }
    return block < end ? block : end;
}

static int file_read(int fd, uint64_t at, void *to, size_t n)
{
    ssize_t r = pv_pread_all(fd, to, n, (off_t)at);

    if (r < 0)
        return -1;
    memset((char *)to + r, 0, n - (size_t)r);
    return 0;
}

/* Bytes of the lower layer, or zeroes. */
static int lower_read(const struct pv_layer *l, uint64_t at, void *to, size_t n)
{
    if (l->lower)
        return pv_layer_read(l->lower, at, to, n);
    memset(to, 0, n);
    return 0;
}

/* Index of the first extent that ends behind `at`. */
static size_t extent_find(const struct pv_layer *l, uint64_t at)
{
    size_t lo = 0, hi = l->n_extents;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (l->extents[mid].at + l->extents[mid].len <= at)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int map_read(const struct pv_layer *l, uint64_t at, char *to, size_t n)
{
    size_t i = extent_find(l, at);

    while (n) {
        const struct pv_extent *e = i < l->n_extents ? &l->extents[i] : NULL;
        size_t part = n;

        if (!e || at < e->at) {
            if (e && e->at - at < part)
                part = (size_t)(e->at - at);
            if (lower_read(l, at, to, part) < 0)
                return -1;
        } else {
            if (e->at + e->len - at < part)
                part = (size_t)(e->at + e->len - at);
            if (e->from == PV_EXTENT_ZERO)
                memset(to, 0, part);
            else if (file_read(l->blob->fd, e->from + (at - e->at), to, part) < 0)
                return -1;
            i++;
        }
        at += part, to += part, n -= part;
    }
    return 0;
}

int pv_layer_read(const struct pv_layer *l, uint64_t at, void *to, size_t n)
{
    char *p = to;

    if (l->kind == LAYER_FILE)
        return file_read(l->blob->fd, at, to, n);
    if (l->kind == LAYER_REMOTE)
        return pv_remote_read(l->remote, at, to, n);
    if (l->kind == LAYER_MAP)
        return map_read(l, at, to, n);
    while (n) {
        uint64_t block = at / PV_LAYER_BLOCK, last = (at + n - 1) / PV_LAYER_BLOCK + 1;
        uint64_t end = blocks_run(l, block, last) * PV_LAYER_BLOCK;
        size_t part = end - at < n ? (size_t)(end - at) : n;

        if ((block_get(l, block) ? file_read(l->blob->fd, at, p, part) : lower_read(l, at, p, part)) < 0)
            return -1;
        at += part, p += part, n -= part;
    }
    return 0;
}

int pv_layer_fd(const struct pv_layer *l, uint64_t at, size_t n)
{
    uint64_t block = at / PV_LAYER_BLOCK, last = (at + n - 1) / PV_LAYER_BLOCK + 1;

    for (; l && l->kind == LAYER_BLOCKS; l = l->lower) {
        if (blocks_run(l, block, last) < last)
            return -1;
        if (block_get(l, block))
            return l->blob->fd;
    }
    return l && l->kind == LAYER_FILE ? l->blob->fd : -1;
}

/* Makes the block present, with the lower layer's bytes. */
static int block_own(struct pv_layer *l, uint64_t block)
{
    char bytes[PV_LAYER_BLOCK];
    uint64_t at = block * PV_LAYER_BLOCK;
    size_t n = l->size - at < sizeof(bytes) ? (size_t)(l->size - at) : sizeof(bytes);

    if (block_get(l, block))
        return 0;
    if (l->lower &&
        (pv_layer_read(l->lower, at, bytes, n) < 0 || pv_pwrite_all(l->blob->fd, bytes, n, (off_t)at) < 0))
        return -1;
    block_set(l, block, true);
    return 0;
}

/* Owns the blocks at both ends of the range as far as it covers them in part only. */
static int edges_own(struct pv_layer *l, uint64_t at, uint64_t n)
{
    uint64_t end = at + n;

    if (at % PV_LAYER_BLOCK && block_own(l, at / PV_LAYER_BLOCK) < 0)
        return -1;
    if (end % PV_LAYER_BLOCK && end != l->size && block_own(l, end / PV_LAYER_BLOCK) < 0)
        return -1;
    return 0;
}

int pv_layer_write(struct pv_layer *l, uint64_t at, const void *data, size_t n)
{
    if (!n)
        return 0;
    if (l->kind == LAYER_FILE)
        return pv_pwrite_all(l->blob->fd, data, n, (off_t)at);
    if (l->kind == LAYER_REMOTE)
        return pv_remote_write(l->remote, at, data, n);
    if (edges_own(l, at, n) < 0 || pv_pwrite_all(l->blob->fd, data, n, (off_t)at) < 0)
        return -1;
    blocks_set(l, at / PV_LAYER_BLOCK, (at + n - 1) / PV_LAYER_BLOCK + 1, true);
    return 0;
}

/* Zeroes of a file: a hole, or written where the file system makes none. */
static int file_zero(int fd, uint64_t at, uint64_t n)
{
    static const char zeroes[65536];

    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)n) == 0)
        return 0;
    if (errno != EOPNOTSUPP)
        return -1;
    while (n) {
        size_t part = n < sizeof(zeroes) ? (size_t)n : sizeof(zeroes);

        if (pv_pwrite_all(fd, zeroes, part, (off_t)at) < 0)
            return -1;
        at += part, n -= part;
    }
    return 0;
}

int pv_layer_zero(struct pv_layer *l, uint64_t at, uint64_t n)
{
    if (!n)
        return 0;
    if (l->kind == LAYER_FILE)
        return file_zero(l->blob->fd, at, n);
    if (l->kind == LAYER_REMOTE)
        return pv_remote_zero(l->remote, at, n);
    if (edges_own(l, at, n) < 0 || file_zero(l->blob->fd, at, n) < 0)
        return -1;
    if (l->lower) {
        blocks_set(l, at / PV_LAYER_BLOCK, (at + n - 1) / PV_LAYER_BLOCK + 1, true);
    } else {
        uint64_t end = at + n == l->size ? (at + n - 1) / PV_LAYER_BLOCK + 1 : (at + n) / PV_LAYER_BLOCK;
        uint64_t first = (at + PV_LAYER_BLOCK - 1) / PV_LAYER_BLOCK;

        if (first < end)
            blocks_set(l, first, end, false);
    }
    return 0;
}

int pv_layer_sync(struct pv_layer *l)
{
    return l->kind == LAYER_REMOTE ? pv_remote_flush(l->remote) : 0;
}

bool pv_layer_own(const struct pv_layer *l, uint64_t at, uint64_t end, uint64_t *next)
{
    uint64_t last = (end + PV_LAYER_BLOCK - 1) / PV_LAYER_BLOCK, block = at / PV_LAYER_BLOCK;
    bool own = true;

    if (l->kind == LAYER_REMOTE) {
        *next = end;
    } else if (l->kind == LAYER_FILE) {
        off_t data = lseek(l->blob->fd, (off_t)at, SEEK_DATA);

        own = data == (off_t)at || (data < 0 && errno != ENXIO);
        if (own)
            data = lseek(l->blob->fd, (off_t)at, SEEK_HOLE);
        *next = data < 0 ? end : (uint64_t)data;
    } else {
        own = block_get(l, block);
        *next = blocks_run(l, block, last) * PV_LAYER_BLOCK;
    }
    *next = *next < end ? *next : end;
    return own;
}

int pv_layer_forget(struct pv_layer *l, uint64_t at, uint64_t n)
{
    uint64_t first = at / PV_LAYER_BLOCK, end = (at + n + PV_LAYER_BLOCK - 1) / PV_LAYER_BLOCK;

    if (l->kind == LAYER_FILE)
        return file_zero(l->blob->fd, at, n);
    if (file_zero(l->blob->fd, first * PV_LAYER_BLOCK, (end - first) * PV_LAYER_BLOCK) < 0)
        return -1;
    blocks_set(l, first, end, false);
    return 0;
}

static bool file_data(const struct pv_layer *l, uint64_t at, uint64_t *start, uint64_t *end)
{
    off_t from = lseek(l->blob->fd, (off_t)at, SEEK_DATA), to;

    if (from < 0 && errno != ENXIO)
        from = (off_t)at;
    if (from < 0 || (uint64_t)from >= l->size)
        return false;
    to = lseek(l->blob->fd, from, SEEK_HOLE);
    *start = (uint64_t)from / PV_LAYER_BLOCK * PV_LAYER_BLOCK;
    *end = to < 0 || (uint64_t)to > l->size ? l->size : (uint64_t)to;
    return true;
}

/* The next range of the layer's own data. */
static bool own_data(const struct pv_layer *l, uint64_t at, uint64_t *start, uint64_t *end)
{
    uint64_t block, last = (l->size + PV_LAYER_BLOCK - 1) / PV_LAYER_BLOCK;

    if (l->kind == LAYER_REMOTE) {
        *start = at;
        *end = l->size;
        return true;
    }
    if (l->kind == LAYER_FILE)
        return file_data(l, at, start, end);
    if (l->kind == LAYER_MAP) {
        for (size_t i = extent_find(l, at); i < l->n_extents; i++)
            if (l->extents[i].from != PV_EXTENT_ZERO) {
                *start = l->extents[i].at;
                *end = *start + l->extents[i].len;
                return true;
            }
        return false;
    }
    block = at / PV_LAYER_BLOCK;
    if (!block_get(l, block))
        block = blocks_run(l, block, last);
    if (block >= last)
        return false;
    *start = block * PV_LAYER_BLOCK;
    *end = blocks_run(l, block, last) * PV_LAYER_BLOCK;
    return true;
}

bool pv_layer_data(const struct pv_layer *l, uint64_t at, uint64_t *start, uint64_t *end)
{
    bool found = false;

    for (; l && at < l->size; l = l->lower) {
        uint64_t s, e;

        if (!own_data(l, at, &s, &e))
            continue;
        s = s < at ? at : s;
        if (!found || s < *start)
            *start = s, *end = e;
        found = true;
    }
    if (!found)
        return false;
    *start = *start / PV_LAYER_BLOCK * PV_LAYER_BLOCK;
    *start = *start < at ? at : *start;
    *end = (*end + PV_LAYER_BLOCK - 1) / PV_LAYER_BLOCK * PV_LAYER_BLOCK;
    return true;
}

static bool is_zero(const char *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Calls put for each run of blocks that are not zero. */
static int each_data(const struct pv_layer *l, int (*put)(void *arg, uint64_t at, const char *p, size_t n),
                     void *arg)
{
    cleanup_free char *buf = pv_xmalloc(COPY);
    uint64_t at = 0, start, end;

    while (at < l->size && pv_layer_data(l, at, &start, &end)) {
        end = end < l->size ? end : l->size;
        for (at = start; at < end;) {
            size_t n = end - at < COPY ? (size_t)(end - at) : COPY, i = 0;

            if (pv_layer_read(l, at, buf, n) < 0)
                return -1;
            while (i < n) {
                size_t from = i, part;

                for (; i < n; i += part) {
                    part = n - i < PV_LAYER_BLOCK ? n - i : PV_LAYER_BLOCK;
                    if (is_zero(buf + i, part))
                        break;
                }
                if (i > from && put(arg, at + from, buf + from, i - from) < 0)
                    return -1;
                if (i < n)
                    i += n - i < PV_LAYER_BLOCK ? n - i : PV_LAYER_BLOCK;
            }
            at += n;
        }
    }
    return 0;
}

static int put_file(void *arg, uint64_t at, const char *p, size_t n)
{
    return pv_pwrite_all(*(int *)arg, p, n, (off_t)at);
}

static int put_layer(void *arg, uint64_t at, const char *p, size_t n)
{
    return pv_layer_write(arg, at, p, n);
}

int pv_layer_copy(const struct pv_layer *l, int fd)
{
    return each_data(l, put_file, &fd);
}

struct pv_layer *pv_layer_flatten(const struct pv_layer *l, const char *dir, struct pv_err *err)
{
    struct pv_layer *to = pv_layer_new(dir, l->size, NULL, err);

    if (to && each_data(l, put_layer, to) < 0) {
        pv_err_sys(err, errno, "cannot copy the content of a disk");
        pv_layer_unref(to);
        return NULL;
    }
    return to;
}
