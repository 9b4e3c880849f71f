/* SPDX-License-Identifier: MIT */
/*
 * Cores of a guest (vm/core.h), where the environment has a place for them: of a guest that dies by a panic, or stands
 * still, without being asked for; of one that runs on, by pv_guest_core.
 */
#ifndef PV_GUEST_CORE_H
#define PV_GUEST_CORE_H

#include <stdbool.h>
#include <stdint.h>

struct pv_guest;

/* Asks for a core and returns at once; nothing when the guest has no instance.  Observers may call it. */
void pv_guest_core(const struct pv_guest *g);
/* Connects the guest's instance with the environment; private to the room. */
void pv_guest_core_connect(struct pv_guest *g);
/*
 * Waits (runs the loop) until the core is written that is being written; it has a deadline of its own.  False: none
 * was.  *deadline, of the caller's call, gets the time back; NULL: it has none.  Private to the room.
 */
bool pv_guest_core_wait(struct pv_guest *g, int64_t *deadline);

#endif
