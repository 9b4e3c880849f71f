/* SPDX-License-Identifier: MIT */
/*
 * The vsock device for the guest's own use (boot option `vsock`) in a machine that can be saved.  Private to
 * the room.
 */
#ifndef PV_GUEST_VSOCK_DEVICE_H
#define PV_GUEST_VSOCK_DEVICE_H

#include <stdint.h>

struct pv_err;
struct pv_guest;

/* Hotplugs one; the machine has the root port for it (pv_machine.hotplug_port) and may be stopped. */
int pv_guest_attach_vsock(struct pv_guest *g, int64_t deadline, struct pv_err *err);
/*
 * Waits until the driver in the guest, which runs, is up.  Class timeout names the missing part as far as the
 * agent can tell it.  Without a device: nothing.
 */
int pv_guest_await_vsock(struct pv_guest *g, int64_t deadline, struct pv_err *err);
/* Unplugs it from the machine, which must run.  Without a device: nothing. */
int pv_guest_detach_vsock(struct pv_guest *g, int64_t deadline, struct pv_err *err);

#endif
