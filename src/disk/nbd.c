/* SPDX-License-Identifier: MIT */
/*
 * The NBD server of one connection between its handshake (hello.c) and its replies (reply.c).  All numbers are
 * big-endian.
 *
 *     u32 magic, u16 flags, u16 command, u64 cookie, u64 offset, u32 length, data of a write
 *
 * Memory is bounded by reading no further request while too many wait or too many replies are not sent.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "disk/internal.h"
#include "disk/nbd.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/sock.h"

enum {
    IN_SIZE = 65536,
    WAIT_MAX = 256,         /* requests that wait */
    WAIT_BYTES = 128 << 20, /* of their data */
    OUT_BYTES = 256 << 10,  /* replies that are not sent, and one more */
    SPARE = 2 << 20,
    SPARE_MIN = 65536,
    TURN = 64, /* requests of one turn */
};

struct nbd_request {
    struct nbd_request *next;
    struct pv_nbd_header h;
    char *data;
    int errnum;
    int64_t due;
};

enum nbd_state { NBD_HELLO, NBD_HEADER, NBD_PAYLOAD, NBD_CLOSED };

struct pv_nbd {
    struct pv_disk *d;
    struct pv_watch w;
    struct pv_timer timer; /* the next request that waits is due; or a turn goes on */
    enum nbd_state state;
    struct pv_nbd_hello hello;
    uint8_t in[IN_SIZE];
    size_t in_at, in_end;
    char *spare;             /* SPARE bytes of a former request, for the next one */
    struct nbd_request *cur; /* the write whose data is being read */
    size_t cur_got;
    struct pv_nbd_out out;
    struct nbd_request *wait, **wait_end;
    unsigned n_wait;
    uint64_t wait_bytes;
    /* The previous request, of which the next one may be a further part. */
    struct {
        uint16_t command;
        uint64_t end;
        bool full; /* it had the largest size */
        struct pv_verdict verdict;
    } last;
};

static void nbd_fail(struct pv_nbd *c, const char *why)
{
    pv_debug(c->d->name, "nbd: %s", why);
    c->state = NBD_CLOSED;
}

static void nbd_push_out(struct pv_nbd *c)
{
    pv_nbd_out_push(&c->out, c->w.fd);
    if (c->out.failed && c->state != NBD_CLOSED)
        nbd_fail(c, "cannot send");
}

/* ---- requests ---- */

static void request_free(struct pv_nbd *c, struct nbd_request *r)
{
    if (r && r->data && r->h.length <= SPARE && r->h.length > SPARE_MIN && !c->spare)
        c->spare = pv_steal(&r->data);
    if (r)
        free(r->data);
    free(r);
}

/* Memory for a write's data: large pieces are used again, for the kernel would have to clear new ones. */
static char *data_alloc(struct pv_nbd *c, uint32_t n)
{
    if (n > SPARE || n <= SPARE_MIN)
        return pv_xmalloc(n);
    return c->spare ? pv_steal(&c->spare) : pv_xmalloc(SPARE);
}

/* Carries out a request that was checked, and replies. */
static void carry_out(struct pv_nbd *c, const struct nbd_request *r)
{
    struct pv_disk *d = c->d;
    bool fua = r->h.flags & PV_NBD_FLAG_FUA;
    int failed = 0;

    if (r->errnum) {
        pv_nbd_out_reply(&c->out, &r->h, r->errnum);
        return;
    }
    switch (r->h.command) {
    case PV_NBD_READ:
        pv_nbd_out_read(&c->out, d, &r->h, c->w.fd);
        return;
    case PV_NBD_WRITE:
        failed = pv_cache_write(d, r->h.offset, r->data, r->h.length, fua);
        break;
    case PV_NBD_TRIM:
        failed = pv_cache_zero(d, PV_CHANGE_DISCARD, r->h.offset, r->h.length, fua);
        break;
    case PV_NBD_WRITE_ZEROES:
        failed = pv_cache_zero(d, PV_CHANGE_ZERO, r->h.offset, r->h.length, fua);
        break;
    default:
        pv_cache_flush(d);
    }
    pv_nbd_out_reply(&c->out, &r->h, failed < 0 ? (errno == ENOSPC ? ENOSPC : EIO) : 0);
}

