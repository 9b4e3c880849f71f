/* SPDX-License-Identifier: MIT */
/* The saved state that a snapshot is: snapshot.c makes it, resume.c starts from it.  Private to the room. */
#ifndef PV_GUEST_SAVED_H
#define PV_GUEST_SAVED_H

#include <stdbool.h>
#include <sys/stat.h>

#include "guest/nic.h"
#include "guest/snapshot.h"
#include "vm/dirty.h"

struct pv_machine;

struct pv_snapshot {
    unsigned refs;
    struct pv_machine *machine; /* ours; its disks as an instance begins with them */
    int memory;                 /* the memory file, which lacks: */
    struct pv_dirty dirty;
    int vmstate;
    struct pv_guest_nic nics[PV_VM_NICS_MAX];
    struct stat loaded; /* of a memory file in the fixture cache; st_size 0: it is a sealed memfd */
    unsigned n_resumed; /* how often an instance was made from it */
};

/* Takes the machine; no memory and no vmstate yet. */
struct pv_snapshot *pv_snapshot_new(struct pv_machine *m);

/*
 * True when a memory file of the fixture cache was written to since it was loaded.  (Its removal from the cache
 * changes the ctime, too; the mtime and the size decide then.)
 */
bool pv_snapshot_memory_changed(const struct pv_snapshot *s);

#endif
