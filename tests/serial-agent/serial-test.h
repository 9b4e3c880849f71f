/* SPDX-License-Identifier: MIT */
/* Connections over a channel of src/transport/serial.c, for both tests in this directory. Each test includes
 * it once. */
#ifndef PV_TESTS_SERIAL_H
#define PV_TESTS_SERIAL_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/loop.h"
#include "transport/serial.h"
#include "transport/stream.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "wire/codec.h"
#include "wire/mux.h"
#include "wire/proto.h"

static struct pv_loop *loop;

#define SOON (10 * PV_NSEC_PER_SEC)

/* ---- a connection ---- */

struct conn {
    struct pv_stream *s;
    unsigned events;
    bool close_in_event, free_in_event;
    struct pv_channel *v;
};

static void on_event(struct pv_stream *s, void *arg)
{
    struct conn *c = arg;

    c->events++;
    if (c->close_in_event)
        pv_stream_close(s), c->s = NULL;
    if (c->free_in_event)
        c->v->ops->free(c->v), c->v = NULL;
}

static bool had_event(void *arg)
{
    return ((struct conn *)arg)->events > 0;
}

static void wait_event(struct conn *c)
{
    assert_int_equal(pv_loop_run(loop, had_event, c, pv_deadline(SOON), NULL), 0);
    c->events = 0;
}

static void run_ms(int ms)
{
    assert_int_equal(pv_loop_run(loop, NULL, NULL, pv_deadline(ms * PV_NSEC_PER_MSEC), NULL), 1);
}

static void conn_dial(struct pv_channel *v, struct conn *c, unsigned port)
{
    struct pv_err err = PV_ERR_INIT;

    *c = (struct conn){.v = v};
    c->s = v->ops->connect(v, port, &err);
    if (!c->s)
        fail_msg("%s", err.text);
    c->s->on_event = on_event;
    c->s->arg = c;
}

static bool is_ready(void *arg)
{
    struct pv_channel *v = arg;

    return v->error || v->ops->ready(v);
}

static bool is_broken(void *arg)
{
    return ((struct pv_channel *)arg)->error != 0;
}

static bool is_quiesced(void *arg)
{
    const struct pv_channel *c = arg;

    return c->ops->quiesced(c) || is_broken(arg);
}

static void await_channel(bool (*what)(void *arg), struct pv_channel *v)
{
    assert_int_equal(pv_loop_run(loop, what, v, pv_deadline(SOON), NULL), 0);
}

/* QEMU's end of it in *fd. */
static struct pv_channel *new_serial(int *fd)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_channel *v = pv_serial_new(loop, &err);

    assert_non_null(v);
    assert_int_equal(v->kind, PV_CHANNEL_SERIAL);
    *fd = v->qemu_fd;
    v->qemu_fd = -1;
    return v;
}

#endif
