/* SPDX-License-Identifier: MIT */
/* Restores and clones of VMs that have NICs: each VM keeps an identity of its own on its networks. */
#ifndef PV_TESTFILE_NETSAVED_H
#define PV_TESTFILE_NETSAVED_H

#include <stdint.h>

struct pv_err;
struct pv_guest;
struct pv_snapshot;
struct pv_testfile;

/*
 * pv_guest_restore, with the NICs that the snapshot has: of g itself with their addresses, of another VM with g's own
 * addresses on the same networks, or new ones.  Class usage too: another VM has got g's address since g ended.
 */
int pv_tf_restore(struct pv_testfile *tf, struct pv_guest *g, struct pv_snapshot *s, int64_t timeout_ns,
                  struct pv_err *err);
/*
 * pv_guest_resume; the clone has NICs on the networks of the snapshot, with new MACs and addresses.  name NULL: "vm1",
 * "vm2"...
 */
struct pv_guest *pv_tf_clone(struct pv_testfile *tf, struct pv_snapshot *s, const char *name,
                             int64_t timeout_ns, struct pv_err *err);
/* Unplugs all NICs of a VM that will be saved: its networks end with this process. */
int pv_tf_nets_unplug(struct pv_testfile *tf, struct pv_guest *g, struct pv_err *err);

#endif
