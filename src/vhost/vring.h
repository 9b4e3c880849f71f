/* SPDX-License-Identifier: MIT */
/*
 * The device's side of one split virtqueue (virtio 1.x, without INDIRECT_DESC, EVENT_IDX and IN_ORDER) in
 * guest memory.  Pure: no descriptor, no loop, no allocation.  It validates all that the guest's driver
 * writes to the ring: a wrong index, address or chain is an error with a text, never an access outside the
 * regions or an endless walk.
 *
 *     while ((r = pv_vring_pop(&ring, &mem, true, &chain, &why)) > 0) {
 *         n = pv_vchain_write(&chain, 0, data, len);
 *         pv_vring_push(&ring, chain.head, n);
 *     }
 *     pv_vring_publish(&ring);
 *     if (pv_vring_wants_signal(&ring)) ...
 */
#ifndef PV_VHOST_VRING_H
#define PV_VHOST_VRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vhost/vmem.h"

struct vring_avail;
struct vring_desc;
struct vring_used;

enum { PV_VRING_MAX = 1024 }; /* entries; QEMU's VIRTQUEUE_MAX_SIZE */

struct pv_vring {
    unsigned num;                           /* entries, a power of two; 0 before SET_VRING_NUM */
    uint64_t desc_uva, avail_uva, used_uva; /* from SET_VRING_ADDR */
    struct vring_desc *desc;                /* NULL while not mapped */
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t last_avail; /* next entry of the avail ring to pop */
    uint16_t used_idx;   /* next entry of the used ring to fill */
    bool unpublished;    /* chains were pushed since the last publish */
};

/* One chain of buffers, all readable or all writable for the device. */
struct pv_vchain {
    uint16_t head;
    unsigned n; /* of iov */
    size_t len; /* bytes of all pieces */
    struct iovec iov[PV_VRING_MAX];
};

/* True for 1, 2, 4 ... PV_VRING_MAX. */
bool pv_vring_num_ok(uint64_t num);

/* Maps the ring's three parts.  -1 with *why (static text) if one is outside of memory or misaligned. */
int pv_vring_map(struct pv_vring *r, const struct pv_vmem *m, const char **why);
void pv_vring_unmap(struct pv_vring *r);

/*
 * Pops the next available chain: 1; 0: none; -1 with *why (static text): the guest broke the rules.
 * `writable`: the kind of buffers this ring must have.  The iov points into guest memory, is valid while the
 * regions are mapped, and its bytes may change at any time.
 */
int pv_vring_pop(struct pv_vring *r, const struct pv_vmem *m, bool writable, struct pv_vchain *c,
                 const char **why);

/* Returns a chain with `len` bytes written; the guest sees it after pv_vring_publish. */
void pv_vring_push(struct pv_vring *r, uint16_t head, uint32_t len);
/* Makes pushed chains visible to the guest.  False: there were none. */
bool pv_vring_publish(struct pv_vring *r);
/* True if the driver wants an interrupt for published chains. */
bool pv_vring_wants_signal(const struct pv_vring *r);

/*
 * Enables or disables the driver's kicks.  A hint: kicks may come when disabled.  After enabling, check
 * pv_vring_more: chains that the driver added before it saw the change bring no kick.
 */
void pv_vring_kicks(struct pv_vring *r, bool on);
bool pv_vring_more(const struct pv_vring *r);

/*
 * Copy n bytes from or to byte `off` of a chain.  Return the number of bytes copied, fewer at the chain's
 * end.
 */
size_t pv_vchain_read(const struct pv_vchain *c, size_t off, void *dst, size_t n);
size_t pv_vchain_write(const struct pv_vchain *c, size_t off, const void *src, size_t n);

#endif
