/* SPDX-License-Identifier: MIT */
/*
 * A packet is struct virtio_vsock_hdr (44 bytes, little-endian) and its data, in a chain cut anywhere.
 *
 * Kicks are disabled on the transmit ring while packets are handled, and on the receive ring except while a
 * sender waits for a receive buffer.  Memory for packets to the guest is bounded: pending control packets are
 * flags of their connection, and resets for unknown connections have a small queue.  While that queue is
 * full, no packets are taken from the transmit ring.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "util/mem.h"
#include "vhost/vsock.h"

_Static_assert(sizeof(struct virtio_vsock_hdr) == PV_VSOCK_HEADER, "the header is packed");

/* ---- to the guest ---- */

bool pv_vsock_has_room(struct vsock_dev *d)
{
    struct pv_vring *r = pv_vsock_ring(d, RING_RX);

    if (!pv_vsock_rings_run(d))
        return false;
    if (pv_vring_more(r))
        return true;
    d->rx_empty = true;
    pv_vring_kicks(r, true);
    return pv_vring_more(r);
}

/* Sends one packet.  Returns its payload bytes; -1: no receive buffer, or the device is broken. */
static int64_t send_packet(struct vsock_dev *d, struct virtio_vsock_hdr *h, const uint8_t *data, uint32_t n)
{
    struct pv_vring *r = pv_vsock_ring(d, RING_RX);
    const char *why;
    int got;

    if (!pv_vsock_has_room(d))
        return -1;
    got = pv_vring_pop(r, &d->vu.mem, true, &d->chain, &why);
    if (got < 0)
        pv_vsock_break(d, EIO, why);
    if (got <= 0)
        return -1;
    if (d->chain.len < PV_VSOCK_HEADER + (n > 0 ? 1U : 0U)) {
        pv_vsock_break(d, EIO, "guest gave a receive buffer that is too small for a packet");
        return -1;
    }
    if (n > d->chain.len - PV_VSOCK_HEADER)
        n = (uint32_t)(d->chain.len - PV_VSOCK_HEADER);
    h->src_cid = htole64(2); /* the host */
    h->dst_cid = htole64(d->v.cid);
    h->len = htole32(n);
    pv_vchain_write(&d->chain, 0, h, PV_VSOCK_HEADER);
    if (n)
        pv_vchain_write(&d->chain, PV_VSOCK_HEADER, data, n);
    pv_vring_push(r, d->chain.head, PV_VSOCK_HEADER + n);
    return n;
}

static int64_t send_for(struct vsock_dev *d, struct vsock_conn *c, unsigned op, uint32_t flags,
                        const uint8_t *data, uint32_t n)
{
    struct virtio_vsock_hdr h = {.src_port = htole32(c->host_port),
                                 .dst_port = htole32(c->guest_port),
                                 .type = htole16(VIRTIO_VSOCK_TYPE_STREAM),
                                 .op = htole16((uint16_t)op),
                                 .flags = htole32(flags),
                                 .buf_alloc = htole32(PV_VSOCK_BUF),
                                 .fwd_cnt = htole32(c->fwd)};
    int64_t r = send_packet(d, &h, data, n);

    if (r < 0)
        return -1;
    c->fwd_told = c->fwd;
    c->owed &= ~(unsigned)OWE_CREDIT; /* every header carries the credit */
    return r;
}

uint32_t pv_vsock_send_data(struct vsock_dev *d, struct vsock_conn *c, const uint8_t *data, uint32_t n)
{
    int64_t r = send_for(d, c, VIRTIO_VSOCK_OP_RW, 0, data, n);

    return r > 0 ? (uint32_t)r : 0;
}

bool pv_vsock_flush(struct vsock_dev *d, struct vsock_conn *c)
{
    static const struct {
        unsigned bit, op;
    } order[] = {
        {OWE_REQUEST, VIRTIO_VSOCK_OP_REQUEST},    {OWE_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE},
        {OWE_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN},  {OWE_RST, VIRTIO_VSOCK_OP_RST},
        {OWE_ASK, VIRTIO_VSOCK_OP_CREDIT_REQUEST}, {OWE_CREDIT, VIRTIO_VSOCK_OP_CREDIT_UPDATE},
    };

    for (size_t i = 0; i < PV_ARRAY_LEN(order) && c->owed; i++) {
        if (!(c->owed & order[i].bit))
            continue;
        if (send_for(d, c, order[i].op, order[i].bit == OWE_SHUTDOWN ? c->shut : 0, NULL, 0) < 0)
            return false;
        c->owed &= ~order[i].bit;
    }
    return true;
}

static bool flush_rsts(struct vsock_dev *d)
{
    unsigned done = 0;

    while (done < d->rsts.n) {
        struct vsock_rst *rst = &d->rsts.v[done];
        struct virtio_vsock_hdr h = {.src_port = htole32(rst->host_port),
                                     .dst_port = htole32(rst->guest_port),
                                     .type = htole16(rst->type),
                                     .op = htole16(VIRTIO_VSOCK_OP_RST)};

        if (send_packet(d, &h, NULL, 0) < 0)
            break;
        done++;
    }
    if (d->v.error)
        return false;
    d->rsts.n -= done;
    memmove(d->rsts.v, d->rsts.v + done, d->rsts.n * sizeof(d->rsts.v[0]));
    return d->rsts.n < PV_VSOCK_RSTS;
}

