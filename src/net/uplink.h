/* SPDX-License-Identifier: MIT */
/*
 * An uplink: an end of code through which a network reaches what the host reaches, by libslirp in this process: NAT for
 * TCP, UDP and ping, DHCP, and a DNS forwarder.  IPv4 only.  It runs on the network's loop and never blocks.
 *
 * libslirp gets no frame of a guest but those that uplink-door.h admits, and opens at most PV_UPLINK_SOCKETS sockets (a
 * quarter of the process's descriptors, if that is less).  The host's loopback addresses are out of reach; the one
 * exception is DNS, see pv_uplink_opts.nameserver.
 */
#ifndef PV_NET_UPLINK_H
#define PV_NET_UPLINK_H

#include <stdbool.h>
#include <stdint.h>

#include "net/address.h"

struct pv_err;
struct pv_net;
struct pv_net_end;
struct pv_uplink;

enum { PV_UPLINK_SOCKETS = 1024, PV_UPLINK_LEASES = 16 };

struct pv_uplink_opts {
    const char *name;
    unsigned prefix;      /* of the network's subnet */
    struct pv_ip gateway; /* IPv4, like the next two */
    /*
     * What is sent here to port 53, UDP or TCP, goes to the first IPv4 nameserver of the host's /etc/resolv.conf, which
     * may be on the host's loopback.
     */
    struct pv_ip nameserver;
    struct pv_ip lease; /* the first of the addresses for DHCP */
    unsigned n_leases;  /* up to PV_UPLINK_LEASES; 0: no DHCP */
    unsigned mtu;
    bool restricted; /* nothing is forwarded but connections to pv_uplink_forward's ports, and no DNS */
};

/* net outlives it.  NULL: class usage, the network takes no more ends; class host. */
struct pv_uplink *pv_uplink_new(struct pv_net *net, const struct pv_uplink_opts *o, struct pv_err *err);
/* Closes its sockets and leaves the network.  NULL is fine. */
void pv_uplink_free(struct pv_uplink *u);
struct pv_net_end *pv_uplink_end(const struct pv_uplink *u);
/* Sockets that libslirp has open. */
unsigned pv_uplink_sockets(const struct pv_uplink *u);

struct pv_ip_port {
    struct pv_ip ip; /* IPv4 */
    uint16_t port;
};
/*
 * TCP connections to `host` go to `guest`; the port 0 of `host` becomes a free one.  -1: class host, such as a port that
 * is taken.
 */
int pv_uplink_forward(struct pv_uplink *u, struct pv_ip_port *host, const struct pv_ip_port *guest,
                      struct pv_err *err);

/* Whether the host has an IPv4 address besides loopback ones on an interface that is up. */
bool pv_host_has_network(void);
/* Whether /etc/resolv.conf names an IPv4 nameserver. */
bool pv_host_has_nameserver(void);

#endif
