/* SPDX-License-Identifier: MIT */
/* A port: an end of code whose frames a test sends and receives. */
#ifndef PV_NET_PORT_H
#define PV_NET_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/address.h"

struct pv_err;
struct pv_net;
struct pv_net_end;
struct pv_port;

/* Received frames that wait to be taken; more are dropped. */
enum { PV_PORT_FRAMES = 10000, PV_PORT_BYTES = 16 << 20 };

/*
 * ip: with an address (n > 0) the port replies to what answer.h lists, for it and for its link-local address, and
 * these frames are not received.  NULL: class usage, the network takes no more ends.
 */
struct pv_port *pv_port_new(struct pv_net *net, const char *name, const uint8_t mac[static 6],
                            const struct pv_ip *ip, struct pv_err *err);
void pv_port_free(struct pv_port *p); /* NULL is fine; pv_net_free does it, too */
struct pv_net_end *pv_port_end(const struct pv_port *p);
void pv_port_send(struct pv_port *p, const void *frame, size_t n);
bool pv_port_has(const struct pv_port *p);
/* The oldest received frame, valid until the next call for this port; NULL: there is none. */
const uint8_t *pv_port_take(struct pv_port *p, size_t *n);
/* Frames that found no room. */
uint64_t pv_port_dropped(const struct pv_port *p);

#endif
