/* SPDX-License-Identifier: MIT */
#include "net/port.h"

#include <stdlib.h>
#include <string.h>

#include "net/answer.h"
#include "net/internal.h"
#include "util/mem.h"

struct received {
    struct received *next;
    size_t n;
    uint8_t data[];
};

struct pv_port {
    struct pv_port *next; /* of its network */
    struct pv_net_end *end;
    struct pv_answerer answerer;
    bool answers;
    struct received *first, **last, *taken;
    unsigned n_frames;
    size_t n_bytes;
    uint64_t dropped;
};

static void port_deliver(void *arg, const uint8_t *frame, size_t n)
{
    struct pv_port *p = arg;
    if (p->answers) {
        cleanup_free uint8_t *reply = pv_xmalloc(n + 128);
        size_t size = pv_answer(&p->answerer, frame, n, reply, n + 128);
        if (size) {
            pv_net_send(p->end, reply, size);
            return;
        }
    }
    if (p->n_frames == PV_PORT_FRAMES || p->n_bytes + n > PV_PORT_BYTES) {
        p->dropped++;
        return;
    }
    struct received *r = pv_xmalloc(sizeof *r + n);
    *r = (struct received){.n = n};
    memcpy(r->data, frame, n);
    *p->last = r;
    p->last = &r->next;
    p->n_frames++;
    p->n_bytes += n;
}

struct pv_port *pv_port_new(struct pv_net *net, const char *name, const uint8_t mac[static 6],
                            const struct pv_ip *ip, struct pv_err *err)
{
    struct pv_port *p = pv_xcalloc(1, sizeof *p);
    p->end = pv_net_attach(net, name, mac, port_deliver, p, err);
    if (!p->end) {
        free(p);
        return NULL;
    }
    p->last = &p->first;
    p->answers = ip->n > 0;
    p->answerer.ip = *ip;
    p->answerer.local = pv_ip_link_local(mac);
    memcpy(p->answerer.mac, mac, sizeof p->answerer.mac);
    p->next = net->ports;
    net->ports = p;
    uint8_t frame[PV_ANNOUNCE_MAX];
    pv_net_send(p->end, frame, pv_announce(&p->answerer, frame));
    return p;
}

bool pv_port_has(const struct pv_port *p)
{
    return p->first != NULL;
}

const uint8_t *pv_port_take(struct pv_port *p, size_t *n)
{
    free(p->taken);
    p->taken = p->first;
    if (!p->taken)
        return NULL;
    p->first = p->taken->next;
    if (!p->first)
        p->last = &p->first;
    p->n_frames--;
    p->n_bytes -= p->taken->n;
    *n = p->taken->n;
    return p->taken->data;
}

void pv_port_free(struct pv_port *p)
{
    size_t n;
    if (!p)
        return;
    struct pv_port **at = &pv_net_of(p->end)->ports;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    pv_net_detach(p->end);
    while (pv_port_take(p, &n))
        ;
    free(p);
}

struct pv_net_end *pv_port_end(const struct pv_port *p)
{
    return p->end;
}

void pv_port_send(struct pv_port *p, const void *frame, size_t n)
{
    pv_net_send(p->end, frame, n);
}

uint64_t pv_port_dropped(const struct pv_port *p)
{
    return p->dropped;
}

void net_ports_free(struct pv_net *net)
{
    while (net->ports)
        pv_port_free(net->ports);
}
