/* SPDX-License-Identifier: MIT */
/*
 * A frozen disk: its durable content and the writes that were unflushed.  Disks that start from it (pv_disk_opts)
 * share the content and have layers of their own.  Reference-counted; nothing changes an image.
 */
#ifndef PV_DISK_IMAGE_H
#define PV_DISK_IMAGE_H

#include <stddef.h>
#include <stdint.h>

struct pv_disk;
struct pv_disk_image;
struct pv_err;

/* Freezes the disk as it is; the disk goes on in a new layer.  A disk in a file of the host is copied. */
struct pv_disk_image *pv_disk_freeze(struct pv_disk *d, struct pv_err *err);
struct pv_disk_image *pv_disk_image_ref(struct pv_disk_image *i);
void pv_disk_image_unref(struct pv_disk_image *i); /* NULL is fine */

uint64_t pv_disk_image_size(const struct pv_disk_image *i);
unsigned pv_disk_image_sector(const struct pv_disk_image *i);
uint64_t pv_disk_image_unflushed(const struct pv_disk_image *i);
/* Reads what a guest would.  -1: class usage for a range outside of it, else host. */
int pv_disk_image_read(struct pv_disk_image *i, uint64_t offset, void *to, size_t n, struct pv_err *err);

/*
 * A saved image is one sparse file: the content at offset 0, then the unflushed writes.  save writes to fd (empty, writable) and blocks.  load reads a file that anything may have
 * changed: all fields are checked, class protocol.  The image keeps a duplicate of fd, which nobody may change
 * any more; `dir` is for unlinked files.
 */
int pv_disk_image_save(struct pv_disk_image *i, int fd, struct pv_err *err);
struct pv_disk_image *pv_disk_image_load(int fd, const char *dir, struct pv_err *err);

#endif
