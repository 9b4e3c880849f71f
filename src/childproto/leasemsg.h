/* SPDX-License-Identifier: MIT */
/* The messages between lease.c and poolserver.c: one of these structs per SOCK_SEQPACKET message. */
#ifndef PV_CHILDPROTO_LEASEMSG_H
#define PV_CHILDPROTO_LEASEMSG_H

#include <stdint.h>

enum pv_lease_op {
    PV_LEASE_TAKE = 1, /* id, memory, cpus; standby: id of the VM that it is to be, or 0 */
    PV_LEASE_GIVE,     /* id */
    PV_LEASE_FORK,     /* with a descriptor: another channel of this file */
    PV_LEASE_BLOCK,
    PV_LEASE_UNBLOCK,
    PV_LEASE_STANDBY, /* id, memory, cpus; answered at once: granted or refused */
    PV_LEASE_CLAIM, /* id of one that stands by: it is to be a VM that has its place already; answered so too
                     */
    PV_LEASE_PROCESS, /* id of one that stands by; with a pidfd: what to kill to have it back */
};

struct pv_lease_ask {
    uint32_t op, id; /* id: chosen by the client, one that is not in use */
    uint64_t memory;
    uint32_t cpus, standby;
};

enum pv_lease_reply { PV_LEASE_GRANTED = 1, PV_LEASE_WAIT, PV_LEASE_REFUSED, PV_LEASE_NO_ROOM };

struct pv_lease_answer {
    uint32_t reply, id;
    char text[1024]; /* of a wait, or why it was refused; always terminated */
};

#endif
