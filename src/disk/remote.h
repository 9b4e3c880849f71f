/* SPDX-License-Identifier: MIT */
/*
 * The content of an image that this process does not parse (qcow2, backing chains): a qemu-storage-daemon has it
 * open, and this is its NBD client.  Calls block for the daemon's file I/O, at most PV_REMOTE_SECONDS; after a failure
 * all calls fail with EIO.  The daemon dies with this process.
 */
#ifndef PV_DISK_REMOTE_H
#define PV_DISK_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PV_REMOTE_SECONDS = 60 };

struct pv_err;
struct pv_remote;

/*
 * Opens the image; `dir` gets a socket, which is unlinked at once.  NULL: class missing without a
 * qemu-storage-daemon, usage for an image that it cannot open, with its words; else host.
 */
struct pv_remote *pv_remote_open(const char *dir, const char *path, const char *format, bool write,
                                 struct pv_err *err);
/* Flushes, ends the daemon and reaps it.  NULL is fine. */
void pv_remote_close(struct pv_remote *r);
uint64_t pv_remote_size(const struct pv_remote *r);
/* -1 with errno. */
int pv_remote_read(struct pv_remote *r, uint64_t at, void *to, size_t n);
int pv_remote_write(struct pv_remote *r, uint64_t at, const void *data, size_t n);
int pv_remote_zero(struct pv_remote *r, uint64_t at, uint64_t n);
int pv_remote_flush(struct pv_remote *r);

#endif
