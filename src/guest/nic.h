/* SPDX-License-Identifier: MIT */
/*
 * The NICs of a guest: what the caller gives it (identity and its network's end), and the sockets to its QEMU.  They
 * belong to the guest, so they stay over resets and restores; each instance has sockets of its own.
 */
#ifndef PV_GUEST_NIC_H
#define PV_GUEST_NIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vm/nic.h"

struct pv_err;
struct pv_guest;
struct pv_instance;

enum { PV_NIC_NAME_MAX = 15 };

/* The network's end of a NIC; a NIC that has been given to a guest must not outlive it. */
struct pv_nic_wire {
    /*
     * fd, a non-blocking SOCK_DGRAM socket, carries the NIC's frames from now on and becomes the network's; -1: there
     * is no QEMU any more.  Called from the loop or within calls; must not call into guests.
     */
    void (*attach)(struct pv_nic_wire *w, int fd);
    /* The carrier, as QEMU has it now.  May be NULL. */
    void (*carrier)(struct pv_nic_wire *w, bool up);
    /* The agent of g has set the NIC up, as after each start of the guest's kernel; may make calls.  May be NULL. */
    int (*set_up)(struct pv_nic_wire *w, struct pv_guest *g, int64_t deadline, struct pv_err *err);
};

/* Zero mtu of `hw`: no NIC. */
struct pv_guest_nic {
    struct pv_vm_nic hw;            /* the MAC that it has in the guest, the largest MTU */
    struct pv_nic_wire *wire;       /* borrowed */
    char name[PV_NIC_NAME_MAX + 1]; /* "": the kernel's choice */
    unsigned mtu;                   /* that it begins with; 0: as hw.mtu */
    uint8_t ip[16], gateway[16];
    unsigned n_ip, n_gateway; /* 4, 16; 0: none */
    unsigned prefix;
    unsigned
        gateway_rank; /* of the gateways of a guest's NICs the lowest is its default route, then the first NIC's */
    bool down;        /* without carrier */
};

/* A new NIC in a running guest, which is set up when it returns: the slot; -1 with *err.  timeout_ns 0: 30 s. */
int pv_guest_plug(struct pv_guest *g, const struct pv_guest_nic *nic, int64_t timeout_ns, struct pv_err *err);
/* The guest releases the NIC, and its wire gets -1.  timeout_ns 0: 30 s. */
int pv_guest_unplug(struct pv_guest *g, unsigned slot, int64_t timeout_ns, struct pv_err *err);
/* Sets the carrier of a guest whose machine is on. */
int pv_guest_set_carrier(struct pv_guest *g, unsigned slot, bool up, struct pv_err *err);
/*
 * The gateway of this NIC, n 4 or 16 bytes; the guest's default route if no other NIC has one of a lower rank.  Now if the guest
 * runs, and after each reset.  Blocks.
 */
int pv_guest_set_gateway(struct pv_guest *g, unsigned slot, const void *gateway, unsigned n, unsigned rank,
                         struct pv_err *err);
/* The NICs by slot: PV_VM_NICS_MAX. */
const struct pv_guest_nic *pv_guest_nics(const struct pv_guest *g);

#endif
