/* SPDX-License-Identifier: MIT */
/*
 * Messages (QEMU docs/interop/vhost-user.rst), little-endian here as QEMU runs on the same machine:
 *
 *     u32 request, u32 flags (version 1 in bits 0-1, 4: reply, 8: need reply), u32 size, payload[size]
 *
 * with descriptors attached to the first byte.  A row of `messages` has the legal sizes and number of
 * descriptors of each request; a handler runs only on a legal message, so it reads the payload without
 * checking the size again.
 */
#include "vhost/vu.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/sock.h"

enum { FLAG_VERSION = 1, FLAG_VERSION_MASK = 3, FLAG_REPLY = 4, FLAG_NEED_REPLY = 8 };
enum { RING_INDEX_MASK = 0xff, RING_NOFD = 0x100 };
enum { MESSAGES_PER_CALL = 32, CONFIG_HEADER = 12, REGION_SIZE = 32, TABLE_HEADER = 8 };

enum request {
    GET_FEATURES = 1,
    SET_FEATURES = 2,
    SET_OWNER = 3,
    SET_MEM_TABLE = 5,
    SET_VRING_NUM = 8,
    SET_VRING_ADDR = 9,
    SET_VRING_BASE = 10,
    GET_VRING_BASE = 11,
    SET_VRING_KICK = 12,
    SET_VRING_CALL = 13,
    SET_VRING_ERR = 14,
    GET_PROTOCOL_FEATURES = 15,
    SET_PROTOCOL_FEATURES = 16,
    SET_VRING_ENABLE = 18,
    GET_CONFIG = 24,
    SET_CONFIG = 25,
};

struct message {
    uint32_t request, flags, size;
    const uint8_t *body;
    /* The handler's reply, if the request has one. */
    uint8_t reply[PV_VU_BODY_MAX];
    uint32_t reply_size;
};

#define DEVICE_FEATURES (PV_VU_F_VERSION_1 | PV_VU_F_PROTOCOL_FEATURES)
#define PROTOCOL_FEATURES (PV_VU_PROTOCOL_CONFIG | PV_VU_PROTOCOL_REPLY_ACK)

