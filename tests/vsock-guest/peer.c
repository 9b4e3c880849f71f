/* SPDX-License-Identifier: MIT */
/* Blocking streams to the guest; they run the loop while they wait. */
#include <errno.h>
#include <string.h>

#include "loop/loop.h"
#include "rig.h"
#include "transport/stream.h"
#include "util/err.h"
#include "vhost/vhost.h"

static void on_event(struct pv_stream *s, void *arg)
{
    (void)s;
    ((struct peer *)arg)->event = true;
}

static bool has_event(void *arg)
{
    return ((struct peer *)arg)->event;
}

void peer_wait(struct peer *p, const char *what)
{
    if (pv_loop_run(rig.loop, has_event, p, rig.limit, NULL) != 0)
        rig_fail("%s: nothing happened (device: %s)", what, rig.vsock->error_text);
    p->event = false;
}

int peer_try_dial(struct peer *p, unsigned port)
{
    struct pv_err err = PV_ERR_INIT;

    *p = (struct peer){.s = pv_vsock_device_connect(rig.vsock, port, &err)};
    if (!p->s)
        rig_fail("connect: %s", err.text);
    p->s->on_event = on_event;
    p->s->arg = p;
    while (p->s->connecting)
        peer_wait(p, "connect");
    if (p->s->error) {
        int error = p->s->error;

        pv_stream_close(p->s);
        return error;
    }
    return 0;
}

void peer_dial(struct peer *p, unsigned port)
{
    int error = peer_try_dial(p, port);

    if (error)
        rig_fail("port %u: %s", port, strerror(error));
}

void peer_send(struct peer *p, const void *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t r;

        p->event = false;
        r = pv_stream_write(p->s, (const char *)data + done, n - done);
        if (r > 0) {
            done += (size_t)r;
            continue;
        }
        if (r != -EAGAIN)
            rig_fail("write: %s", strerror((int)-r));
        pv_stream_want_write(p->s, true);
        peer_wait(p, "write");
        pv_stream_want_write(p->s, false);
    }
}

size_t peer_read(struct peer *p, void *data, size_t n)
{
    size_t done = 0;

    while (done < n) {
        ssize_t r;

        p->event = false;
        r = pv_stream_read(p->s, (char *)data + done, n - done);
        if (r == 0)
            break;
        if (r > 0)
            done += (size_t)r;
        else if (r == -EAGAIN)
            peer_wait(p, "read");
        else
            rig_fail("read: %s", strerror((int)-r));
    }
    return done;
}

void peer_recv(struct peer *p, void *data, size_t n)
{
    size_t got = peer_read(p, data, n);

    if (got != n)
        rig_fail("the stream ended after %zu of %zu bytes", got, n);
}

uint64_t peer_recv_u64(struct peer *p)
{
    uint64_t v;

    peer_recv(p, &v, sizeof(v));
    return v;
}
