/* SPDX-License-Identifier: MIT */
/*
 * The control side of a vhost-user back end: QEMU's messages over a socket, checked field by field, into
 * memory regions and rings.  Knows nothing of what the rings carry, and has no loop: the owner watches
 * `fd` and the rings' kick descriptors and calls pv_vu_read.
 *
 * Anything that is wrong is final: pv_vu_read returns -1, `error` says why in words, and the owner gives
 * the device up (pv_vu_fini).  QEMU lives on without it.
 */
#ifndef PV_VHOST_VU_H
#define PV_VHOST_VU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhost/vmem.h"
#include "vhost/vring.h"

enum {
    PV_VU_QUEUES = 2,    /* QEMU keeps the event ring of a vsock device to itself */
    PV_VU_HEADER = 12,   /* u32 request, u32 flags, u32 size */
    PV_VU_BODY_MAX = 512 /* the largest we know is the memory table, 264 */
};

/* Feature and protocol feature bits (virtio 1.2 chapter 6; QEMU docs/interop/vhost-user.rst). */
#define PV_VU_F_VERSION_1 (UINT64_C(1) << 32)
#define PV_VU_F_PROTOCOL_FEATURES (UINT64_C(1) << 30)
#define PV_VU_PROTOCOL_REPLY_ACK (UINT64_C(1) << 3)
#define PV_VU_PROTOCOL_CONFIG (UINT64_C(1) << 9)

struct pv_vu_queue {
    struct pv_vring ring;
    int kick, call; /* -1 while there is none */
    bool enabled;
    bool running; /* has a kick descriptor, is enabled, and its parts are mapped */
};

struct pv_vu {
    int fd; /* our end, non-blocking; -1 after fini */
    struct pv_vmem mem;
    struct pv_vu_queue q[PV_VU_QUEUES];
    uint8_t config[8];
    /*
     * Called after a ring began to run, and before one stops; `kick` is open both times.  Must not free
     * the pv_vu.
     */
    void (*on_ring)(struct pv_vu *vu, unsigned index, bool running);

    char error[240]; /* "" while it is fine */

    /* Private: the message that is being read. */
    uint8_t in[PV_VU_HEADER + PV_VU_BODY_MAX];
    size_t in_len;
    int fds[PV_VMEM_REGIONS];
    unsigned n_fds;
};

/* Takes the socket, which must be non-blocking. */
void pv_vu_init(struct pv_vu *vu, int fd);

/*
 * Reads and obeys what is there, at most 32 messages.  0 when the socket ran dry, 1 when there may be more,
 * -1 when the device is broken or QEMU closed the connection.
 */
int pv_vu_read(struct pv_vu *vu);

/* Closes and unmaps everything; on_ring is not called. */
void pv_vu_fini(struct pv_vu *vu);

#endif
