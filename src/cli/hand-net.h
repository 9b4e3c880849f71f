/* SPDX-License-Identifier: MIT */
/* The uplink of a VM by hand: `--net` of `provium run` and `provium shell`. */
#ifndef PV_CLI_HAND_NET_H
#define PV_CLI_HAND_NET_H

struct pv_err;
struct pv_guest;
struct pv_profile;
struct pv_testfile;

/* Before the boot: -1, class usage, for a kernel or a machine that cannot have a NIC, as far as that can be told. */
int pv_hand_net_check(const struct pv_profile *p, struct pv_err *err);
/*
 * Plugs a NIC into the running VM, on a network with an uplink (NAT to what the host reaches): address, default route,
 * /etc/resolv.conf.  Also in a VM of a cached boot, which has no NIC.  Blocks.  The network ends with tf.
 */
int pv_hand_net(struct pv_testfile *tf, struct pv_guest *g, struct pv_err *err);

#endif
