/* SPDX-License-Identifier: MIT */
/* The other files that a qcow2 image makes QEMU open: its backing chain and data file. */
#ifndef PV_VM_QCOW2_H
#define PV_VM_QCOW2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_err;

enum {
    PV_QCOW2_HEAD = 65536
}; /* the header, its extensions and the backing file's name are within so many bytes */

struct pv_qcow2 {
    uint64_t size;           /* as the guest sees it */
    bool data_file;          /* its content is in another file */
    char backing[1024];      /* "": none */
    char backing_format[16]; /* "": the header does not say it */
};

/*
 * Decodes the first n bytes of an image (pure; docs/interop/qcow2.txt in QEMU's sources).  -1: class usage, "is
 * no qcow2 image", "...".  Only what the struct holds is checked: QEMU checks the rest.
 */
int pv_qcow2_parse(const void *head, size_t n, struct pv_qcow2 *q, struct pv_err *err);

/*
 * Follows the image's backing chain and calls `each` (may be NULL) for each file of it, the image first.  An
 * image with a backing file is refused unless `backing`, one with a data file always: a file that someone else
 * has written must not choose what QEMU opens.  Refused too: a backing file without a format in the header
 * (QEMU would probe what a guest may have written), one that is no plain path, chains of more than 32 images.
 * format: "raw" or "qcow2".  Class usage, with the path; blocks for reading the headers.
 */
int pv_disk_chain(const char *path, const char *format, bool backing,
                  void (*each)(const char *path, void *arg), void *arg, struct pv_err *err);

#endif
