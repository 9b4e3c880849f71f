/* SPDX-License-Identifier: MIT */
/* The choice of KVM, and of how QEMU emulates the CPUs of a machine without it.  Private to the room. */
#ifndef PV_GUEST_EMULATION_H
#define PV_GUEST_EMULATION_H

#include <stdbool.h>

#include "config/config.h"

struct pv_accel_probe;
struct pv_machine;

/* Whether a VM runs under KVM: who asks for it gets it where it works at all, else it has to be fast as well. */
bool pv_takes_kvm(enum pv_accel want, const struct pv_accel_probe *probe);

/*
 * True when software emulation runs all its vCPUs in one thread: unless the profile wants one for each, because QEMU
 * loses changes of code then.  A store to a page with translated blocks first drops them (notdirty_write of QEMU's
 * accel/tcg/cputlb.c) and then writes; another vCPU can make a block of the old bytes in between, which stays.  Until 8.1
 * the page was not locked either while a block was made of it, so it was likelier.  A kernel patches code through an
 * int3 (static keys, ftrace, kprobes, modules, BPF); the vCPU whose block kept the int3 takes it for ever (Linux 6.1) or
 * panics (6.12, seen with QEMU 10.0).  False with one vCPU, which is safe.
 */
bool pv_emulation_one_thread(const struct pv_machine *m);
/*
 * True when the guest's kernel must not see cmpxchg16b: this QEMU emulates it wrongly (pv_qemu_garbles_flags), and
 * the kernel, Linux 6.5 or later, has code that stumbles over it.  An older one keeps the feature, which user space
 * built for x86-64-v2 asks for.  release NULL: unknown, taken for a new one.
 */
bool pv_emulation_garbles_flags(const struct pv_machine *m, const char *release);
/* True when the profile wants a thread for each of several vCPUs, which loses changes of code. */
bool pv_emulation_is_lossy(const struct pv_machine *m);

#endif
