/* SPDX-License-Identifier: MIT */
/*
 * Layout and constants: virtio 1.2, 2.7 "Split Virtqueues"; struct definitions from <linux/virtio_ring.h>.
 *
 * The guest runs concurrently.  Each field is read once, by an atomic load into a local.  Indices have
 * acquire/release order: the guest's stores to a descriptor precede its store to avail.idx, the device's
 * store to a used entry precedes that to used.idx.  Enabling kicks takes a full barrier between the store to
 * used.flags and the load of avail.idx, the counterpart of the driver's barrier.
 */
#include "vhost/vring.h"

#include <endian.h>
#include <linux/virtio_ring.h>
#include <string.h>

#define LOAD(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define LOAD_ACQUIRE(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define STORE_RELEASE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

bool pv_vring_num_ok(uint64_t num)
{
    return num >= 1 && num <= PV_VRING_MAX && (num & (num - 1)) == 0;
}

static void *map_part(const struct pv_vmem *m, uint64_t uva, uint64_t len, unsigned align)
{
    void *p = pv_vmem_uva(m, uva, len);

    return ((uintptr_t)p & (align - 1)) == 0 ? p : NULL;
}

int pv_vring_map(struct pv_vring *r, const struct pv_vmem *m, const char **why)
{
    pv_vring_unmap(r);
    if (!pv_vring_num_ok(r->num)) {
        *why = "QEMU started a ring without telling its size";
        return -1;
    }
    /* Without EVENT_IDX the two bytes behind each ring (event index) are unused. */
    r->desc = map_part(m, r->desc_uva, sizeof(struct vring_desc) * r->num, 16);
    r->avail = map_part(m, r->avail_uva, sizeof(struct vring_avail) + sizeof(uint16_t) * r->num, 2);
    r->used =
        map_part(m, r->used_uva, sizeof(struct vring_used) + sizeof(struct vring_used_elem) * r->num, 4);
    if (!r->desc || !r->avail || !r->used) {
        pv_vring_unmap(r);
        *why = "QEMU gave a ring an address outside guest memory (or a misaligned one)";
        return -1;
    }
    r->used_idx = le16toh(LOAD(&r->used->idx));
    return 0;
}

void pv_vring_unmap(struct pv_vring *r)
{
    r->desc = NULL;
    r->avail = NULL;
    r->used = NULL;
    r->unpublished = false;
}

bool pv_vring_more(const struct pv_vring *r)
{
    return r->avail && le16toh(LOAD_ACQUIRE(&r->avail->idx)) != r->last_avail;
}

/* Adds [gpa, gpa + len) to the chain, a piece for each region that it touches. */
static const char *add_piece(struct pv_vchain *c, const struct pv_vmem *m, uint64_t gpa, uint64_t len)
{
    while (len > 0) {
        uint64_t got = 0;
        uint8_t *p = pv_vmem_gpa(m, gpa, len, &got);

        if (!p)
            return "guest sent a descriptor with an address outside its memory";
        if (c->n == PV_VRING_MAX)
            return "guest sent a descriptor chain with too many pieces";
        c->iov[c->n++] = (struct iovec){.iov_base = p, .iov_len = got};
        c->len += got;
        gpa += got;
        len -= got;
    }
    return NULL;
}

static const char *walk_chain(const struct pv_vring *r, const struct pv_vmem *m, bool writable, unsigned i,
                              struct pv_vchain *c)
{
    /* A chain with more descriptors than the ring has is a loop. */
    for (unsigned left = r->num; left > 0; left--) {
        const struct vring_desc *d = &r->desc[i];
        uint64_t addr = le64toh(LOAD(&d->addr));
        uint32_t len = le32toh(LOAD(&d->len));
        uint16_t flags = le16toh(LOAD(&d->flags));
        uint16_t next = le16toh(LOAD(&d->next));
        const char *why;

        if (flags & VRING_DESC_F_INDIRECT)
            return "guest sent an indirect descriptor, which was not negotiated";
        if (!!(flags & VRING_DESC_F_WRITE) != writable)
            return writable ? "guest put a read-only buffer on the receive ring"
                            : "guest put a write-only buffer on the transmit ring";
        why = add_piece(c, m, addr, len);
        if (why)
            return why;
        if (!(flags & VRING_DESC_F_NEXT))
            return NULL;
        if (next >= r->num)
            return "guest sent a descriptor chain with an index outside the ring";
        i = next;
    }
    return "guest sent a descriptor chain that loops";
}

int pv_vring_pop(struct pv_vring *r, const struct pv_vmem *m, bool writable, struct pv_vchain *c,
                 const char **why)
{
    uint16_t ready, head;

    if (!r->avail)
        return 0;
    ready = (uint16_t)(le16toh(LOAD_ACQUIRE(&r->avail->idx)) - r->last_avail);
    if (ready == 0)
        return 0;
    if (ready > r->num) {
        *why = "guest moved the available index of a ring by more than the ring's size";
        return -1;
    }
    head = le16toh(LOAD(&r->avail->ring[r->last_avail & (r->num - 1)]));
    if (head >= r->num) {
        *why = "guest made a descriptor available whose index is outside the ring";
        return -1;
    }
    c->head = head;
    c->n = 0;
    c->len = 0;
    *why = walk_chain(r, m, writable, head, c);
    if (*why)
        return -1;
    r->last_avail++;
    return 1;
}

void pv_vring_push(struct pv_vring *r, uint16_t head, uint32_t len)
{
    struct vring_used_elem *e;

    if (!r->used)
        return;
    e = &r->used->ring[r->used_idx & (r->num - 1)];
    STORE(&e->id, htole32(head));
    STORE(&e->len, htole32(len));
    r->used_idx++;
    r->unpublished = true;
}

bool pv_vring_publish(struct pv_vring *r)
{
    if (!r->used || !r->unpublished)
        return false;
    STORE_RELEASE(&r->used->idx, htole16(r->used_idx));
    r->unpublished = false;
    return true;
}

bool pv_vring_wants_signal(const struct pv_vring *r)
{
    if (!r->avail)
        return false;
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the store to used.idx precedes the load of avail.flags */
    return !(le16toh(LOAD(&r->avail->flags)) & VRING_AVAIL_F_NO_INTERRUPT);
}

void pv_vring_kicks(struct pv_vring *r, bool on)
{
    if (!r->used)
        return;
    STORE(&r->used->flags, htole16(on ? 0 : VRING_USED_F_NO_NOTIFY));
    if (on)
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

size_t pv_vchain_read(const struct pv_vchain *c, size_t off, void *dst, size_t n)
{
    uint8_t *to = dst;
    size_t done = 0;

    for (unsigned i = 0; i < c->n && done < n; i++) {
        size_t len = c->iov[i].iov_len;

        if (off >= len) {
            off -= len;
            continue;
        }
        len -= off;
        if (len > n - done)
            len = n - done;
        memcpy(to + done, (const uint8_t *)c->iov[i].iov_base + off, len);
        done += len;
        off = 0;
    }
    return done;
}

size_t pv_vchain_write(const struct pv_vchain *c, size_t off, const void *src, size_t n)
{
    const uint8_t *from = src;
    size_t done = 0;

    for (unsigned i = 0; i < c->n && done < n; i++) {
        size_t len = c->iov[i].iov_len;

        if (off >= len) {
            off -= len;
            continue;
        }
        len -= off;
        if (len > n - done)
            len = n - done;
        memcpy((uint8_t *)c->iov[i].iov_base + off, from + done, len);
        done += len;
        off = 0;
    }
    return done;
}
