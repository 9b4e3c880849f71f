/* SPDX-License-Identifier: MIT */
/*
 * Frames of guests in a switch: two sockets as QEMU's, a port with an IPv4 and one with an IPv6 address, a capture.  Each step
 * of the input is an action, a length of two bytes, and a frame, or what an impairment is made of.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "loop/loop.h"
#include "net/capture.h"
#include "net/internal.h"
#include "net/network.h"
#include "net/port.h"
#include "util/clock.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SOCKETS = 2, PORTS = 2, ENDS = SOCKETS + PORTS, QUEUE = 4 };

static struct lab {
    struct pv_net *net;
    struct pv_net_end *end[ENDS];
    struct pv_port *port[PORTS];
} lab;

/* QEMU's and the switch's sides; the network gets copies of the latter, because closing a socket is slow. */
static int peer[SOCKETS], side[SOCKETS];

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* Each block is whole, a multiple of 4 bytes, and ends with its size. */
static void capture_check(void *arg, const void *data, size_t n)
{
    const uint8_t *p = data;
    uint32_t first, last;

    (void)arg;
    for (; n; p += first, n -= first) {
        must(n >= 12);
        memcpy(&first, p + 4, sizeof(first));
        must(first >= 12 && first <= n && first % 4 == 0);
        memcpy(&last, p + first - 4, sizeof(last));
        must(first == last);
    }
}

static void sockets_open(void)
{
    int sv[2];

    for (unsigned i = 0; i < SOCKETS; i++) {
        must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) == 0);
        peer[i] = sv[0];
        side[i] = sv[1];
    }
}

static void socket_empty(int fd)
{
    char frame[64];

    while (recv(fd, frame, sizeof(frame), MSG_DONTWAIT) >= 0)
        ;
}

static void lab_begin(struct pv_loop *loop)
{
    static const struct pv_ip ips[PORTS] = {{.addr = {10, 7, 0, 1}, .n = 4},
                                            {.addr = {0xfd, [15] = 1}, .n = 16}};
    uint8_t mac[6] = {0x52, 0x54};

    lab.net = pv_net_new(loop, &(struct pv_net_opts){.name = "lan", .seed = 1});
    for (unsigned i = 0; i < ENDS; i++) {
        mac[5] = (uint8_t)i;
        if (i >= SOCKETS) {
            lab.port[i - SOCKETS] = pv_port_new(lab.net, "port", mac, &ips[i - SOCKETS], NULL);
            lab.end[i] = pv_port_end(lab.port[i - SOCKETS]);
            continue;
        }
        lab.end[i] = pv_net_attach(lab.net, "vm", mac, NULL, NULL, NULL);
        must(pv_net_connect(lab.end[i], fcntl(side[i], F_DUPFD_CLOEXEC, 0), NULL) == 0);
    }
}

/* A direction's frames are delivered, lost, or wait. */
static void directions_check(void)
{
    size_t queued = 0;

    for (const struct pv_net_end *from = lab.net->ends; from; from = from->next)
        for (unsigned i = 0; i < from->n_to; i++) {
            const struct net_direction *d = from->to[i];

            if (!d)
                continue;
            must(d->stats.delivered + d->stats.lost + d->stats.partitioned + d->stats.dropped + d->queued ==
                 d->stats.sent + d->stats.duplicated);
            for (const struct net_frame *f = d->first; f; f = f->next)
                queued += sizeof(*f) + f->n;
        }
    must(queued == lab.net->queued && !lab.net->pending);
}

static void lab_end(void)
{
    directions_check();
    pv_net_free(lab.net);
    for (unsigned i = 0; i < SOCKETS; i++) {
        socket_empty(peer[i]);
        socket_empty(side[i]);
    }
}

static void rules_change(struct pv_net_end *from, struct pv_net_end *to, const uint8_t *p, size_t n)
{
    struct pv_impair i = {.queue = QUEUE};

    if (n < 7)
        pv_net_partition(lab.net, from, to);
    if (n < 1)
        pv_net_heal_all(lab.net);
    if (n < 7)
        return;
    i.latency = p[0] * (PV_NSEC_PER_SEC / 100000);
    i.jitter = p[1] < p[0] ? p[1] * (PV_NSEC_PER_SEC / 100000) : i.latency;
    i.loss = p[2] / 255.0;
    i.duplicate = p[3] / 255.0;
    i.reorder = p[4] / 255.0;
    i.corrupt = p[5] / 255.0;
    i.rate = p[6] * UINT64_C(100000);
    pv_net_impair(lab.net, from, to, &i);
}

static void ports_read(void)
{
    size_t n;

    for (unsigned i = 0; i < SOCKETS; i++)
        socket_empty(peer[i]);
    for (unsigned i = 0; i < PORTS; i++)
        while (pv_port_take(lab.port[i], &n))
            must(n >= PV_ETHER_MIN && n <= PV_ETHER_MAX);
}

static void step_run(uint8_t action, const uint8_t *p, size_t n)
{
    struct pv_net_end *from = lab.end[action >> 3 & 3], *to = action & 32 ? lab.end[action >> 6] : NULL;

    switch (action & 7) {
    case 0:
        rules_change(from, to, p, n);
        break;
    case 1:
        ports_read();
        break;
    case 2:
        pv_net_carrier(from, n % 2);
        break;
    case 3:
        pv_port_send(lab.port[action >> 3 & 1], p, n);
        break;
    default:
        (void)!send(peer[action >> 3 & 1], p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pv_loop *loop;
    struct pv_net_capture *capture;

    if (!loop) {
        loop = pv_loop_new(NULL);
        sockets_open();
    }
    must(loop != NULL);
    lab_begin(loop);
    capture = pv_net_capture_start(lab.net, capture_check, NULL);
    while (size >= 3) {
        size_t n = (size_t)data[1] | (size_t)data[2] << 8;

        n = n < size - 3 ? n : size - 3;
        step_run(data[0], data + 3, n);
        pv_loop_run(loop, NULL, NULL, pv_now(), NULL);
        data += 3 + n;
        size -= 3 + n;
    }
    pv_net_capture_stop(capture);
    if (size == 2)
        pv_net_detach(lab.end[data[0] % ENDS]);
    lab_end();
    return 0;
}
