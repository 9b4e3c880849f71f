/* SPDX-License-Identifier: MIT */
/*
 * A writer of newc archives.  Entries are owned by root unless the caller has set uid and gid.  Names are bytes, not text.
 *
 *     cleanup_newc struct pv_newc w = {0};
 *
 *     pv_newc_init(&w, memfd);
 *     if (pv_newc_dir(&w, "/etc", 0755, 0, err) < 0 ||
 *         pv_newc_bytes(&w, "/etc/hostname", 0644, "vm", 2, err) < 0)
 *         return -1;
 *     return pv_newc_finish(&w, err);
 *
 * All functions block on `out` only and return -1 with class host, or usage for a path or size that the
 * kernel would not unpack.
 */
#ifndef PV_IMAGE_NEWC_H
#define PV_IMAGE_NEWC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "util/mem.h"
#include "wire/sum.h"

struct pv_err;

struct pv_newc {
    int out;                /* borrowed */
    uint32_t uid, gid;      /* of the entries that follow */
    uint32_t left;          /* bytes of the last entry's content that are still to be written */
    unsigned pad;           /* zeros behind that content */
    struct pv_buf sums;     /* a record of each entry, as in PV_BOOT_SUMS (wire/proto.h) */
    size_t record;          /* offset of the last record */
    struct pv_wire_sum sum; /* of its entry */
};

/* Begins at the position of `out`. */
void pv_newc_init(struct pv_newc *w, int out);
/* Writes the trailer, which completes the archive. */
int pv_newc_finish(struct pv_newc *w, struct pv_err *err);
/* Writes PV_BOOT_SUMS: the records of all entries so far, and those of an archive that will follow (NULL: none). */
int pv_newc_sums(struct pv_newc *w, const struct pv_newc *next, struct pv_err *err);
/* Frees the writer, finished or not. */
void pv_newc_fini(struct pv_newc *w);
#define cleanup_newc __attribute__((cleanup(pv_newc_fini)))

/* In all of these `path` has its leading '/', and `mode` is permission bits only. */
int pv_newc_dir(struct pv_newc *w, const char *path, unsigned mode, time_t mtime, struct pv_err *err);
int pv_newc_symlink(struct pv_newc *w, const char *path, const char *target, time_t mtime,
                    struct pv_err *err);
int pv_newc_chardev(struct pv_newc *w, const char *path, unsigned mode, unsigned major, unsigned minor,
                    struct pv_err *err);
/* A regular file of `size` bytes, which the caller then writes with pv_newc_data. */
int pv_newc_file(struct pv_newc *w, const char *path, unsigned mode, time_t mtime, uint64_t size,
                 struct pv_err *err);
int pv_newc_data(struct pv_newc *w, const void *data, size_t n, struct pv_err *err);
/* A regular file with n bytes of memory as its content. */
int pv_newc_bytes(struct pv_newc *w, const char *path, unsigned mode, const void *data, size_t n,
                  struct pv_err *err);
/*
 * A regular file with the content of fd, which is at offset 0.  `host` is its name in messages.  -1, class
 * usage, if the file becomes shorter meanwhile; if it grows, the first st_size bytes are written.
 */
int pv_newc_fd(struct pv_newc *w, const char *path, unsigned mode, int fd, const char *host,
               struct pv_err *err);

#endif
