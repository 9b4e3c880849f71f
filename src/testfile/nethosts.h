/* SPDX-License-Identifier: MIT */
/* /etc/hosts of the VMs on networks with `hosts`. */
#ifndef PV_TESTFILE_NETHOSTS_H
#define PV_TESTFILE_NETHOSTS_H

#include <stdint.h>

struct pv_err;
struct pv_guest;
struct pv_nic_wire;
struct pv_testfile;

/*
 * Writes the names of all VMs on g's networks with `hosts` into g, and into every other VM on them that serves.  One
 * that is paused or boots gets them when it changes its own place on a network.  Class guest, timeout: g's.  Blocks.
 */
int pv_tf_hosts_update(struct pv_testfile *tf, struct pv_guest *g, struct pv_err *err);
/* For pv_nic_wire. */
int pv_tf_hosts_set_up(struct pv_nic_wire *w, struct pv_guest *g, int64_t deadline, struct pv_err *err);

#endif