static const struct {
    bool known, changes, range;
    uint16_t flags;
    enum pv_disk_op op;
} commands[] = {
    [PV_NBD_READ] = {true, false, true, 0, PV_DISK_READ},
    [PV_NBD_WRITE] = {true, true, true, PV_NBD_FLAG_FUA, PV_DISK_WRITE},
    [PV_NBD_FLUSH] = {true, false, false, 0, PV_DISK_FLUSH},
    [PV_NBD_TRIM] = {true, true, true, PV_NBD_FLAG_FUA, PV_DISK_DISCARD},
    [PV_NBD_WRITE_ZEROES] = {true, true, true, PV_NBD_FLAG_FUA | PV_NBD_FLAG_NO_HOLE, PV_DISK_WRITE},
};

/* 0, or the errno for a request that cannot be. */
static int check_request(const struct pv_disk *d, const struct pv_nbd_header *h)
{
    uint64_t size = pv_disk_size(d);

    if (h->command >= PV_ARRAY_LEN(commands) || !commands[h->command].known ||
        h->flags & ~commands[h->command].flags)
        return EINVAL;
    if (commands[h->command].changes && d->readonly)
        return EPERM;
    if (!commands[h->command].range)
        return h->offset || h->length ? EINVAL : 0;
    if (h->offset > size || h->length > size - h->offset)
        return h->command == PV_NBD_READ ? EINVAL : ENOSPC;
    if (!h->length || h->offset % d->sector || h->length % d->sector ||
        (h->command == PV_NBD_READ && h->length > PV_DISK_MAX_TRANSFER))
        return EINVAL;
    return 0;
}

/* The rules' decision; parts of one request get one decision. */
static struct pv_verdict nbd_judge(struct pv_nbd *c, const struct pv_nbd_header *h, enum pv_disk_op op)
{
    struct pv_disk *d = c->d;
    bool part =
        c->last.full && c->last.command == h->command && c->last.end == h->offset && op != PV_DISK_FLUSH;

    if (!part) {
        c->last.verdict = pv_rules_judge(d, op, h->offset, h->length);
        d->stats.requests[op]++;
    }
    d->stats.bytes[op] += h->length;
    c->last.command = h->command;
    c->last.end = h->offset + h->length;
    c->last.full = h->length == PV_DISK_MAX_TRANSFER;
    return c->last.verdict;
}

/* A request that is not the guest's: handled here, true. */
static bool own_request(struct pv_nbd *c, const struct nbd_request *r)
{
    struct pv_disk *d = c->d;

    if (r->h.command == PV_NBD_FLUSH && d->stopped) {
        pv_nbd_out_reply(&c->out, &r->h, 0);
        return true;
    }
    if (d->swallow && r->h.command == PV_NBD_TRIM && r->h.offset == 0 && r->h.length == d->sector) {
        d->swallow = false;
        pv_nbd_out_reply(&c->out, &r->h, 0);
        return true;
    }
    return false;
}

/* The trigger comes before the request is carried out. */
static void nbd_trigger(struct pv_disk *d, enum pv_disk_op op)
{
    if (!d->trigger.fn || d->trigger.fired || (d->trigger.op != PV_DISK_ANY && d->trigger.op != op))
        return;
    if (d->trigger.left) {
        d->trigger.left--;
        return;
    }
    d->trigger.fired = true;
    d->held = true;
    pv_timer_arm(d->loop, &d->notify, pv_now());
}

static void nbd_wait(struct pv_nbd *c, struct nbd_request *r)
{
    *c->wait_end = r;
    c->wait_end = &r->next;
    c->n_wait++;
    c->wait_bytes += r->data ? r->h.length : 0;
}

/* Takes a complete request. */
static void handle_request(struct pv_nbd *c, struct nbd_request *r)
{
    struct pv_disk *d = c->d;
    int errnum = check_request(d, &r->h);
    struct pv_verdict verdict;

    if (errnum) {
        pv_nbd_out_reply(&c->out, &r->h, errnum);
    } else if (!own_request(c, r)) {
        nbd_trigger(d, commands[r->h.command].op);
        verdict = nbd_judge(c, &r->h, commands[r->h.command].op);
        r->errnum = verdict.errnum;
        r->due = verdict.due;
        if (d->held || d->hangs || r->due > pv_now()) {
            nbd_wait(c, r);
            return;
        }
        carry_out(c, r);
    }
    request_free(c, r);
}

