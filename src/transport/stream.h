/* SPDX-License-Identifier: MIT */
/*
 * A byte stream to a guest, whatever carries it: a kernel socket (vhost-vsock, virtio-serial, unix) or
 * a connection of our own vhost-user-vsock device.
 *
 * Never blocks.  The owner sets `on_event` and is told, from within the loop, that something changed: bytes
 * came, there is room again, or the stream ended.  It then calls read/write until they say -EAGAIN; events
 * are level-ish (a wake-up may be spurious, none is lost if the owner reads to -EAGAIN).
 */
#ifndef PV_TRANSPORT_STREAM_H
#define PV_TRANSPORT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct pv_err;
struct pv_loop;
struct pv_stream;

struct pv_stream_ops {
    /* Bytes read (> 0), 0 at the peer's end of stream, -EAGAIN, or another negative errno when broken. */
    ssize_t (*read)(struct pv_stream *s, void *buf, size_t n);
    /* Bytes taken (> 0, may be fewer than n), -EAGAIN, or another negative errno (-EPIPE) when broken. */
    ssize_t (*write)(struct pv_stream *s, const void *buf, size_t n);
    /* Asks to be told (or no longer told) when writing is possible again. */
    void (*want_write)(struct pv_stream *s, bool on);
    /* Half-close: no more bytes to the guest. */
    void (*shutdown_write)(struct pv_stream *s);
    /* Ends the stream and frees it. */
    void (*close)(struct pv_stream *s);
};

/* Embedded first in each implementation's own struct. */
struct pv_stream {
    const struct pv_stream_ops *ops;
    bool connecting; /* true until the connection is made; then on_event is called */
    int error;       /* why it broke or could not connect (errno, ECONNREFUSED ...), 0 while it is fine */
    void (*on_event)(struct pv_stream *s, void *arg);
    void *arg;
};

static inline ssize_t pv_stream_read(struct pv_stream *s, void *buf, size_t n)
{
    return s->ops->read(s, buf, n);
}

static inline ssize_t pv_stream_write(struct pv_stream *s, const void *buf, size_t n)
{
    return s->ops->write(s, buf, n);
}

static inline void pv_stream_want_write(struct pv_stream *s, bool on)
{
    s->ops->want_write(s, on);
}

static inline void pv_stream_shutdown_write(struct pv_stream *s)
{
    s->ops->shutdown_write(s);
}

static inline void pv_stream_close(struct pv_stream *s)
{
    if (s)
        s->ops->close(s);
}

/* A stream over a connected (or, with connecting=true, connecting) non-blocking socket; takes the fd. */
struct pv_stream *pv_stream_take_fd(struct pv_loop *loop, int fd, bool connecting, struct pv_err *err);

#endif
