/* SPDX-License-Identifier: MIT */
/*
 * O_NONBLOCK must not be set on an inherited descriptor: the parent process shares its open file description.
 * A pipe that polls writable takes PIPE_BUF bytes without blocking, so a write has at most that many.  A
 * terminal gives no such guarantee: it is opened again, which makes a new description.
 */
#include "loop/out.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <stdio.h>
#include <sys/stat.h>

#include "util/path.h"

static void out_broken(struct pv_out *o, int error)
{
    o->error = error;
    pv_loop_del(o->loop, &o->watch);
    pv_buf_free(&o->queue);
    if (o->on_error)
        o->on_error(o);
}

/* Writes once from the queue; false: the queue is empty, a write would block, or it failed. */
static bool write_some(struct pv_out *o)
{
    size_t n = o->queue.len < PIPE_BUF ? o->queue.len : PIPE_BUF;
    ssize_t done = n ? write(o->fd, o->queue.data, n) : 0;

    if (done < 0) {
        if (errno != EAGAIN && errno != EINTR)
            out_broken(o, errno);
        return false;
    }
    pv_buf_consume(&o->queue, (size_t)done);
    if (o->queue.len)
        return true;
    pv_loop_set(o->loop, &o->watch, 0);
    if (o->on_empty)
        o->on_empty(o);
    return false;
}

static void on_fd(struct pv_watch *w, uint32_t events)
{
    struct pv_out *o = PV_CONTAINER_OF(w, struct pv_out, watch);

    if (!(events & EPOLLOUT) || (events & EPOLLERR)) {
        out_broken(o, EPIPE);
        return;
    }
    write_some(o);
}

void pv_out_push(struct pv_out *o)
{
    while (o->own_fd >= 0 && !o->error && write_some(o))
        ;
}

/* Opens the terminal of fd again with O_NONBLOCK; -1: fd is no terminal, or it cannot be opened. */
static int open_terminal(int fd)
{
    char path[32];
    struct stat a, b;
    int own;

    if (!isatty(fd))
        return -1;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own >= 0 && (fstat(fd, &a) < 0 || fstat(own, &b) < 0 || a.st_rdev != b.st_rdev))
        pv_close(&own);
    return own;
}

void pv_out_init(struct pv_out *o, struct pv_loop *loop, int fd)
{
    *o = (struct pv_out){
        .loop = loop, .fd = fd, .own_fd = open_terminal(fd), .watch = {.fd = -1, .fn = on_fd}};
    if (o->own_fd >= 0)
        o->fd = o->own_fd;
    o->direct = pv_loop_add(loop, &o->watch, o->fd, 0, NULL) < 0;
}

void pv_out_put(struct pv_out *o, struct pv_buf *b)
{
    if (o->error || b->len == 0) {
        pv_buf_free(b);
        return;
    }
    if (o->direct) {
        if (pv_write_all(o->fd, b->data, b->len) < 0)
            out_broken(o, errno);
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
    pv_close(&o->own_fd);
    pv_buf_free(&o->queue);
}
