/* SPDX-License-Identifier: MIT */
/*
 * The control side of a vhost-user back end: checks QEMU's messages field by field and keeps memory regions
 * and rings.  It does not know the packets on the rings and has no loop: the owner watches `fd` and the
 * rings' kick descriptors and calls pv_vu_read, which does not block.
 *
 * Any error is final: pv_vu_read returns -1, `error` has its text, and the owner calls pv_vu_fini.  QEMU goes
 * on without the device.
 */
#ifndef PV_VHOST_VU_H
#define PV_VHOST_VU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhost/vmem.h"
#include "vhost/vring.h"

enum {
    PV_VU_QUEUES = 2,    /* QEMU serves the event ring of a vsock device itself */
    PV_VU_HEADER = 12,   /* u32 request, u32 flags, u32 size */
    PV_VU_BODY_MAX = 512 /* the largest known message is the memory table with 264 bytes */
};

/* Feature and protocol feature bits (virtio 1.2 chapter 6; QEMU docs/interop/vhost-user.rst). */
#define PV_VU_F_VERSION_1 (UINT64_C(1) << 32)
#define PV_VU_F_PROTOCOL_FEATURES (UINT64_C(1) << 30)
#define PV_VU_PROTOCOL_REPLY_ACK (UINT64_C(1) << 3)
#define PV_VU_PROTOCOL_CONFIG (UINT64_C(1) << 9)

struct pv_vu_queue {
    struct pv_vring ring;
    int kick, call; /* eventfds, or -1 */
    bool enabled;
    bool running; /* enabled, with a kick descriptor and mapped parts */
};

struct pv_vu {
    int fd; /* the back end's socket, non-blocking; -1 after fini */
    struct pv_vmem mem;
    struct pv_vu_queue q[PV_VU_QUEUES];
    uint8_t config[8];
    /*
     * Called after a ring starts and before a ring stops; `kick` is open both times.  Must not free the
     * pv_vu.
     */
    void (*on_ring)(struct pv_vu *vu, unsigned index, bool running);

    char error[240]; /* the final error, or "" */

    /* Private: the message being read. */
    uint8_t in[PV_VU_HEADER + PV_VU_BODY_MAX];
    size_t in_len;
    int fds[PV_VMEM_REGIONS];
    unsigned n_fds;
};

/* Takes the socket `fd`, which must be non-blocking. */
void pv_vu_init(struct pv_vu *vu, int fd);

/*
 * Reads and handles at most 32 messages.  0: the socket is empty; 1: there may be more; -1: the device is
 * broken or QEMU closed the connection.
 */
int pv_vu_read(struct pv_vu *vu);

/* Closes all descriptors and unmaps memory, without calling on_ring. */
void pv_vu_fini(struct pv_vu *vu);

#endif
