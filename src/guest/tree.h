/* SPDX-License-Identifier: MIT */
/* The limit that push and pull share, and the destination of a pull on the host's disk. */
#ifndef PV_GUEST_TREE_H
#define PV_GUEST_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/proto.h"

struct pv_err;

enum { PV_TREE_DEPTH = 256 }; /* most directories inside each other, the agent's limit as well */

/*
 * Where a pull writes.  Everything is made relative to descriptors of directories that were opened without
 * following links, so that nothing which the guest sends, nor a symbolic link that was there, leads out of
 * the destination.  What is in the way of a file or link is unlinked, never written through; a directory that
 * is there keeps its mode and is filled.
 *
 * Errors: class protocol for what a guest must not send, host (with the path) for the disk's, guest for more
 * than the limits.
 */
struct pv_dest {
    const char *path;       /* the destination, as the caller named it */
    bool single;            /* it is a file or link: no entry can follow */
    uint64_t entries, size; /* so far: all entries, skipped ones too; bytes of files, without holes */
    uint64_t max_entries, max_size;
    mode_t mask;            /* the mode bits that are kept */
    char name[PV_PATH_MAX]; /* of the innermost open directory */
    struct {
        int fd;
        size_t len;   /* of its name */
        int32_t mode; /* set at the end of the pull; -1: an existing directory keeps its mode */
    } dir[PV_TREE_DEPTH];
    int depth;
    int fd; /* the current file, else -1 */
    mode_t file_mode;
    uint64_t at;            /* where its next byte goes */
    bool sparse;            /* it ends in a hole */
    char file[PV_PATH_MAX]; /* its name */
};

/* path is borrowed.  Reads the process's umask. */
void pv_dest_init(struct pv_dest *d, const char *path, uint64_t max_entries, uint64_t max_size);
/* Closes; modes that were not set yet stay strict. */
void pv_dest_fini(struct pv_dest *d);

/*
 * name "" is the destination itself and comes first, exactly once.  Mode bits 06000 and those of the umask are
 * dropped.  More entries than max_entries are an error of class guest.
 */
int pv_dest_entry(struct pv_dest *d, unsigned kind, uint32_t mode, const char *name, const char *target,
                  struct pv_err *err);
int pv_dest_data(struct pv_dest *d, const void *data, size_t n, struct pv_err *err);
int pv_dest_hole(struct pv_dest *d, uint64_t n, struct pv_err *err);
/*
 * An entry that the guest does not send.  When it is the current file, which could not be read to its end,
 * the file is removed.
 */
int pv_dest_skipped(struct pv_dest *d, const char *name, struct pv_err *err);
/* After the last entry: completes the current file and the open directories. */
int pv_dest_end(struct pv_dest *d, struct pv_err *err);

/* The name without control bytes, cut to 255 bytes. */
const char *pv_dest_show(const char *name, char out[static 256]);

#endif
