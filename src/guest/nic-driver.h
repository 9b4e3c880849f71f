/* SPDX-License-Identifier: MIT */
#ifndef PV_GUEST_NIC_DRIVER_H
#define PV_GUEST_NIC_DRIVER_H

#include <stdint.h>

struct pv_err;
struct pv_guest;
struct pv_profile;

/*
 * -1, class usage: the profile's kernel has no virtio_net, as its configuration or the list of its built-in drivers says.
 * 0 where neither is at hand.  Starts nothing.
 */
int pv_guest_check_nic_driver(const struct pv_profile *p, struct pv_err *err);

/* The same for up to three modules by their names, NULL-terminated. */
int pv_guest_load_driver(struct pv_guest *g, const char *const names[static 3], int64_t deadline,
                         struct pv_err *err);
/*
 * Loads virtio_net and its dependencies from the host's modules tree into a guest that was booted without NICs.
 * Nothing without a tree, or when they are loaded.  Blocks (runs the loop).
 */
int pv_guest_load_nic_driver(struct pv_guest *g, int64_t deadline, struct pv_err *err);

#endif
