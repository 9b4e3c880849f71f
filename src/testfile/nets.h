/* SPDX-License-Identifier: MIT */
/* The networks of a test file, and the endpoints of its VMs on them: which has which address and MAC. */
#ifndef PV_TESTFILE_NETS_H
#define PV_TESTFILE_NETS_H

#include <stdbool.h>

#include "guest/nic.h"
#include "net/address.h"
#include "net/network.h"

struct pv_err;
struct pv_guest;
struct pv_testfile;
struct tf_uplink;

enum { TF_NET_MTU = 1500, TF_NET_MTU_MIN = 576, TF_NET_MTU_MAX = 65521 };

/* The endpoint of a NIC. */
struct tf_net_end {
    struct pv_nic_wire wire;
    struct tf_net *net;
    struct pv_net_end *end; /* NULL: it has left the network, and its address and MAC are free again */
    unsigned vm;            /* number of its guest; 0: that is still being made */
    uint8_t mac[6];
    struct pv_ip ip;
    struct tf_net_end *next;
};

struct tf_net {
    struct pv_testfile *tf;
    struct pv_net *net;
    struct pv_subnet *subnet;
    unsigned mtu;
    struct pv_ip gateway; /* zero n: none */
    unsigned gateway_rank;
    struct tf_uplink *uplink; /* NULL: none */
    bool hosts;               /* its VMs are in /etc/hosts of all */
    struct tf_net_end *ends;
    unsigned n_ports;          /* made so far */
    struct tf_net_mark *marks; /* netreport.c, like the next three */
    uint64_t frames_kept, losses_told;
    unsigned n_kept; /* files */
    struct tf_net *next;
};

/* subnet NULL: 10.7.N.0/24, of which no network has a part yet.  Class usage: the subnet is none, or the name is another network's. */
struct tf_net *pv_tf_net_new(struct pv_testfile *tf, const char *name, const char *subnet, uint64_t seed,
                             unsigned mtu, struct pv_err *err);
void pv_tf_nets_free(struct pv_testfile *tf);

/* Text as the test has written it; ip and mac NULL: the next free one. */
struct tf_net_want {
    const char *ip, *mac;
    bool no_ip;
};
/*
 * A place for a NIC of the guest g, and what it determines of the NIC.  g NULL: of a guest that is still to be made
 * (pv_tf_net_own).  NULL: class usage, an address or a MAC that cannot be had.
 */
struct tf_net_end *pv_tf_net_add(struct tf_net *net, const struct pv_guest *g, const struct tf_net_want *want,
                                 struct pv_guest_nic *nic, struct pv_err *err);
/* The MAC of a text, or the next free one for NULL.  -1: class usage, it is none, or an end of the network has it. */
int pv_tf_net_mac(struct tf_net *net, const char *text, uint8_t mac[static 6], struct pv_err *err);
/* The NIC's guest has been made. */
void pv_tf_net_own(struct tf_net_end *e, const struct pv_guest *g);
/*
 * A NIC leaves its network: others may have its address and its MAC.  The entry stays, because a snapshot may refer to
 * it.
 */
void pv_tf_net_leave(struct tf_net_end *e);
/* The endpoints of g that belong to none of its NICs leave. */
void pv_tf_nets_settle(struct pv_testfile *tf, const struct pv_guest *g);
/*
 * NICs (by slot) that have left return, with the address and the MAC that they had.  -1: class usage, somebody
 * else has got it.
 */
int pv_tf_nets_return(const struct pv_guest *g, const struct pv_guest_nic *nics, struct pv_err *err);
/*
 * Identities for a guest that gets the NICs `saved` (by slot) of another one: `to` are its own NICs on the same networks
 * (g, may be NULL), else new ones.  -1: class usage; what was made has left again.
 */
int pv_tf_nets_copy(const struct pv_guest *g, const struct pv_guest_nic *saved,
                    struct pv_guest_nic to[static PV_VM_NICS_MAX], struct pv_err *err);
/* NICs that pv_tf_nets_copy has made leave (g NULL), or become g's. */
void pv_tf_nets_end_copy(struct pv_guest_nic nics[static PV_VM_NICS_MAX], const struct pv_guest *g);
struct tf_net_end *pv_tf_net_end_of(struct pv_nic_wire *w);
/* The endpoint of g's first NIC on net, and its slot (may be NULL); NULL: it has none. */
struct tf_net_end *pv_tf_net_end_on(const struct pv_guest *g, const struct tf_net *net, unsigned *slot);

#endif
