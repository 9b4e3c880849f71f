/* SPDX-License-Identifier: MIT */
/*
 * The directories of the host that a machine has, and the virtiofsd of each that is shared by virtiofs.  Part of an
 * instance.  Zero-initialised: none.  Private to the room.
 */
#ifndef PV_GUEST_SHARES_H
#define PV_GUEST_SHARES_H

#include "guest/guest.h"
#include "vm/share.h"

struct pv_err;
struct pv_loop;
struct pv_machine;
struct pv_profile;
struct pv_virtiofsd;
struct pv_vm;

struct pv_guest_shares {
    struct pv_virtiofsd *daemons[PV_VM_SHARES_MAX];
    struct pv_vm *vm; /* which cannot go on without them; NULL: not started */
    char *by;         /* see pv_guest_shared_by */
};

struct pv_shares_ask {
    const struct pv_profile *profile;
    const char *release; /* of its kernel; NULL: unknown */
    enum pv_guest_by by;
    bool again; /* the machine was booted before: it is decided */
};

/*
 * Decides by what the machine's directories reach the guest, writes that into *m, and starts the daemons.  By default: by
 * virtiofs when the kernel has it and a virtiofsd that may open enough files can be started, else by 9p, unless the kernel
 * lacks that.  Blocks for the start of the daemons.  -1: class usage or host, why not by what was asked for or by either.
 */
int pv_guest_shares_start(struct pv_guest_shares *s, struct pv_loop *loop, struct pv_machine *m,
                          const struct pv_shares_ask *ask, struct pv_err *err);
/* Why by 9p, where nobody asked for it; NULL: somebody did, or it is not by 9p. */
const char *pv_guest_shares_why_9p(const struct pv_guest_shares *s);
/* Lends the machine what QEMU inherits. */
void pv_guest_shares_join(const struct pv_guest_shares *s, struct pv_machine *m);
/* QEMU has been started: the end of a daemon is its end. */
void pv_guest_shares_watch(struct pv_guest_shares *s, struct pv_vm *vm);
/* Ends the daemons.  `by` stays. */
void pv_guest_shares_end(struct pv_guest_shares *s);
void pv_guest_shares_fini(struct pv_guest_shares *s);

#endif
