/* SPDX-License-Identifier: MIT */
/* The choice of how QEMU emulates the CPUs of a machine.  Private to the room. */
#ifndef PV_GUEST_EMULATION_H
#define PV_GUEST_EMULATION_H

#include <stdbool.h>

struct pv_machine;

/*
 * True when software emulation has to run all its vCPUs in one thread: the profile says so, or leaves it open
 * and this QEMU loses changes of code otherwise (pv_qemu_loses_patches).  False with one vCPU, which is safe.
 * Asks QEMU for its version once per process.
 */
bool pv_emulation_one_thread(const struct pv_machine *m);
/* True when the profile wants a thread for each of several vCPUs although this QEMU loses changes of code. */
bool pv_emulation_is_lossy(const struct pv_machine *m);

#endif
