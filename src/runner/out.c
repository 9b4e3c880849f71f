/* SPDX-License-Identifier: MIT */
/*
 * O_NONBLOCK is not ours to set: the description is shared with whoever started us.  A pipe that polls
 * writable takes PIPE_BUF bytes without blocking, so nothing larger is written at a time.
 */
#include "runner/out.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "util/path.h"

static void broken(struct pv_out *o, int error)
{
    o->error = error;
    pv_loop_del(o->loop, &o->watch);
    pv_buf_free(&o->queue);
    if (o->on_error)
        o->on_error(o);
}

static void on_fd(struct pv_watch *w, uint32_t events)
{
    struct pv_out *o = PV_CONTAINER_OF(w, struct pv_out, watch);
    size_t n = o->queue.len < PIPE_BUF ? o->queue.len : PIPE_BUF;
    ssize_t done;

    if (!(events & EPOLLOUT) || (events & EPOLLERR)) {
        broken(o, EPIPE);
        return;
    }
    done = n ? write(o->fd, o->queue.data, n) : 0;
    if (done < 0) {
        if (errno != EAGAIN && errno != EINTR)
            broken(o, errno);
        return;
    }
    pv_buf_consume(&o->queue, (size_t)done);
    if (o->queue.len == 0)
        pv_loop_set(o->loop, &o->watch, 0);
}

void pv_out_init(struct pv_out *o, struct pv_loop *loop, int fd)
{
    *o = (struct pv_out){.loop = loop, .fd = fd, .watch = {.fd = -1, .fn = on_fd}};
    o->direct = pv_loop_add(loop, &o->watch, fd, 0, NULL) < 0;
}

void pv_out_put(struct pv_out *o, struct pv_buf *b)
{
    if (o->error || b->len == 0) {
        pv_buf_free(b);
        return;
    }
    if (o->direct) {
        if (pv_write_all(o->fd, b->data, b->len) < 0)
            broken(o, errno);
    } else {
        pv_buf_add(&o->queue, b->data, b->len);
        pv_loop_set(o->loop, &o->watch, EPOLLOUT);
    }
    pv_buf_free(b);
}

bool pv_out_done(const struct pv_out *o)
{
    return o->error || o->queue.len == 0;
}

void pv_out_fini(struct pv_out *o)
{
    pv_loop_del(o->loop, &o->watch);
    pv_buf_free(&o->queue);
}
