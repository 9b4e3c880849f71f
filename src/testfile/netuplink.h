/* SPDX-License-Identifier: MIT */
/* The uplink of a network of a test file. */
#ifndef PV_TESTFILE_NETUPLINK_H
#define PV_TESTFILE_NETUPLINK_H

#include "net/uplink.h"

struct pv_err;
struct tf_net;

enum { TF_FORWARDS_MAX = 256 };

struct tf_forward {
    struct pv_ip_port host, guest;
};

struct tf_uplink_opts {
    struct pv_ip ip; /* zero n: the last free address */
    bool restricted;
    struct tf_forward *forwards; /* their port 0 becomes a free one */
    unsigned n;
};

struct tf_uplink {
    struct tf_net *net;
    struct pv_uplink *u;
    struct pv_ip ip, dns, lease;
    unsigned n_leases;
};

/*
 * Gives the network its uplink, with its addresses from the end of the subnet, and makes it the gateway; pv_tf_gateway_tell
 * tells VMs.  A host without a network gets a notice.  NULL, and nothing is left: class usage, class host.
 */
struct tf_uplink *pv_tf_uplink_new(struct tf_net *net, struct tf_uplink_opts *o, struct pv_err *err);
/* Before its network is freed; NULL is fine. */
void pv_tf_uplink_free(struct tf_uplink *u);

#endif
