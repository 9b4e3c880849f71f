/* SPDX-License-Identifier: MIT */
/*
 * Packets of guests at a router between two networks of IPv4 and one of IPv6.  Each step of the input is the number of a
 * network, a length of two bytes, and a frame of its host; hosts reply to no question, but the input may.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "loop/loop.h"
#include "net/checksum.h"
#include "net/network.h"
#include "net/router-internal.h"
#include "net/router.h"
#include "util/clock.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NETS = 3 };

static const char *const subnets[NETS] = {"10.1.0.0/24", "10.2.0.0/24", "fd00:3::/64"};

/* A frame that the router has sent: from its MAC, with a right IPv4 header. */
static void host_deliver(void *arg, const uint8_t *frame, size_t n)
{
    const uint8_t *ip = frame + ROUTER_ETHER;

    (void)arg;
    if (n < ROUTER_ETHER || frame[6] != 2 || frame[10] != 1)
        abort();
    if (frame[12] == 8 && frame[13] == 0 &&
        (n < ROUTER_ETHER + 20 || ip[8] == 0 || pv_sum_end(pv_sum_add(0, ip, (size_t)(ip[0] & 15) * 4)) != 0))
        abort();
}

static void waiting_check(const struct pv_router *r)
{
    unsigned waiting = 0;

    for (const struct router_if *i = r->first; i; i = i->next) {
        unsigned neighbours = 0;

        for (const struct neighbour *n = i->neighbours; n; n = n->next) {
            neighbours++;
            for (const struct waiting *w = n->first; w; w = w->next)
                waiting++;
        }
        if (neighbours != i->n_neighbours || neighbours > PV_ROUTER_NEIGHBOURS)
            abort();
    }
    if (waiting != r->n_waiting || waiting > PV_ROUTER_WAITING)
        abort();
}

/* The mtu of the second network is smaller than the others'. */
static void interface_add(struct pv_router *r, struct pv_net *net, struct pv_subnet *subnet, unsigned i)
{
    struct pv_router_if to = {
        .net = net, .subnet = subnet, .mac = {2, 0, 0, 0, 1, (uint8_t)i}, .mtu = i == 1 ? 600 : 1500};

    if (pv_subnet_next(subnet, true, "router", &to.ip, NULL) < 0 || !pv_router_add(r, &to, NULL))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pv_loop *loop;
    struct pv_router *r = pv_router_new("router1");
    struct pv_subnet *subnet[NETS];
    struct pv_net_end *host[NETS];
    struct pv_net *net[NETS];

    if (!loop)
        loop = pv_loop_new(NULL);
    for (unsigned i = 0; i < NETS; i++) {
        net[i] = pv_net_new(loop, &(struct pv_net_opts){.name = "lan"});
        subnet[i] = pv_subnet_new(subnets[i], NULL);
        host[i] =
            pv_net_attach(net[i], "host", (uint8_t[6]){2, 0, 0, 0, 0, (uint8_t)i}, host_deliver, NULL, NULL);
        interface_add(r, net[i], subnet[i], i);
    }
    while (size >= 3) {
        size_t n = (size_t)data[1] | (size_t)data[2] << 8;

        n = n < size - 3 ? n : size - 3;
        pv_net_send(host[data[0] % NETS], data + 3, n);
        waiting_check(r);
        data += 3 + n;
        size -= 3 + n;
    }
    pv_router_free(r);
    for (unsigned i = 0; i < NETS; i++) {
        pv_net_free(net[i]);
        pv_subnet_free(subnet[i]);
    }
    return 0;
}