/* Carries out what waits and is due; arms the timer for the rest. */
static void run_waiting(struct pv_nbd *c)
{
    struct pv_disk *d = c->d;
    struct nbd_request **at = &c->wait, *r;
    int64_t now = pv_now(), next = 0;

    while ((r = *at) && !d->held && !d->hangs && c->state != NBD_CLOSED &&
           pv_nbd_out_left(&c->out) < OUT_BYTES) {
        if (r->due > now) {
            next = !next || r->due < next ? r->due : next;
            at = &r->next;
            continue;
        }
        *at = r->next;
        if (!*at)
            c->wait_end = at;
        c->n_wait--;
        c->wait_bytes -= r->data ? r->h.length : 0;
        carry_out(c, r);
        request_free(c, r);
    }
    if (next)
        pv_timer_arm(d->loop, &c->timer, next);
}

static size_t header_step(struct pv_nbd *c, const uint8_t *p, size_t n)
{
    struct pv_nbd_header h;
    struct nbd_request *r;

    if (n < sizeof(h))
        return 0;
    memcpy(&h, p, sizeof(h));
    if (be32toh(h.magic) != PV_NBD_REQUEST_MAGIC) {
        nbd_fail(c, "bad magic of a request");
        return sizeof(h);
    }
    h.flags = be16toh(h.flags);
    h.command = be16toh(h.command);
    h.offset = be64toh(h.offset);
    h.length = be32toh(h.length);
    if (h.command == PV_NBD_DISC || (h.command == PV_NBD_WRITE && h.length > PV_DISK_MAX_TRANSFER)) {
        nbd_fail(c, h.command == PV_NBD_DISC ? "disconnect" : "too large a write");
        return sizeof(h);
    }
    r = pv_xcalloc(1, sizeof(*r));
    r->h = h;
    if (h.command == PV_NBD_WRITE && h.length) {
        r->data = data_alloc(c, h.length);
        c->cur = r;
        c->cur_got = 0;
        c->state = NBD_PAYLOAD;
    } else {
        handle_request(c, r);
    }
    return sizeof(h);
}

static size_t payload_step(struct pv_nbd *c, const uint8_t *p, size_t n)
{
    struct nbd_request *r = c->cur;
    size_t left = r->h.length - c->cur_got;

    n = n < left ? n : left;
    memcpy(r->data + c->cur_got, p, n);
    c->cur_got += n;
    if (c->cur_got == r->h.length) {
        c->cur = NULL;
        c->state = NBD_HEADER;
        handle_request(c, r);
    }
    return n;
}

static size_t hello_step(struct pv_nbd *c, const uint8_t *p, size_t n)
{
    size_t used = pv_nbd_hello_step(&c->hello, p, n);

    if (c->hello.state == PV_HELLO_DONE)
        c->state = NBD_HEADER;
    c->out.structured = c->hello.structured;
    nbd_push_out(c);
    if (c->hello.state == PV_HELLO_FAILED)
        nbd_fail(c, c->hello.why);
    return used;
}

static bool has_room(const struct pv_nbd *c)
{
    return c->n_wait < WAIT_MAX && c->wait_bytes < WAIT_BYTES && pv_nbd_out_left(&c->out) < OUT_BYTES;
}

/* Handles the bytes in `in`, at most TURN messages; true: there are more. */
static bool handle_input(struct pv_nbd *c)
{
    for (unsigned i = 0; c->state != NBD_CLOSED && has_room(c); i++) {
        const uint8_t *p = c->in + c->in_at;
        size_t n = c->in_end - c->in_at, used;
        enum nbd_state before = c->state;
        enum pv_nbd_hello_state hello = c->hello.state;

        if (i == TURN)
            return true;
        if (c->state == NBD_HEADER)
            used = header_step(c, p, n);
        else if (c->state == NBD_PAYLOAD)
            used = n ? payload_step(c, p, n) : 0;
        else
            used = hello_step(c, p, n);
        if (!used && c->state == before && c->hello.state == hello)
            break;
        c->in_at += used;
    }
    return false;
}

/* Reads once: 1: bytes came, 0: none are there, -1: closed. */
static int read_input(struct pv_nbd *c)
{
    struct iovec iov[2];
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 1};
    size_t direct = 0;
    ssize_t r;

    memmove(c->in, c->in + c->in_at, c->in_end - c->in_at);
    c->in_end -= c->in_at;
    c->in_at = 0;
    if (c->state == NBD_PAYLOAD && !c->in_end) {
        direct = c->cur->h.length - c->cur_got;
        iov[0] = (struct iovec){c->cur->data + c->cur_got, direct};
        m.msg_iovlen = 2;
    }
    iov[m.msg_iovlen - 1] = (struct iovec){c->in + c->in_end, IN_SIZE - c->in_end};
    r = pv_recvmsg(c->w.fd, &m, 0);
    if (r < 0 && errno == EAGAIN)
        return 0;
    if (r <= 0) {
        nbd_fail(c, r < 0 ? strerror(errno) : "closed by the peer");
        return -1;
    }
    if (direct) {
        size_t n = (size_t)r < direct ? (size_t)r : direct;

        c->cur_got += n;
        r -= (ssize_t)n;
        if (n == direct) {
            struct nbd_request *done = c->cur;

            c->cur = NULL;
            c->state = NBD_HEADER;
            c->in_end = (size_t)r;
            handle_request(c, done);
            return 1;
        }
    }
    c->in_end += (size_t)r;
    return 1;
}

