/* SPDX-License-Identifier: MIT */
/*
 * A non-blocking socket as a stream.  Watched edge-triggered: an owner that has no room for more bytes just
 * does not read, and a peer that hung up does not spin the loop.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/loop.h"
#include "transport/stream.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/sock.h"

struct fd_stream {
    struct pv_stream s;
    struct pv_loop *loop;
    struct pv_watch w;
    bool shut; /* no more bytes from us */
    bool want_write;
};

enum { EVENTS = EPOLLIN | EPOLLRDHUP };

static struct fd_stream *fd_of(struct pv_stream *s)
{
    return PV_CONTAINER_OF(s, struct fd_stream, s);
}

static ssize_t fd_read(struct pv_stream *s, void *buf, size_t n)
{
    ssize_t r;

    if (s->error)
        return -s->error;
    if (s->connecting)
        return -EAGAIN;
    r = pv_recv(fd_of(s)->w.fd, buf, n);
    if (r >= 0)
        return r;
    if (errno != EAGAIN)
        s->error = errno;
    return -errno;
}

static ssize_t fd_write(struct pv_stream *s, const void *buf, size_t n)
{
    ssize_t r;

    if (s->error)
        return -s->error;
    if (fd_of(s)->shut)
        return -EPIPE;
    if (s->connecting || n == 0)
        return -EAGAIN;
    do
        r = send(fd_of(s)->w.fd, buf, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

static void fd_want_write(struct pv_stream *s, bool on)
{
    struct fd_stream *f = fd_of(s);

    f->want_write = on;
    if (s->connecting)
        return; /* EPOLLOUT is being watched for */
    /* Off and on again: the kernel then looks anew, so that an edge that has passed is not missed. */
    pv_loop_set(f->loop, &f->w, EVENTS | EPOLLET);
    if (on)
        pv_loop_set(f->loop, &f->w, EVENTS | EPOLLET | EPOLLOUT);
}

static void fd_shutdown_write(struct pv_stream *s)
{
    struct fd_stream *f = fd_of(s);

    f->shut = true;
    if (!s->connecting)
        shutdown(f->w.fd, SHUT_WR);
}

static void fd_close(struct pv_stream *s)
{
    struct fd_stream *f = fd_of(s);
    int fd = f->w.fd;

    pv_loop_del(f->loop, &f->w);
    close(fd);
    free(f);
}

/* AF_VSOCK of the kernel tells a refusal, which is a RST, as ECONNRESET. */
static int connect_error(int fd, int error)
{
    int domain = 0;
    socklen_t len = sizeof(domain);

    if (error == ECONNRESET && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
        domain == AF_VSOCK)
        return ECONNREFUSED;
    return error;
}

/* True when the connection is decided, one way or the other. */
static bool finish_connect(struct fd_stream *f, uint32_t events)
{
    socklen_t len = sizeof(f->s.error);
    int error = 0;

    if (getsockopt(f->w.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error == 0 && !(events & EPOLLOUT)) {
        if (!(events & (EPOLLHUP | EPOLLERR)))
            return false;
        error = ECONNRESET;
    }
    f->s.error = connect_error(f->w.fd, error);
    f->s.connecting = false;
    if (!error && f->shut)
        shutdown(f->w.fd, SHUT_WR);
    pv_loop_set(f->loop, &f->w, EVENTS | EPOLLET | (f->want_write ? (uint32_t)EPOLLOUT : 0U));
    return true;
}

static void on_fd(struct pv_watch *w, uint32_t events)
{
    struct fd_stream *f = PV_CONTAINER_OF(w, struct fd_stream, w);

    if (f->s.connecting && !finish_connect(f, events))
        return;
    if (f->s.on_event)
        f->s.on_event(&f->s, f->s.arg); /* may close, and so free, f */
}

struct pv_stream *pv_stream_take_fd(struct pv_loop *loop, int fd, bool connecting, struct pv_err *err)
{
    static const struct pv_stream_ops ops = {
        .read = fd_read,
        .write = fd_write,
        .want_write = fd_want_write,
        .shutdown_write = fd_shutdown_write,
        .close = fd_close,
    };
    struct fd_stream *f = pv_xcalloc(1, sizeof(*f));
    uint32_t events = EVENTS | EPOLLET | (connecting ? (uint32_t)EPOLLOUT : 0U);

    f->s.ops = &ops;
    f->s.connecting = connecting;
    f->loop = loop;
    f->w.fd = -1;
    f->w.fn = on_fd;
    if (pv_loop_add(loop, &f->w, fd, events, err) < 0) {
        close(fd);
        free(f);
        return NULL;
    }
    return &f->s;
}
