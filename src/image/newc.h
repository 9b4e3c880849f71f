/* SPDX-License-Identifier: MIT */
/*
 * The shim archive as it is written: newc entries by libarchive, owner root.  Names are bytes, not text.
 * Regular files are announced with their size and then filled with exactly that many bytes.
 */
#ifndef PV_IMAGE_NEWC_H
#define PV_IMAGE_NEWC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct archive;
struct pv_err;

struct pv_newc {
    struct archive *a;
    int out;      /* borrowed */
    bool discard; /* given up: what libarchive still writes when it is closed goes nowhere */
};

/* Writes from the position of `out` on. `w` must stay where it is until pv_newc_fini. */
int pv_newc_init(struct pv_newc *w, int out, struct pv_err *err);
/* Writes the trailer. Without it the archive is not complete. */
int pv_newc_finish(struct pv_newc *w, struct pv_err *err);
/* Frees; also what was not finished. */
void pv_newc_fini(struct pv_newc *w);
#define cleanup_newc __attribute__((cleanup(pv_newc_fini)))

/* `path` with its leading '/'; `mode` are permission bits only. */
int pv_newc_dir(struct pv_newc *w, const char *path, unsigned mode, time_t mtime, struct pv_err *err);
int pv_newc_symlink(struct pv_newc *w, const char *path, const char *target, time_t mtime,
                    struct pv_err *err);
int pv_newc_chardev(struct pv_newc *w, const char *path, unsigned mode, unsigned major, unsigned minor,
                    struct pv_err *err);
/* A regular file of `size` bytes; then pv_newc_data until they are all there. */
int pv_newc_file(struct pv_newc *w, const char *path, unsigned mode, time_t mtime, uint64_t size,
                 struct pv_err *err);
int pv_newc_data(struct pv_newc *w, const void *data, size_t n, struct pv_err *err);
/* Both at once. */
int pv_newc_blob(struct pv_newc *w, const char *path, unsigned mode, const void *data, size_t n,
                 struct pv_err *err);
/*
 * A regular file with the content of fd, which stands at its start.  `host` names it in errors.  A file
 * that becomes shorter meanwhile is an error; of one that grows only the first part is taken.
 */
int pv_newc_fd(struct pv_newc *w, const char *path, unsigned mode, int fd, const char *host,
               struct pv_err *err);

#endif
