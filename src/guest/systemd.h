/* SPDX-License-Identifier: MIT */
/* The end of systemd's start in a guest (the key and the boot option wait_system).  Private to the room. */
#ifndef PV_GUEST_SYSTEMD_H
#define PV_GUEST_SYSTEMD_H

#include <stdint.h>

struct pv_err;
struct pv_guest;

/*
 * Blocks (runs the loop) until `systemctl is-system-running` says running, or degraded, which is a notice with the units
 * that failed.  Errors: usage (no systemctl), timeout (with systemd's state, its jobs and failed units), guest (it went into
 * its maintenance mode), guest-died.
 */
int pv_guest_await_systemd(struct pv_guest *g, int64_t deadline, struct pv_err *err);

#endif
