/* SPDX-License-Identifier: MIT */
/*
 * The agent's end of a virtio-serial port: any bytes of the host, after a greeting if the first byte is even, while
 * each session returns what it receives.  What the agent writes is a sequence of valid packets.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/mux.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TURNS = 8, INPUT_MAX = 60000, OUT_MAX = 256 * 1024 };

static struct {
    int fds[PV_MUX_CHANNELS]; /* the sessions' ends */
    size_t n;
} sessions;

static int on_open(void *arg, uint32_t port)
{
    int pair[2];

    (void)arg;
    if (port % 4 == 3 || sessions.n == PV_MUX_CHANNELS ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -1;
    sessions.fds[sessions.n++] = pair[1];
    return pair[0];
}

static void sessions_echo(void)
{
    char buf[4096];
    ssize_t n;

    for (size_t i = 0; i < sessions.n; i++)
        while ((n = recv(sessions.fds[i], buf, sizeof(buf), 0)) > 0)
            if (send(sessions.fds[i], buf, (size_t)n, MSG_NOSIGNAL) < 0)
                break;
}

static void mux_turn(struct ag_mux *m)
{
    static struct pollfd p[AG_MUX_POLL];
    static uint16_t channels[AG_MUX_POLL];
    size_t n = ag_mux_poll(m, p, channels);

    if (n > AG_MUX_POLL || poll(p, n, 0) < 0)
        abort();
    ag_mux_turn(m, p, channels, n);
    if (m->in_len > AG_MUX_IN || m->out_tail > AG_MUX_OUT || m->out_head > m->out_tail)
        abort();
    if (m->quiesce && !m->resting && ag_mux_drained(m))
        ag_mux_quiesced(m);
}

static void on_reset(void *arg)
{
    ++*(unsigned *)arg;
}

/* whole: the agent has written all, so the last packet is complete. */
static void output_check(int fd, bool whole)
{
    static uint8_t out[OUT_MAX];
    struct pv_mux_header h;
    size_t len = 0, at = 0;
    ssize_t n;

    while (len < OUT_MAX && (n = recv(fd, out + len, OUT_MAX - len, MSG_DONTWAIT)) > 0)
        len += (size_t)n;
    for (; len - at >= PV_MUX_HEADER; at += PV_MUX_HEADER + h.length) {
        if (pv_mux_header(out + at, &h))
            abort();
        if (len - at - PV_MUX_HEADER < h.length)
            break;
    }
    if (whole && len < OUT_MAX && at != len)
        abort();
}

static void mux_end(struct ag_mux *m)
{
    for (size_t i = 0; i <= PV_MUX_CHANNELS; i++)
        if (m->ch[i].fd >= 0)
            close(m->ch[i].fd);
    for (size_t i = 0; i < sessions.n; i++)
        close(sessions.fds[i]);
    sessions.n = 0;
    munmap(m->in, AG_MUX_IN);
    munmap(m->out, AG_MUX_OUT);
    munmap(m->ring, (size_t)(PV_MUX_CHANNELS + 1) * PV_MUX_WINDOW);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t hello[PV_MUX_HEADER + PV_MUX_NONCE + 4] = {0};
    unsigned resets = 0;
    struct ag_mux m = {.open = on_open, .reset = on_reset, .arg = &resets};
    int port[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, port) < 0 ||
        !ag_mux_init(&m, port[0]))
        abort();
    pv_mux_put_header(hello, PV_MUX_HELLO, 0, PV_MUX_NONCE + 4);
    pv_mux_put_u32(hello + PV_MUX_HEADER + PV_MUX_NONCE, PV_MUX_VERSION);
    if (size && data[0] % 2 == 0 && send(port[1], hello, sizeof(hello), 0) < 0)
        abort();
    if (size > 1)
        (void)send(port[1], data + 1, size - 1 < INPUT_MAX ? size - 1 : INPUT_MAX, MSG_NOSIGNAL);
    for (int i = 0; i < TURNS; i++) {
        mux_turn(&m);
        sessions_echo();
    }
    if (resets == 1 && !m.lost) /* a reset and a fault drop output, also amid a packet */
        output_check(port[1], ag_mux_drained(&m));
    mux_end(&m);
    close(port[0]);
    close(port[1]);
    return 0;
}
