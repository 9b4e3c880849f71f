/* SPDX-License-Identifier: MIT */
/* NICs in the life of a guest and of an instance.  Private to the room. */
#ifndef PV_GUEST_NICS_H
#define PV_GUEST_NICS_H

#include "guest/nic.h"

struct pv_boot_opts;
struct pv_machine;
struct pv_snapshot;

/* The harness's ends of an instance's sockets. */
struct pv_nic_sockets {
    int fd[PV_VM_NICS_MAX];                   /* ours until it is attached; -1 */
    struct pv_nic_wire *wire[PV_VM_NICS_MAX]; /* attached to it; NULL */
};

void pv_nic_sockets_init(struct pv_nic_sockets *s);
/* A pair for each NIC of the machine; to: QEMU's ends, which the caller closes (pv_nic_ends_close). -1: class host. */
int pv_nic_sockets_open(struct pv_nic_sockets *s, const struct pv_machine *m, int to[static PV_VM_NICS_MAX],
                        struct pv_err *err);
/* One pair.  Class host. */
int pv_nic_pair(int *ours, int *theirs, struct pv_err *err);
void pv_nic_ends_close(int ends[static PV_VM_NICS_MAX]);
/* The wires get -1. */
void pv_nic_sockets_cut(struct pv_nic_sockets *s, unsigned slot);
/* Passes the harness's end to the NIC's wire; drop: without the frames that wait in it. */
void pv_nic_sockets_attach(struct pv_nic_sockets *s, unsigned slot, const struct pv_guest_nic *nic,
                           bool drop);
void pv_nic_sockets_close(struct pv_nic_sockets *s);

/* The NICs of a boot's options become the guest's and the machine's; class usage: too many, no q35. */
int pv_guest_nics_begin(struct pv_guest *g, const struct pv_boot_opts *o, struct pv_machine *m,
                        struct pv_err *err);
/* Connects the sockets of g's instance to the wires of its NICs; `drop`: without the frames that wait in them. */
void pv_guest_nics_attach(struct pv_guest *g, bool drop);
/* The agent sets up all NICs, as after each start of the guest's kernel. */
int pv_guest_nic_set_up(struct pv_guest *g, unsigned slot, int64_t deadline, struct pv_err *err);
int pv_guest_nics_set_up(struct pv_guest *g, int64_t deadline, struct pv_err *err);
/*
 * After a resume: the guest gets the NICs of the snapshot, with the identities of nics (by slot) unless that is NULL,
 * and is on its networks when it returns.
 */
int pv_guest_nics_resume(struct pv_guest *g, const struct pv_snapshot *s, const struct pv_guest_nic *nics,
                         int64_t deadline, struct pv_err *err);

#endif
