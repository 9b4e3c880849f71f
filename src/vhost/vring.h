/* SPDX-License-Identifier: MIT */
/*
 * The device's side of one split virtqueue (virtio 1.x, no INDIRECT_DESC, no EVENT_IDX, no IN_ORDER) in
 * guest memory.  Pure: no descriptor, no loop, no allocation.  This is the door through which all that the
 * guest's driver says about buffers comes in: an index, an address or a chain that is wrong is an error
 * with a text, never an access outside the regions and never an endless walk.
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

enum { PV_VRING_MAX = 1024 }; /* entries; QEMU's own limit for any device */

struct pv_vring {
    unsigned num;                           /* entries, a power of two; 0 while not told */
    uint64_t desc_uva, avail_uva, used_uva; /* as SET_VRING_ADDR gave them */
    struct vring_desc *desc;                /* NULL while not mapped */
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t last_avail; /* next entry of the avail ring to take */
    uint16_t used_idx;   /* next entry of the used ring to fill */
    bool unpublished;    /* pushed since the last publish */
};

/* One chain of buffers, all readable or all writable for us. */
struct pv_vchain {
    uint16_t head;
    unsigned n; /* of iov */
    size_t len; /* bytes in all */
    struct iovec iov[PV_VRING_MAX];
};

/* True for 1, 2, 4 ... PV_VRING_MAX. */
bool pv_vring_num_ok(uint64_t num);

/* Finds the ring's three parts in memory. -1 with *why (static text) when they are not inside or misaligned.
 */
int pv_vring_map(struct pv_vring *r, const struct pv_vmem *m, const char **why);
void pv_vring_unmap(struct pv_vring *r);

/*
 * Takes the next chain: 1, or 0 when the guest has made none available, or -1 with *why (static text).
 * `writable` says which kind this ring must carry.  The iov points into guest memory and is good as long
 * as the regions stay mapped; what it points to may change at any time.
 */
int pv_vring_pop(struct pv_vring *r, const struct pv_vmem *m, bool writable, struct pv_vchain *c,
                 const char **why);

/* Gives a chain back, `len` bytes of it written; the guest sees it after publish. */
void pv_vring_push(struct pv_vring *r, uint16_t head, uint32_t len);
/* True if there was something to publish. */
bool pv_vring_publish(struct pv_vring *r);
/* Whether the driver wants an interrupt for what was published. */
bool pv_vring_wants_signal(const struct pv_vring *r);

/*
 * Asks the driver to kick (or not to bother).  A hint: kicks may come all the same.  After switching on,
 * look again with pv_vring_more: what came before the driver saw the change brings no kick.
 */
void pv_vring_kicks(struct pv_vring *r, bool on);
bool pv_vring_more(const struct pv_vring *r);

/* Copy between a chain, from byte `off` of it, and our memory; the number of bytes copied (at most n). */
size_t pv_vchain_read(const struct pv_vchain *c, size_t off, void *dst, size_t n);
size_t pv_vchain_write(const struct pv_vchain *c, size_t off, const void *src, size_t n);

#endif