void pv_nbd_close(struct pv_nbd *c)
{
    struct nbd_request *next;

    pv_timer_cancel(c->d->loop, &c->timer);
    if (c->w.fd >= 0) {
        int fd = c->w.fd;

        pv_loop_del(c->d->loop, &c->w);
        close(fd);
    }
    for (struct nbd_request *r = c->wait; r; r = next) {
        next = r->next;
        request_free(c, r);
    }
    request_free(c, c->cur);
    free(c->spare);
    pv_nbd_out_free(&c->out);
    if (c->d->nbd == c)
        c->d->nbd = NULL;
    free(c);
}

/* One turn: handles input, output and waiting requests, as far as there is room. */
static void nbd_turn(struct pv_nbd *c, bool all)
{
    bool more = false, stopped, blocked;
    int r = 1;

    nbd_push_out(c);
    run_waiting(c);
    for (unsigned i = 0; r > 0 && c->state != NBD_CLOSED && has_room(c) && (all || i < 4); i++) {
        more = handle_input(c);
        if (c->state == NBD_CLOSED || !has_room(c) || (more && !all))
            break;
        if (!more)
            r = read_input(c);
    }
    do {
        run_waiting(c);
        stopped = pv_nbd_out_left(&c->out) >= OUT_BYTES;
        nbd_push_out(c);
    } while (stopped && pv_nbd_out_left(&c->out) < OUT_BYTES && c->state != NBD_CLOSED);
    if (c->state == NBD_CLOSED) {
        pv_nbd_close(c);
        return;
    }
    blocked = !has_room(c);
    if (!blocked && (more || (r > 0 && c->in_end > c->in_at)))
        pv_timer_arm(c->d->loop, &c->timer, pv_now());
    pv_loop_set(c->d->loop, &c->w, (blocked ? 0 : EPOLLIN) | (pv_nbd_out_left(&c->out) ? EPOLLOUT : 0));
}

static void on_socket(struct pv_watch *w, uint32_t events)
{
    struct pv_nbd *c = PV_CONTAINER_OF(w, struct pv_nbd, w);

    if (events & (EPOLLHUP | EPOLLERR) && !has_room(c)) {
        pv_nbd_close(c);
        return;
    }
    nbd_turn(c, false);
}

static void on_timer(struct pv_timer *t)
{
    nbd_turn(PV_CONTAINER_OF(t, struct pv_nbd, timer), false);
}

void pv_nbd_wake(struct pv_nbd *c)
{
    pv_timer_arm(c->d->loop, &c->timer, pv_now());
}

void pv_nbd_release(struct pv_nbd *c, int errnum)
{
    for (struct nbd_request *r = c->wait; r; r = r->next) {
        r->due = 0;
        r->errnum = errnum ? errnum : r->errnum;
    }
    if (errnum)
        run_waiting(c);
    pv_nbd_wake(c);
}

void pv_nbd_drain(struct pv_nbd *c)
{
    nbd_turn(c, true);
}

int pv_nbd_open(struct pv_disk *d, int fd, struct pv_err *err)
{
    struct pv_nbd *c = pv_xcalloc(1, sizeof(*c));

    c->d = d;
    c->w.fd = -1;
    fcntl(fd, F_SETFL, O_NONBLOCK); /* sendfile has no flags */
    c->w.fn = on_socket;
    c->timer.fn = on_timer;
    c->wait_end = &c->wait;
    if (pv_loop_add(d->loop, &c->w, fd, EPOLLIN, err) < 0) {
        close(fd);
        pv_nbd_close(c);
        return -1;
    }
    d->nbd = c;
    pv_nbd_hello_init(&c->hello, d, &c->out.buf);
    nbd_push_out(c);
    pv_loop_set(d->loop, &c->w, EPOLLIN | (pv_nbd_out_left(&c->out) ? EPOLLOUT : 0));
    return 0;
}
