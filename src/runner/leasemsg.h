/* SPDX-License-Identifier: MIT */
/* The messages between lease.c and poolserver.c: one of these structs per SOCK_SEQPACKET message. */
#ifndef PV_RUNNER_LEASEMSG_H
#define PV_RUNNER_LEASEMSG_H

#include <stdint.h>

enum pv_lease_op {
    PV_LEASE_TAKE = 1, /* id, memory, cpus */
    PV_LEASE_GIVE,     /* id */
    PV_LEASE_FORK,     /* with a descriptor: another channel of this file */
    PV_LEASE_BLOCK,
    PV_LEASE_UNBLOCK,
};

struct pv_lease_ask {
    uint32_t op, id; /* id: chosen by the client, one that is not in use */
    uint64_t memory;
    uint32_t cpus, pad;
};

enum pv_lease_reply { PV_LEASE_GRANTED = 1, PV_LEASE_WAIT, PV_LEASE_REFUSED, PV_LEASE_NO_ROOM };

struct pv_lease_answer {
    uint32_t reply, id;
    char text[1024]; /* of a wait, or why it was refused; always terminated */
};

#endif
