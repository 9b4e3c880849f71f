/* SPDX-License-Identifier: MIT */
/*
 * The wire format between lease.c in a file's process and pool/server.c in the supervisor: one of these
 * structs per SOCK_SEQPACKET message, in the host's byte order (both ends are the same binary).
 */
#ifndef PV_CHILDPROTO_LEASEMSG_H
#define PV_CHILDPROTO_LEASEMSG_H

#include <stdint.h>

/* The most CPUs of one lease; QEMU's machines have no more. */
enum { PV_LEASE_CPUS_MAX = 1024 };

enum pv_lease_op {
    PV_LEASE_ACQUIRE = 1, /* id, memory, cpus; standby: id of the standby VM to be used for it, or 0 */
    PV_LEASE_RELEASE,     /* id */
    PV_LEASE_FORK,        /* with a descriptor: another channel of this file */
    PV_LEASE_BLOCK,
    PV_LEASE_UNBLOCK,
    PV_LEASE_TRY_ACQUIRE, /* id, memory, cpus of a standby VM; replied to at once: granted or refused */
    PV_LEASE_CLAIM,       /* id of a standby VM: it is no longer preemptible; replied to at once */
    PV_LEASE_PREEMPTIBLE, /* id of a standby VM, with the pidfd of its QEMU: the process to kill */
};

struct pv_lease_request {
    uint32_t op, id; /* id: chosen by the client, one that is not in use */
    uint64_t memory; /* bytes */
    uint32_t cpus, standby;
};

enum pv_lease_status {
    PV_LEASE_GRANTED = 1,
    PV_LEASE_WAIT,
    PV_LEASE_REFUSED,
    PV_LEASE_NO_ROOM,
    PV_LEASE_HELD /* refused, because of what other VMs of the file hold */
};

struct pv_lease_reply {
    uint32_t status, id;
    char text[1024]; /* of a wait, or the reason of a refusal; always terminated */
};

#endif
