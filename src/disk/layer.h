/* SPDX-License-Identifier: MIT */
/*
 * Content of a disk in layers.  A layer keeps its own blocks in an unlinked sparse file and takes all others from
 * the layer below; the lowest one is zeroes, a file of the host, or a map of ranges of other data.
 * Reference-counted; a layer with a layer above it must not change.  Functions return -1 with errno.
 */
#ifndef PV_DISK_LAYER_H
#define PV_DISK_LAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PV_LAYER_BLOCK = 4096, PV_LAYER_DEPTH = 12 };

struct pv_err;
struct pv_layer;
struct pv_remote;

/* A file's bytes that several layers use. */
struct pv_blob {
    int fd;
    unsigned refs;
};

struct pv_blob *pv_blob_new(int fd); /* takes fd */
struct pv_blob *pv_blob_ref(struct pv_blob *b);
void pv_blob_unref(struct pv_blob *b);

/* A range of a map: bytes of the blob, or zeroes. */
struct pv_extent {
    uint64_t at, len;
    uint64_t from; /* in the blob; PV_EXTENT_ZERO: zeroes */
};
#define PV_EXTENT_ZERO UINT64_MAX

/* An unlinked file in dir; -1: class host. */
int pv_disk_tmpfile(const char *dir, struct pv_err *err);

/* An empty layer; takes a reference to lower (NULL: zeroes).  NULL: class host. */
struct pv_layer *pv_layer_new(const char *dir, uint64_t size, struct pv_layer *lower, struct pv_err *err);
/* The bytes of a file, which writes change. */
struct pv_layer *pv_layer_file(struct pv_blob *b, uint64_t size);
/* An image that a daemon has open; takes r. */
struct pv_layer *pv_layer_remote(struct pv_remote *r);
/* Ranges of b's bytes over lower: sorted, without overlap; takes the array. */
struct pv_layer *pv_layer_map(struct pv_blob *b, uint64_t size, struct pv_extent *v, size_t n,
                              struct pv_layer *lower);
struct pv_layer *pv_layer_ref(struct pv_layer *l);
void pv_layer_unref(struct pv_layer *l); /* NULL is fine */

uint64_t pv_layer_size(const struct pv_layer *l);
unsigned pv_layer_depth(const struct pv_layer *l);
/* A file or an image of the host, with any content. */
bool pv_layer_is_file(const struct pv_layer *l);
int pv_layer_read(const struct pv_layer *l, uint64_t at, void *to, size_t n);
int pv_layer_write(struct pv_layer *l, uint64_t at, const void *data, size_t n);
int pv_layer_zero(struct pv_layer *l, uint64_t at, uint64_t n);
/* Brings the writes into the image, where they stay when this process is killed; other layers: nothing. */
int pv_layer_sync(struct pv_layer *l);
/*
 * True if `at` is in a block of the layer's own; *next: where that changes, at most `end`.  A file of the host owns
 * its data, and its holes are not its own.
 */
bool pv_layer_own(const struct pv_layer *l, uint64_t at, uint64_t end, uint64_t *next);
/* The blocks that [at, at + n) touches are the layer's own no more; a file of the host gets zeroes in the range. */
int pv_layer_forget(struct pv_layer *l, uint64_t at, uint64_t n);
/* The file that has the n bytes at `at`, at the same offset, until the layer changes; -1: no single one has them. */
int pv_layer_fd(const struct pv_layer *l, uint64_t at, size_t n);
/*
 * The next range at or behind `at` that may hold other bytes than zeroes: false: none.  Ranges are of whole blocks,
 * cut at the end.
 */
bool pv_layer_data(const struct pv_layer *l, uint64_t at, uint64_t *start, uint64_t *end);
/* Copies all data into fd, at the same offsets, without its zero blocks. */
int pv_layer_copy(const struct pv_layer *l, int fd);
/* A layer without a lower one, of the same content. */
struct pv_layer *pv_layer_flatten(const struct pv_layer *l, const char *dir, struct pv_err *err);

#endif