static int vu_fail(struct pv_vu *vu, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int vu_fail(struct pv_vu *vu, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(vu->error, sizeof(vu->error), fmt, ap);
    va_end(ap);
    return -1;
}

static uint32_t u32_at(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static uint64_t u64_at(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static void reply_u64(struct message *m, uint64_t v)
{
    memcpy(m->reply, &v, sizeof(v));
    m->reply_size = sizeof(v);
}

static void close_fds(struct pv_vu *vu)
{
    for (unsigned i = 0; i < vu->n_fds; i++)
        pv_close(&vu->fds[i]);
    vu->n_fds = 0;
}

/* ---- rings ---- */

static void stop_ring(struct pv_vu *vu, unsigned i)
{
    struct pv_vu_queue *q = &vu->q[i];

    if (!q->running)
        return;
    vu->on_ring(vu, i, false);
    q->running = false;
    pv_vring_unmap(&q->ring);
}

static int start_ring(struct pv_vu *vu, unsigned i)
{
    struct pv_vu_queue *q = &vu->q[i];
    const char *why;

    if (q->running || !q->enabled || q->kick < 0)
        return 0;
    if (pv_vring_map(&q->ring, &vu->mem, &why) < 0)
        return vu_fail(vu, "%s (ring %u, %u entries)", why, i, q->ring.num);
    q->running = true;
    vu->on_ring(vu, i, true);
    return 0;
}

/* The queue with this index, or NULL after vu_fail. */
static struct pv_vu_queue *queue_at(struct pv_vu *vu, uint64_t index)
{
    if (index >= PV_VU_QUEUES) {
        vu_fail(vu, "QEMU named ring %" PRIu64 "; there are %d", index, PV_VU_QUEUES);
        return NULL;
    }
    return &vu->q[index];
}

static struct pv_vu_queue *stopped_queue_at(struct pv_vu *vu, uint64_t index)
{
    struct pv_vu_queue *q = queue_at(vu, index);

    if (q && q->running) {
        vu_fail(vu, "QEMU changed ring %" PRIu64 " while it runs", index);
        return NULL;
    }
    return q;
}

/* ---- handlers: 0, or -1 after vu_fail ---- */

static int get_features(struct pv_vu *vu, struct message *m)
{
    (void)vu;
    reply_u64(m, DEVICE_FEATURES);
    return 0;
}

static int set_features(struct pv_vu *vu, struct message *m)
{
    uint64_t features = u64_at(m->body);

    if (features & ~DEVICE_FEATURES)
        return vu_fail(vu, "QEMU set device features 0x%" PRIx64 ", offered were 0x%" PRIx64, features,
                       DEVICE_FEATURES);
    return 0;
}

static int get_protocol_features(struct pv_vu *vu, struct message *m)
{
    (void)vu;
    reply_u64(m, PROTOCOL_FEATURES);
    return 0;
}

static int set_protocol_features(struct pv_vu *vu, struct message *m)
{
    uint64_t features = u64_at(m->body);

    if (features & ~PROTOCOL_FEATURES)
        return vu_fail(vu, "QEMU set protocol features 0x%" PRIx64 ", offered were 0x%" PRIx64, features,
                       PROTOCOL_FEATURES);
    return 0;
}

static int set_owner(struct pv_vu *vu, struct message *m)
{
    (void)vu;
    (void)m;
    return 0;
}

static int map_table(struct pv_vu *vu, const struct message *m, uint32_t n, struct pv_vmem *mem)
{
    struct pv_err err = PV_ERR_INIT;

    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *p = m->body + TABLE_HEADER + i * REGION_SIZE;

        if (pv_vmem_add(mem, u64_at(p), u64_at(p + 8), u64_at(p + 16), u64_at(p + 24), vu->fds[i], &err) < 0)
            return vu_fail(vu, "%.*s", (int)sizeof(vu->error) - 1, err.text);
    }
    return 0;
}

/* Running rings are mapped again: a table also comes while they run (memory hotplug). */
static int set_mem_table(struct pv_vu *vu, struct message *m)
{
    uint32_t n = u32_at(m->body);
    struct pv_vmem mem = {.n = 0};

    if (n < 1 || n > PV_VMEM_REGIONS || m->size != TABLE_HEADER + n * REGION_SIZE || vu->n_fds != n)
        return vu_fail(vu, "QEMU sent a memory table of %u regions with %u descriptors in %u bytes", n,
                       vu->n_fds, m->size);
    if (map_table(vu, m, n, &mem) < 0) {
        pv_vmem_clear(&mem);
        return -1;
    }
    pv_vmem_clear(&vu->mem);
    vu->mem = mem;
    for (unsigned i = 0; i < PV_VU_QUEUES; i++) {
        const char *why;

        if (vu->q[i].running && pv_vring_map(&vu->q[i].ring, &vu->mem, &why) < 0)
            return vu_fail(vu, "%s (ring %u, after new memory regions)", why, i);
    }
    return 0;
}

static int set_vring_num(struct pv_vu *vu, struct message *m)
{
    struct pv_vu_queue *q = stopped_queue_at(vu, u32_at(m->body));
    uint32_t num = u32_at(m->body + 4);

    if (!q)
        return -1;
    if (!pv_vring_num_ok(num))
        return vu_fail(vu, "QEMU sent a ring size of %u; expected a power of two, at most %d", num,
                       PV_VRING_MAX);
    q->ring.num = num;
    return 0;
}

static int set_vring_base(struct pv_vu *vu, struct message *m)
{
    struct pv_vu_queue *q = stopped_queue_at(vu, u32_at(m->body));
    uint32_t base = u32_at(m->body + 4);

    if (!q)
        return -1;
    if (base > UINT16_MAX)
        return vu_fail(vu, "QEMU sent a ring base of %u; it has 16 bits", base);
    q->ring.last_avail = (uint16_t)base;
    return 0;
}

static int set_vring_addr(struct pv_vu *vu, struct message *m)
{
    struct pv_vu_queue *q = stopped_queue_at(vu, u32_at(m->body));
    uint32_t flags = u32_at(m->body + 4);

    if (!q)
        return -1;
    if (flags)
        return vu_fail(vu, "QEMU asked for a log of ring writes (flags 0x%x), which was not offered", flags);
    q->ring.desc_uva = u64_at(m->body + 8);
    q->ring.used_uva = u64_at(m->body + 16);
    q->ring.avail_uva = u64_at(m->body + 24);
    return 0;
}

/* Stops the ring; QEMU sends this when the guest resets the device. */
static int get_vring_base(struct pv_vu *vu, struct message *m)
{
    uint32_t index = u32_at(m->body);
    struct pv_vu_queue *q = queue_at(vu, index);
    uint32_t state[2];

    if (!q)
        return -1;
    stop_ring(vu, index);
    pv_close(&q->kick);
    pv_close(&q->call);
    state[0] = index;
    state[1] = q->ring.last_avail;
    memcpy(m->reply, state, sizeof(state));
    m->reply_size = sizeof(state);
    return 0;
}

/*
 * Moves the descriptor of a KICK, CALL or ERR message to *fd (-1: the message has none).  Only an anonymous
 * inode (an eventfd) is accepted: writing to a pipe could raise SIGPIPE or block.
 */
static int take_ring_fd(struct pv_vu *vu, const struct message *m, struct pv_vu_queue **q, int *fd)
{
    uint64_t v = u64_at(m->body);
    struct stat st;

    *q = queue_at(vu, v & RING_INDEX_MASK);
    if (!*q)
        return -1;
    if (v & ~(uint64_t)(RING_INDEX_MASK | RING_NOFD))
        return vu_fail(vu, "QEMU sent a ring descriptor with unknown flags 0x%" PRIx64, v);
    *fd = -1;
    if (v & RING_NOFD)
        return vu->n_fds == 0 ? 0
                              : vu_fail(vu, "QEMU sent %u descriptors where it announced none", vu->n_fds);
    if (vu->n_fds != 1)
        return vu_fail(vu, "QEMU sent %u descriptors for a ring event; expected one", vu->n_fds);
    if (fstat(vu->fds[0], &st) < 0 || (st.st_mode & S_IFMT) != 0)
        return vu_fail(vu, "QEMU sent a ring descriptor that is no eventfd");
    if (pv_set_nonblocking(vu->fds[0]) < 0)
        return vu_fail(vu, "cannot make a ring's eventfd non-blocking: %s", strerror(errno));
    *fd = vu->fds[0]; /* the caller owns it now */
    vu->fds[0] = -1;
    return 0;
}

static int set_vring_kick(struct pv_vu *vu, struct message *m)
{
    struct pv_vu_queue *q;
    unsigned index;
    int fd;

    if (take_ring_fd(vu, m, &q, &fd) < 0)
        return -1;
    index = (unsigned)(q - vu->q);
    stop_ring(vu, index);
    pv_close(&q->kick);
    q->kick = fd;
    if (fd < 0)
        return vu_fail(vu, "QEMU wants ring %u to be polled, which was not offered", index);
    return start_ring(vu, index);
}

static int set_vring_call(struct pv_vu *vu, struct message *m)
{
    struct pv_vu_queue *q;
    int fd;

    if (take_ring_fd(vu, m, &q, &fd) < 0)
        return -1;
    pv_close(&q->call);
    q->call = fd;
    return 0;
}

/* The descriptor is not used: `error` reports errors to the user, and QEMU ignores this one. */
static int set_vring_err(struct pv_vu *vu, struct message *m)
{
    struct pv_vu_queue *q;
    int fd;

    if (take_ring_fd(vu, m, &q, &fd) < 0)
        return -1;
    pv_close(&fd);
    return 0;
}

static int set_vring_enable(struct pv_vu *vu, struct message *m)
{
    uint32_t index = u32_at(m->body), on = u32_at(m->body + 4);
    struct pv_vu_queue *q = queue_at(vu, index);

    if (!q)
        return -1;
    if (on > 1)
        return vu_fail(vu, "QEMU enabled a ring with %u; expected 0 or 1", on);
    q->enabled = on;
    if (on)
        return start_ring(vu, index);
    stop_ring(vu, index);
    return 0;
}

/* Replies with a message of the same size; an empty payload refuses the range. */
static int get_config(struct pv_vu *vu, struct message *m)
{
    uint32_t offset = u32_at(m->body), size = u32_at(m->body + 4);

    if (m->size != CONFIG_HEADER + size)
        return vu_fail(vu, "QEMU asked for %u bytes of configuration in a message of %u", size, m->size);
    memcpy(m->reply, m->body, m->size);
    m->reply_size = m->size;
    if (offset > sizeof(vu->config) || size > sizeof(vu->config) - offset) {
        m->reply_size = 0;
        return 0;
    }
    memcpy(m->reply + CONFIG_HEADER, vu->config + offset, size);
    return 0;
}

/* Ignored: the configuration space of a vsock device has no writable field. */
static int set_config(struct pv_vu *vu, struct message *m)
{
    (void)vu;
    (void)m;
    return 0;
}

enum { MANY_FDS = -1 }; /* the handler checks the number of descriptors */

static const struct message_row {
    enum request request;
    const char *name;
    uint32_t size_min, size_max;
    int fds;
    bool replies;
    int (*handle)(struct pv_vu *vu, struct message *m);
} messages[] = {
    {GET_FEATURES, "GET_FEATURES", 0, 0, 0, true, get_features},
    {SET_FEATURES, "SET_FEATURES", 8, 8, 0, false, set_features},
    {SET_OWNER, "SET_OWNER", 0, 0, 0, false, set_owner},
    {SET_MEM_TABLE, "SET_MEM_TABLE", TABLE_HEADER, TABLE_HEADER + PV_VMEM_REGIONS *REGION_SIZE, MANY_FDS,
     false, set_mem_table},
    {SET_VRING_NUM, "SET_VRING_NUM", 8, 8, 0, false, set_vring_num},
    {SET_VRING_ADDR, "SET_VRING_ADDR", 40, 40, 0, false, set_vring_addr},
    {SET_VRING_BASE, "SET_VRING_BASE", 8, 8, 0, false, set_vring_base},
    {GET_VRING_BASE, "GET_VRING_BASE", 8, 8, 0, true, get_vring_base},
    {SET_VRING_KICK, "SET_VRING_KICK", 8, 8, MANY_FDS, false, set_vring_kick},
    {SET_VRING_CALL, "SET_VRING_CALL", 8, 8, MANY_FDS, false, set_vring_call},
    {SET_VRING_ERR, "SET_VRING_ERR", 8, 8, MANY_FDS, false, set_vring_err},
    {GET_PROTOCOL_FEATURES, "GET_PROTOCOL_FEATURES", 0, 0, 0, true, get_protocol_features},
    {SET_PROTOCOL_FEATURES, "SET_PROTOCOL_FEATURES", 8, 8, 0, false, set_protocol_features},
    {SET_VRING_ENABLE, "SET_VRING_ENABLE", 8, 8, 0, false, set_vring_enable},
    {GET_CONFIG, "GET_CONFIG", CONFIG_HEADER, CONFIG_HEADER + 256, 0, true, get_config},
    {SET_CONFIG, "SET_CONFIG", CONFIG_HEADER, CONFIG_HEADER + 256, 0, false, set_config},
};

static int send_reply(struct pv_vu *vu, const struct message *m)
{
    uint8_t out[PV_VU_HEADER + PV_VU_BODY_MAX];
    uint32_t header[3] = {m->request, FLAG_VERSION | FLAG_REPLY, m->reply_size};
    size_t n = PV_VU_HEADER + m->reply_size;
    ssize_t r;

    memcpy(out, header, sizeof(header));
    memcpy(out + PV_VU_HEADER, m->reply, m->reply_size);
    r = send(vu->fd, out, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (r == (ssize_t)n)
        return 0;
    /* QEMU waits for each reply before its next request, so a full socket is an error. */
    return vu_fail(vu, "cannot reply to QEMU's vhost-user request %u: %s", m->request,
                   r < 0 ? strerror(errno) : "short write");
}

/* Handles the complete message in `in`, with its descriptors in `fds`. */
static int handle_message(struct pv_vu *vu)
{
    struct message m = {.request = u32_at(vu->in),
                        .flags = u32_at(vu->in + 4),
                        .size = u32_at(vu->in + 8),
                        .body = vu->in + PV_VU_HEADER};
    const struct message_row *row = NULL;

    for (size_t i = 0; i < PV_ARRAY_LEN(messages); i++)
        if (messages[i].request == m.request)
            row = &messages[i];
    if (!row)
        return vu_fail(vu, "QEMU sent the unknown vhost-user request %u", m.request);
    if (m.size < row->size_min || m.size > row->size_max)
        return vu_fail(vu, "QEMU sent %s with %u bytes; expected %u to %u", row->name, m.size, row->size_min,
                       row->size_max);
    if (row->fds != MANY_FDS && vu->n_fds != (unsigned)row->fds)
        return vu_fail(vu, "QEMU sent %s with %u descriptors; expected %d", row->name, vu->n_fds, row->fds);
    pv_debug("vhost-user", "%s (%u bytes, %u descriptors)", row->name, m.size, vu->n_fds);
    if (row->handle(vu, &m) < 0)
        return -1;
    close_fds(vu);
    if (!row->replies) {
        if (!(m.flags & FLAG_NEED_REPLY))
            return 0;
        reply_u64(&m, 0); /* success */
    }
    return send_reply(vu, &m);
}

/* ---- reading ---- */

static int take_fds(struct pv_vu *vu, struct msghdr *msg)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t n;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (vu->n_fds < PV_VMEM_REGIONS)
                vu->fds[vu->n_fds++] = fd;
            else
                pv_close(&fd);
        }
    }
    if (msg->msg_flags & MSG_CTRUNC)
        return vu_fail(vu, "QEMU sent descriptors in an unexpected place, or more than %d", PV_VMEM_REGIONS);
    return 0;
}

