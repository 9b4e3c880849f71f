/* SPDX-License-Identifier: MIT */
/*
 * The addresses of a network: a subnet, IPv4 or IPv6, and what is taken of it; and the MACs of a process.  Pure
 * bookkeeping, no socket.
 */
#ifndef PV_NET_ADDRESS_H
#define PV_NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_err;
struct pv_subnet;

struct pv_ip {
    uint8_t addr[16]; /* network order; an IPv4 address is the first four */
    unsigned n;       /* 4, 16; 0: none */
};

enum { PV_IP_TEXT = 46, PV_MAC_TEXT = 18 };

/* "10.7.0.9", "fd00::9".  -1: class usage, names the text. */
int pv_ip_parse(struct pv_ip *ip, const char *text, struct pv_err *err);
bool pv_ip_equal(const struct pv_ip *a, const struct pv_ip *b);
/* to: PV_IP_TEXT bytes. */
const char *pv_ip_text(const struct pv_ip *ip, char *to);
/* Any address, such as "ff:ff:ff:ff:ff:ff"; -1: it is none. */
int pv_mac_scan(uint8_t mac[static 6], const char *text);
/* "52:54:00:00:00:09", upper case too; no group address, not all zero.  -1: class usage, names the text. */
int pv_mac_parse(uint8_t mac[static 6], const char *text, struct pv_err *err);
/* Lower case; to: PV_MAC_TEXT bytes. */
const char *pv_mac_text(const uint8_t mac[static 6], char *to);

/*
 * "10.7.0.0/24", "fd00:7::/64"; a host's part must be zero, and there must be room for two hosts, none of them a
 * loopback's, link-local (IPv6) or multicast.  NULL: class usage, names the text.
 */
struct pv_subnet *pv_subnet_new(const char *text, struct pv_err *err);
void pv_subnet_free(struct pv_subnet *s); /* NULL is fine */
unsigned pv_subnet_prefix(const struct pv_subnet *s);
const char *pv_subnet_text(const struct pv_subnet *s);

/* Whether there is an address that is in both. */
bool pv_subnet_overlaps(const struct pv_subnet *a, const struct pv_subnet *b);

/* Whether it is the address of a host of the subnet. */
bool pv_subnet_has(const struct pv_subnet *s, const struct pv_ip *ip);

/* Takes the next free address from the first host's on; last: from the last host's downward.  -1: class usage, full. */
int pv_subnet_next(struct pv_subnet *s, bool last, const char *owner, struct pv_ip *ip, struct pv_err *err);
/* Takes this address.  -1: class usage: outside, the network's own, the broadcast address, taken (with `owner` of that). */
int pv_subnet_take(struct pv_subnet *s, const struct pv_ip *ip, const char *owner, struct pv_err *err);
/*
 * Takes the last `most` free addresses that follow one another, at most a quarter of the subnet, for `owner`: their number, 0
 * if none is free.
 */
unsigned pv_subnet_range(struct pv_subnet *s, unsigned most, const char *owner, struct pv_ip *first);
void pv_subnet_release(struct pv_subnet *s, const struct pv_ip *ip);
/* Releases the n addresses from `first` on, as pv_subnet_range has taken them. */
void pv_subnet_release_range(struct pv_subnet *s, const struct pv_ip *first, unsigned n);

/* A MAC below 52:54:00 that the process has not given out yet. */
void pv_mac_next(uint8_t mac[static 6]);

#endif
