/* SPDX-License-Identifier: MIT */
/*
 * The limit of a boot or reboot. Time in which the host has no CPU for the VM does not count, up to seven times the
 * limit, so that a crowded host makes no boot fail that is right.  Private to the room.
 */
#ifndef PV_GUEST_PATIENCE_H
#define PV_GUEST_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

struct pv_err;
struct pv_guest;

struct pv_patience {
    int64_t deadline; /* pv_now(), or PV_FOREVER */
    int64_t limit_ns; /* 0: none */
    bool told;
    int64_t given_ns;   /* more than the limit */
    int64_t starved_ns; /* of the file's process and the VM, when it began */
};

/* limit_ns from now on, 0: no limit. For a VM that runs, or is started later. */
struct pv_patience pv_patience_begin(const struct pv_guest *g, int64_t limit_ns);

/*
 * After a wait until p->deadline failed with *why. True: it ended at the deadline and the host owes the VM time: p->deadline
 * is later now, *why is empty, and the wait goes on; the user has a notice where it is much. Does not block.
 */
bool pv_patience_more(struct pv_guest *g, struct pv_patience *p, struct pv_err *why);

#endif
