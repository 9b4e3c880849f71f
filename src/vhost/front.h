/* SPDX-License-Identifier: MIT */
/*
 * A vhost-user front end for tests: plays QEMU (messages over the real socket) and the guest's driver (rings
 * in a real memfd, real eventfds) for a pv_vsock_device, all in one process and one loop.  Its
 * fields are public, so a test can make it misbehave.
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

/* Descriptors of a receive buffer: header + data; one for both; cut within the header. */
enum front_layout { FRONT_SPLIT, FRONT_SINGLE, FRONT_SHREDS };

struct front_ring {
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    unsigned num;
    uint16_t avail_idx, seen; /* seen: used entries taken */
    uint16_t base;            /* of a paused machine */
    int kick, call;
};

struct front {
    struct pv_loop *loop;
    struct pv_vsock_device *v;
    int sock, memfd;
    uint8_t *mem;
    struct front_ring ring[2]; /* 0: to the guest, 1: from the guest */
    enum front_layout layout;
    unsigned rx_bufs; /* number of receive buffers */
    unsigned tx_bufs;
    bool hold;        /* front_take does not repost receive buffers */
    unsigned changes; /* calls of on_change */
};

struct front_packet {
    struct virtio_vsock_hdr h;
    uint8_t data[FRONT_RX_DATA + 64];
    uint32_t len; /* of data */
};

/* Sends the bytes of a vhost-user message as they are. */
void front_send_raw(struct front *f, const void *msg, size_t n, const int *fds, unsigned n_fds);
/* Sends a well-formed message with need_reply and runs the loop until the reply: its u64, or -1 on EOF. */
int64_t front_msg(struct front *f, uint32_t request, const void *body, uint32_t n, const int *fds,
                  unsigned n_fds);
int64_t front_msg2(struct front *f, uint32_t request, uint32_t a, uint32_t b);

/* A device and its front end, before any message.  num: entries of each ring. */
void front_init(struct front *f, unsigned num);
void front_fini(struct front *f); /* also frees f->v unless it is NULL */
/* Sends QEMU's messages at start-up, up to and including ENABLE; fills the receive ring before that. */
void front_start(struct front *f);
void front_stop(struct front *f); /* ENABLE 0 and GET_VRING_BASE; the driver forgets its rings */
/* QEMU's messages when the machine is paused, and when it runs again: the rings stay as they are. */
void front_pause(struct front *f);
void front_resume(struct front *f);
int64_t front_mem_table(struct front *f);
int64_t front_addr(struct front *f, unsigned ring, uint64_t desc, uint64_t used, uint64_t avail);

/* Returns after the device has handled all earlier kicks. */
void front_sync(struct front *f);
void front_kick(struct front *f, unsigned ring);
void front_fill_rx(struct front *f);

/* Puts a packet on the transmit ring (CIDs and type are filled in when 0); false: the ring is full. */
bool front_put(struct front *f, struct virtio_vsock_hdr h, const void *data, uint32_t n);
/* front_put and front_kick. */
void front_send(struct front *f, unsigned op, uint32_t guest_port, uint32_t host_port, const void *data,
                uint32_t n);
/* Takes the next packet from the receive ring; false: it is empty. */
bool front_take(struct front *f, struct front_packet *p);
/* Runs the loop until a packet is there and takes it; the test fails after 5 s or if the op differs. */
void front_expect(struct front *f, unsigned op, struct front_packet *p);
/* Runs the loop until done(arg); the test fails after 5 s. */
void front_run(struct front *f, bool (*done)(void *arg), void *arg);

#endif
