/* SPDX-License-Identifier: MIT */
#include "vhost/front.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/clock.h"
#include "util/mem.h"
#include "vhost/vhost.h"

enum { RING_AT = 0x20000, RX_AT = 0x100000, TX_AT = 0x300000, TX_SIZE = 0x10000, RX_SIZE = 8192 };
enum { TX_BUFS = 64, RX_BUFS = 256 };

void front_send_raw(struct front *f, const void *msg, size_t n, const int *fds, unsigned n_fds)
{
    char space[CMSG_SPACE(sizeof(int) * 32)];
    struct iovec iov = {.iov_base = (void *)msg, .iov_len = n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    if (n_fds) {
        struct cmsghdr *c = (struct cmsghdr *)(void *)space;

        m.msg_control = space;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
    }
    assert_int_equal(sendmsg(f->sock, &m, MSG_NOSIGNAL), (ssize_t)n);
}

static bool has_reply(void *arg)
{
    struct front *f = arg;
    char c;
    ssize_t r = recv(f->sock, &c, 1, MSG_PEEK | MSG_DONTWAIT);

    return r >= 0 || errno != EAGAIN;
}

void front_run(struct front *f, bool (*done)(void *arg), void *arg)
{
    assert_int_equal(pv_loop_run(f->loop, done, arg, pv_deadline(5 * PV_NSEC_PER_SEC), NULL), 0);
}

int64_t front_msg(struct front *f, uint32_t request, const void *body, uint32_t n, const int *fds,
                  unsigned n_fds)
{
    uint8_t msg[1024];
    uint32_t header[3] = {request, 1 | 8, n};
    uint64_t v = 0;
    ssize_t r;

    memcpy(msg, header, sizeof(header));
    if (n)
        memcpy(msg + sizeof(header), body, n);
    front_send_raw(f, msg, sizeof(header) + n, fds, n_fds);
    front_run(f, has_reply, f);
    r = recv(f->sock, msg, sizeof(msg), MSG_DONTWAIT);
    if (r <= 0)
        return -1;
    memcpy(header, msg, sizeof(header));
    assert_int_equal(header[0], request);
    assert_int_equal(header[1], 1 | 4);
    assert_int_equal(header[2] + sizeof(header), r);
    if (header[2] == 20) /* GET_CONFIG: the value follows its header of 12 bytes */
        memcpy(&v, msg + sizeof(header) + 12, sizeof(v));
    else if (header[2])
        memcpy(&v, msg + sizeof(header), sizeof(v));
    return (int64_t)v;
}

int64_t front_msg2(struct front *f, uint32_t request, uint32_t a, uint32_t b)
{
    uint32_t body[2] = {a, b};

    return front_msg(f, request, body, sizeof(body), NULL, 0);
}

static void on_change(struct pv_vsock_device *v, void *arg)
{
    (void)v;
    ((struct front *)arg)->changes++;
}

static void ring_init(struct front *f, unsigned i, unsigned num)
{
    struct front_ring *r = &f->ring[i];
    uint8_t *at = f->mem + i * RING_AT;

    r->num = num;
    r->desc = (void *)at;
    r->avail = (void *)(at + 0x8000);
    r->used = (void *)(at + 0x10000);
    r->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

void front_init(struct front *f, unsigned num)
{
    memset(f, 0, sizeof(*f));
    f->loop = pv_loop_new(NULL);
    assert_non_null(f->loop);
    f->v = pv_vsock_device_new(f->loop, FRONT_CID, NULL);
    assert_non_null(f->v);
    f->v->on_change = on_change;
    f->v->arg = f;
    f->sock = f->v->qemu_fd; /* the front end owns it, as QEMU would */
    f->v->qemu_fd = -1;
    f->memfd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(f->memfd, FRONT_MEM), 0);
    assert_int_equal(fcntl(f->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    f->mem = mmap(NULL, FRONT_MEM, PROT_READ | PROT_WRITE, MAP_SHARED, f->memfd, 0);
    assert_true(f->mem != MAP_FAILED);
    ring_init(f, 0, num);
    ring_init(f, 1, num);
    f->rx_bufs = num / 2 < RX_BUFS ? num / 2 : RX_BUFS;
    f->tx_bufs = num < TX_BUFS ? num : TX_BUFS;
}

void front_fini(struct front *f)
{
    if (f->v)
        pv_vsock_device_free(f->v);
    pv_loop_free(f->loop);
    for (int i = 0; i < 2; i++) {
        close(f->ring[i].kick);
        close(f->ring[i].call);
    }
    munmap(f->mem, FRONT_MEM);
    close(f->memfd);
    pv_close(&f->sock);
}

/* ---- rings ---- */

static uint64_t gpa(const struct front *f, const void *p)
{
    return FRONT_GPA + (uint64_t)((const uint8_t *)p - f->mem);
}

static uint64_t uva(const struct front *f, const void *p)
{
    return FRONT_UVA + (uint64_t)((const uint8_t *)p - f->mem);
}

static void make_available(struct front_ring *r, uint16_t head)
{
    r->avail->ring[r->avail_idx % r->num] = head;
    r->avail_idx++;
    __atomic_store_n(&r->avail->idx, r->avail_idx, __ATOMIC_RELEASE);
}

/* Posts receive buffer i, whose descriptors are 2i and 2i+1. */
static void post_rx(struct front *f, unsigned i)
{
    struct front_ring *r = &f->ring[0];
    uint8_t *buf = f->mem + RX_AT + i * RX_SIZE;
    uint32_t all = sizeof(struct virtio_vsock_hdr) + FRONT_RX_DATA;
    uint32_t first = f->layout == FRONT_SPLIT ? 44 : f->layout == FRONT_SHREDS ? 13 : all;
    struct vring_desc *d = &r->desc[2 * i];

    d[0] = (struct vring_desc){.addr = gpa(f, buf), .len = first, .flags = VRING_DESC_F_WRITE};
    if (first < all) {
        d[0].flags |= VRING_DESC_F_NEXT;
        d[0].next = (uint16_t)(2 * i + 1);
        d[1] =
            (struct vring_desc){.addr = gpa(f, buf) + first, .len = all - first, .flags = VRING_DESC_F_WRITE};
    }
    make_available(r, (uint16_t)(2 * i));
}

void front_fill_rx(struct front *f)
{
    for (unsigned i = 0; i < f->rx_bufs; i++)
        post_rx(f, i);
}

void front_kick(struct front *f, unsigned ring)
{
    uint64_t one = 1;

    assert_int_equal(write(f->ring[ring].kick, &one, sizeof(one)), sizeof(one));
}

bool front_put(struct front *f, struct virtio_vsock_hdr h, const void *data, uint32_t n)
{
    struct front_ring *r = &f->ring[1];
    uint16_t out = (uint16_t)(r->avail_idx - __atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE));
    unsigned i = r->avail_idx % f->tx_bufs;
    uint8_t *buf = f->mem + TX_AT + i * TX_SIZE;

    if (out >= f->tx_bufs)
        return false;
    if (!h.src_cid)
        h.src_cid = FRONT_CID;
    if (!h.dst_cid)
        h.dst_cid = 2;
    if (!h.type)
        h.type = VIRTIO_VSOCK_TYPE_STREAM;
    memcpy(buf, &h, sizeof(h));
    if (n)
        memcpy(buf + sizeof(h), data, n);
    r->desc[i] = (struct vring_desc){.addr = gpa(f, buf), .len = (uint32_t)sizeof(h) + n};
    make_available(r, (uint16_t)i);
    return true;
}

void front_send(struct front *f, unsigned op, uint32_t guest_port, uint32_t host_port, const void *data,
                uint32_t n)
{
    struct virtio_vsock_hdr h = {
        .op = (uint16_t)op, .src_port = guest_port, .dst_port = host_port, .len = n, .buf_alloc = 256 * 1024};

    assert_true(front_put(f, h, data, n));
    front_kick(f, 1);
}

bool front_take(struct front *f, struct front_packet *p)
{
    struct front_ring *r = &f->ring[0];
    struct vring_used_elem e;
    uint8_t *buf;

    if (__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) == r->seen)
        return false;
    e = r->used->ring[r->seen % r->num];
    r->seen++;
    assert_true(e.id % 2 == 0 && e.id / 2 < f->rx_bufs);
    assert_in_range(e.len, sizeof(p->h), sizeof(p->h) + FRONT_RX_DATA);
    buf = f->mem + RX_AT + e.id / 2 * RX_SIZE;
    memcpy(&p->h, buf, sizeof(p->h));
    p->len = e.len - (uint32_t)sizeof(p->h);
    assert_int_equal(p->h.len, p->len);
    assert_int_equal(p->h.dst_cid, FRONT_CID);
    assert_int_equal(p->h.src_cid, 2);
    memcpy(p->data, buf + sizeof(p->h), p->len);
    if (!f->hold) {
        post_rx(f, e.id / 2);
        if (!(__atomic_load_n(&r->used->flags, __ATOMIC_SEQ_CST) & VRING_USED_F_NO_NOTIFY))
            front_kick(f, 0);
    }
    return true;
}

struct taking {
    struct front *f;
    struct front_packet *p;
};

static bool try_take(void *arg)
{
    struct taking *t = arg;

    return front_take(t->f, t->p);
}

void front_expect(struct front *f, unsigned op, struct front_packet *p)
{
    struct taking t = {f, p};

    front_run(f, try_take, &t);
    assert_int_equal(p->h.op, op);
}

/* ---- QEMU's part ---- */

int64_t front_mem_table(struct front *f)
{
    uint64_t body[5] = {1, FRONT_GPA, FRONT_MEM, FRONT_UVA, 0};

    return front_msg(f, 5, body, sizeof(body), &f->memfd, 1);
}

int64_t front_addr(struct front *f, unsigned ring, uint64_t desc, uint64_t used, uint64_t avail)
{
    uint64_t body[5] = {ring, desc, used, avail, 0};

    return front_msg(f, 9, body, sizeof(body), NULL, 0);
}

/* base: the next entry of each available ring. */
static void start_rings(struct front *f, const uint16_t base[2])
{
    uint64_t features = UINT64_C(1) << 32 | UINT64_C(1) << 30;

    assert_int_equal(front_msg(f, 2, &features, 8, NULL, 0), 0);
    assert_int_equal(front_mem_table(f), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct front_ring *r = &f->ring[i];
        uint64_t index = i;

        assert_int_equal(front_msg(f, 13, &index, 8, &r->call, 1), 0);
        assert_int_equal(front_msg2(f, 8, i, r->num), 0);
        assert_int_equal(front_msg2(f, 10, i, base[i]), 0);
        assert_int_equal(front_addr(f, i, uva(f, r->desc), uva(f, r->used), uva(f, r->avail)), 0);
        assert_int_equal(front_msg(f, 12, &index, 8, &r->kick, 1), 0);
    }
}

static void enable_rings(struct front *f, bool on)
{
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(front_msg2(f, 18, i, on), 0);
}

void front_start(struct front *f)
{
    start_rings(f, (const uint16_t[2]){f->ring[0].avail_idx, f->ring[1].avail_idx});
    front_fill_rx(f);
    enable_rings(f, true);
}

void front_pause(struct front *f)
{
    enable_rings(f, false);
    for (unsigned i = 0; i < 2; i++) {
        int64_t state = front_msg2(f, 11, i, 0);

        assert_true(state >= 0);
        f->ring[i].base = (uint16_t)((uint64_t)state >> 32);
    }
}

void front_resume(struct front *f)
{
    start_rings(f, (const uint16_t[2]){f->ring[0].base, f->ring[1].base});
    enable_rings(f, true);
}

void front_stop(struct front *f)
{
    front_pause(f);
    for (unsigned i = 0; i < 2; i++)
        f->ring[i].avail_idx = f->ring[i].seen = 0;
    memset(f->mem, 0, RX_AT);
}

void front_sync(struct front *f)
{
    /*
     * Three round trips.  Handling a message also runs the rings; epoll reports a kick that precedes it in
     * the same round or the next, and a device that stopped at PV_VSOCK_CHAINS_PER_CALL goes on in one more
     * round.
     */
    for (int i = 0; i < 3; i++)
        assert_true(front_msg(f, 1, NULL, 0, NULL, 0) > 0);
}