/* Reads until `in` has `want` bytes of the current message.  1: it has; 0: the socket is empty; -1: error. */
static int read_to(struct pv_vu *vu, size_t want)
{
    while (vu->in_len < want) {
        union {
            char space[CMSG_SPACE(sizeof(int) * PV_VMEM_REGIONS)];
            struct cmsghdr align;
        } control;
        struct iovec iov = {.iov_base = vu->in + vu->in_len, .iov_len = want - vu->in_len};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        ssize_t r;

        /* Descriptors may come with the first byte only; others are dropped by the kernel (MSG_CTRUNC). */
        if (vu->in_len == 0) {
            msg.msg_control = control.space;
            msg.msg_controllen = sizeof(control.space);
        }
        r = pv_recvmsg(vu->fd, &msg, MSG_CMSG_CLOEXEC);
        if (r < 0)
            return errno == EAGAIN
                       ? 0
                       : vu_fail(vu, "cannot read from QEMU's vhost-user socket: %s", strerror(errno));
        if (r == 0)
            return vu_fail(vu, vu->in_len ? "QEMU closed the vhost-user connection amid a message"
                                          : "QEMU closed the vhost-user connection");
        if (take_fds(vu, &msg) < 0)
            return -1;
        vu->in_len += (size_t)r;
    }
    return 1;
}

