/* SPDX-License-Identifier: MIT */
/*
 * The file of a saved vmstate: a stream of QEMU and a record of ours behind its end, where QEMU does not read.
 * Pure.  Private to vm.
 *
 * The stream of a whole migration begins with a head (configuration, memory that is no shared file, such as
 * ROMs), which is different in each version of QEMU and is not parsed here.
 */
#ifndef PV_VM_VMSTATE_H
#define PV_VM_VMSTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_buf;
struct pv_err;

enum { PV_VMSTATE_CAPABILITY_SIZE = 24 };

struct pv_vmstate_record {
    char magic[8];
    char capability[PV_VMSTATE_CAPABILITY_SIZE]; /* that leaves out shared memory; "": all memory is there */
    uint64_t head;       /* bytes in front of the first device; 0: unknown, all memory is there */
    uint8_t by_file_uri; /* QEMU takes "file:" for a file, not "fd:" */
    uint8_t zero[7];
};
_Static_assert(sizeof(struct pv_vmstate_record) == 48, "no padding");

/* Writes the record behind the last byte of fd.  Class host. */
int pv_vmstate_append(int fd, const struct pv_vmstate_record *r, struct pv_err *err);
/* Reads and checks the record at the end of fd.  Class host. */
int pv_vmstate_read(int fd, struct pv_vmstate_record *r, struct pv_err *err);

/*
 * Length of a stream's head: the place where `devices`, a stream of the same machine's devices alone
 * (xen-save-devices-state), goes on behind its own 8 bytes of magic and version.  0: not found, or not once.
 */
size_t pv_vmstate_head(const struct pv_buf *stream, const struct pv_buf *devices);
/* Adds to *out a stream of that head and those devices.  False when `devices` is none of QEMU's streams. */
bool pv_vmstate_join(const struct pv_buf *head, const struct pv_buf *devices, struct pv_buf *out);

#endif
