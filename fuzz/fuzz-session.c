/* SPDX-License-Identifier: MIT */
/*
 * An agent that lies: its bytes after the connection, while a request waits for its reply.  The frames of the
 * request that get through have its id.
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/session.h"
#include "loop/loop.h"
#include "transport/stream.h"
#include "util/clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 100000 };

static int on_frame(void *arg, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    size_t n;

    (void)arg;
    if (type < PV_MSG_READY || !pv_msg_name(type))
        abort();
    if (type == PV_MSG_OK)
        return 1;
    pv_dec_bytes(d, &n);
    return pv_dec_done(d) ? 0 : pv_err_set(err, PV_E_PROTOCOL, "malformed");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_loop *loop = pv_loop_new(NULL);
    uint8_t ready[64];
    struct pv_enc greeting = {.p = ready, .cap = sizeof(ready)}, e;
    struct pv_session *s;
    size_t n;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        abort();
    pv_enc_begin(&greeting, PV_MSG_READY);
    pv_enc_u32(&greeting, PV_WIRE_MAGIC);
    pv_enc_u32(&greeting, PV_WIRE_VERSION);
    pv_enc_u32(&greeting, 1);
    pv_enc_bytes(&greeting, "6.1", 3);
    n = pv_enc_end(&greeting);
    s = pv_session_new(loop, pv_stream_take_fd(loop, fds[0], false, NULL));
    /* An odd first byte leaves the greeting to the input. */
    if ((size && data[0] % 2 == 0 && write(fds[1], ready, n) < 0))
        abort();
    pv_loop_run(loop, NULL, NULL, pv_now(), NULL);
    if (s->state == PV_SESSION_OPEN) {
        pv_session_begin(s, &e, PV_MSG_PING);
        pv_enc_bytes(&e, "x", 1);
        s->on_frame = on_frame;
        pv_session_send(s, &e, NULL);
    }
    if (size > 1 && write(fds[1], data + 1, size < INPUT_MAX ? size - 1 : INPUT_MAX) < 0)
        abort();
    shutdown(fds[1], SHUT_WR);
    for (int i = 0; i < 8; i++)
        pv_loop_run(loop, NULL, NULL, pv_now(), NULL);
    if (s->state == PV_SESSION_BROKEN && !s->err.text[0])
        abort();
    pv_session_unref(s);
    close(fds[1]);
    pv_loop_free(loop);
    return 0;
}