static int read_message(struct pv_vu *vu)
{
    uint32_t flags, size;
    int r = read_to(vu, PV_VU_HEADER);

    if (r <= 0)
        return r;
    flags = u32_at(vu->in + 4);
    size = u32_at(vu->in + 8);
    if ((flags & FLAG_VERSION_MASK) != FLAG_VERSION || (flags & FLAG_REPLY))
        return vu_fail(vu, "QEMU sent a vhost-user message with flags 0x%x; expected version 1", flags);
    if (size > PV_VU_BODY_MAX)
        return vu_fail(vu, "QEMU sent a vhost-user message of %u bytes; the longest known has less than %d",
                       size, PV_VU_BODY_MAX);
    r = read_to(vu, PV_VU_HEADER + size);
    if (r <= 0)
        return r;
    r = handle_message(vu);
    close_fds(vu);
    vu->in_len = 0;
    return r < 0 ? -1 : 1;
}

int pv_vu_read(struct pv_vu *vu)
{
    for (int i = 0; i < MESSAGES_PER_CALL; i++) {
        int r = read_message(vu);

        if (r <= 0)
            return r;
    }
    return 1;
}

void pv_vu_init(struct pv_vu *vu, int fd)
{
    memset(vu, 0, sizeof(*vu));
    vu->fd = fd;
    for (unsigned i = 0; i < PV_VU_QUEUES; i++) {
        vu->q[i].kick = -1;
        vu->q[i].call = -1;
    }
}

void pv_vu_fini(struct pv_vu *vu)
{
    pv_close(&vu->fd);
    close_fds(vu);
    for (unsigned i = 0; i < PV_VU_QUEUES; i++) {
        vu->q[i].running = false;
        pv_vring_unmap(&vu->q[i].ring);
        pv_close(&vu->q[i].kick);
        pv_close(&vu->q[i].call);
    }
    pv_vmem_clear(&vu->mem);
}