void pv_vsock_flush_all(struct vsock_dev *d)
{
    if (!pv_vsock_rings_run(d))
        return;
    flush_rsts(d);
    for (unsigned i = 0; i < d->n_conns; i++)
        if (d->conn[i]->owed && !pv_vsock_flush(d, d->conn[i]))
            break;
}

/* ---- from the guest ---- */

struct vsock_conn *pv_vsock_find(struct vsock_dev *d, uint32_t host_port, uint32_t guest_port)
{
    struct vsock_conn *c = d->last;

    if (c && c->state != CONN_OVER && c->host_port == host_port && c->guest_port == guest_port)
        return c;
    for (unsigned i = 0; i < d->n_conns; i++) {
        c = d->conn[i];
        if (c->state != CONN_OVER && c->host_port == host_port && c->guest_port == guest_port)
            return d->last = c;
    }
    return NULL;
}

struct vsock_listener *pv_vsock_listener(struct vsock_dev *d, uint32_t port)
{
    for (unsigned i = 0; i < d->listeners.n; i++)
        if (d->listeners.v[i].port == port)
            return &d->listeners.v[i];
    return NULL;
}

static void refuse_packet(struct vsock_dev *d, const struct virtio_vsock_hdr *h)
{
    if (le16toh(h->op) == VIRTIO_VSOCK_OP_RST)
        return;
    /* pv_vsock_take_packets pops no packet while the queue is full. */
    if (d->rsts.n < PV_VSOCK_RSTS)
        d->rsts.v[d->rsts.n++] = (struct vsock_rst){
            .host_port = le32toh(h->dst_port), .guest_port = le32toh(h->src_port), .type = le16toh(h->type)};
}

/* A REQUEST of the guest: accepts or refuses the connection. */
static void accept_request(struct vsock_dev *d, const struct virtio_vsock_hdr *h)
{
    uint32_t host_port = le32toh(h->dst_port), guest_port = le32toh(h->src_port);
    struct vsock_conn *c;
    unsigned theirs = 0;

    for (unsigned i = 0; i < d->n_conns; i++)
        theirs += d->conn[i]->from_guest;
    if (!pv_vsock_listener(d, host_port) || d->n_conns == PV_VSOCK_CONNS || theirs == PV_VSOCK_FROM_GUEST) {
        refuse_packet(d, h);
        return;
    }
    /* A pending RST of an old connection between the same ports would end the new one. */
    for (unsigned i = 0; i < d->n_conns; i++)
        if (d->conn[i]->host_port == host_port && d->conn[i]->guest_port == guest_port)
            d->conn[i]->owed = 0;
    c = pv_vsock_conn_new(d, host_port, guest_port, CONN_OPEN);
    c->owed = OWE_RESPONSE;
    c->from_guest = true;
    c->accepted = true;
    c->tx.alloc = le32toh(h->buf_alloc);
    c->tx.fwd = le32toh(h->fwd_cnt);
}

/* Handles the packet in d->chain. */
static void handle_packet(struct vsock_dev *d)
{
    struct virtio_vsock_hdr h;
    struct vsock_conn *c;

    if (pv_vchain_read(&d->chain, 0, &h, sizeof(h)) < sizeof(h)) {
        pv_vsock_break(d, EIO, "guest sent a packet that is shorter than its header");
        return;
    }
    /* Wrong CIDs: dropped, as in the kernel's vhost-vsock. */
    if (le64toh(h.src_cid) != d->v.cid || le64toh(h.dst_cid) != 2)
        return;
    c = le16toh(h.type) == VIRTIO_VSOCK_TYPE_STREAM
            ? pv_vsock_find(d, le32toh(h.dst_port), le32toh(h.src_port))
            : NULL;
    if (c)
        pv_vsock_conn_packet(c, &h);
    else if (le16toh(h.op) == VIRTIO_VSOCK_OP_REQUEST && le16toh(h.type) == VIRTIO_VSOCK_TYPE_STREAM)
        accept_request(d, &h);
    else
        refuse_packet(d, &h);
}

bool pv_vsock_take_packets(struct vsock_dev *d)
{
    struct pv_vring *r = pv_vsock_ring(d, RING_TX);

    if (!pv_vsock_rings_run(d))
        return false;
    pv_vring_kicks(r, false);
    for (unsigned n = 0; n < PV_VSOCK_CHAINS_PER_CALL; n++) {
        const char *why;
        uint16_t head;
        int got;

        /* Stalled until the guest posts receive buffers; the receive ring's kick continues this. */
        if (d->rsts.n == PV_VSOCK_RSTS && !flush_rsts(d))
            return false;
        got = pv_vring_pop(r, &d->vu.mem, false, &d->chain, &why);
        if (got < 0) {
            pv_vsock_break(d, EIO, why);
            return false;
        }
        if (got == 0) {
            pv_vring_kicks(r, true);
            if (!pv_vring_more(r))
                return false;
            pv_vring_kicks(r, false);
            continue;
        }
        head = d->chain.head;
        handle_packet(d);
        if (d->v.error)
            return false;
        pv_vring_push(r, head, 0);
    }
    return true;
}
