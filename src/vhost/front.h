/* SPDX-License-Identifier: MIT */
/*
 * A front end for tests: plays QEMU (messages over the real socket) and the guest's driver (rings in a real
 * memfd, real eventfds) towards a pv_vsock of ours, all in one process and one loop.  Misbehaves on demand,
 * as its parts are open.
 */
#ifndef PV_VHOST_FRONT_H
#define PV_VHOST_FRONT_H

#include <linux/virtio_ring.h>
#include <linux/virtio_vsock.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop/loop.h"
#include "transport/stream.h"
#include "vhost/vhost.h"

enum {
    FRONT_CID = 42,
    FRONT_MEM = 8 * 1024 * 1024,
    FRONT_RX_DATA = 4096, /* data bytes of one receive buffer */
};
#define FRONT_GPA UINT64_C(0x100000)
#define FRONT_UVA UINT64_C(0x7f1234000000)

enum front_layout { FRONT_SPLIT, FRONT_SINGLE, FRONT_SHREDS }; /* header+data; one buffer; odd pieces */

struct front_ring {
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    unsigned num;
    uint16_t avail_idx, seen; /* seen: used entries taken */
    int kick, call;
};

struct front {
    struct pv_loop *loop;
    struct pv_vsock_device *v;
    int sock, memfd;
    uint8_t *mem;
    struct front_ring ring[2]; /* 0: to the guest, 1: from the guest */
    enum front_layout layout;
    unsigned rx_bufs; /* receive buffers in all */
    unsigned tx_bufs;
    bool hold;        /* do not give receive buffers back */
    unsigned changes; /* calls of on_change */
};

struct front_packet {
    struct virtio_vsock_hdr h;
    uint8_t data[FRONT_RX_DATA + 64];
    uint32_t len; /* of data */
};

/* One vhost-user message as it is; need_reply must be in flags if wanted. */
void front_send_raw(struct front *f, const void *msg, size_t n, const int *fds, unsigned n_fds);
/* A well-formed message, with need_reply; runs the loop until the answer is there: its u64, or -1 on EOF. */
int64_t front_msg(struct front *f, uint32_t request, const void *body, uint32_t n, const int *fds,
                  unsigned n_fds);
int64_t front_msg2(struct front *f, uint32_t request, uint32_t a, uint32_t b);

/* A device and its front end; not yet told anything. num: entries of each ring. */
void front_init(struct front *f, unsigned num);
void front_fini(struct front *f); /* frees v if it still is there */
/* What QEMU sends at start-up, up to and including ENABLE; with the receive ring filled before. */
void front_start(struct front *f);
void front_stop(struct front *f); /* ENABLE 0 and GET_VRING_BASE */
int64_t front_mem_table(struct front *f);
int64_t front_addr(struct front *f, unsigned ring, uint64_t desc, uint64_t used, uint64_t avail);

/* Everything that was kicked before is done when this returns. */
void front_sync(struct front *f);
void front_kick(struct front *f, unsigned ring);
void front_fill_rx(struct front *f);

/* A packet from the guest (cids and buf_alloc are filled in when 0); returns false when its ring is full. */
bool front_put(struct front *f, struct virtio_vsock_hdr h, const void *data, uint32_t n);
void front_send(struct front *f, unsigned op, uint32_t guest_port, uint32_t host_port, const void *data,
                uint32_t n); /* put and kick */
/* The next packet to the guest if one is there now. */
bool front_take(struct front *f, struct front_packet *p);
/* The same, running the loop until one is there; fails the test after 2 s or when its op is another. */
void front_expect(struct front *f, unsigned op, struct front_packet *p);
/* Runs the loop until done(arg), at most 5 s; fails the test then. */
void front_run(struct front *f, bool (*done)(void *arg), void *arg);

#endif
