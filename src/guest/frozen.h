/* SPDX-License-Identifier: MIT */
/* The inside of a snapshot: snapshot.c makes it, resume.c starts from it. Private to guest. */
#ifndef PV_GUEST_FROZEN_H
#define PV_GUEST_FROZEN_H

#include "guest/machine.h"
#include "guest/snapshot.h"
#include "vm/dirty.h"

struct pv_snapshot {
    unsigned refs;
    struct pv_machine *machine; /* ours; its disks as they are to begin with */
    int memory;                 /* whole, but for: */
    struct pv_dirty pages;      /* what was changed of it */
    int state;
    unsigned n_resumed; /* how often a guest was resumed from it, or put back */
};

/* Takes the machine; no memory and no state yet. */
struct pv_snapshot *pv_snapshot_new(struct pv_machine *m);

#endif
