/* SPDX-License-Identifier: MIT */
/*
 * The life of a machine that goes on: reboots, resets, pauses.  The handle, the disks, the channel and the
 * console stay; the agent is a new one, and workers, processes and jobs of before are over.  All functions
 * block (run the loop).
 *
 * A guest whose machine was reset is *rebooting* until its agent has been met again; a call to it waits for
 * that.
 */
#ifndef PV_GUEST_LIFE_H
#define PV_GUEST_LIFE_H

#include <stdbool.h>
#include <stdint.h>

struct pv_buf;
struct pv_err;
struct pv_guest;

/*
 * Asks the guest's kernel, through the agent, to reboot, and waits until the new agent serves.  timeout_ns 0:
 * the profile's boot timeout.  Errors: usage (not running, paused), timeout (the guest rebooting still),
 * guest-died.  A panic on the way is an error of class guest-died.
 */
int pv_guest_reboot(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err);
/* The same by the machine's reset key; also for a guest whose agent is gone or that has not come back. */
int pv_guest_reset(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err);
/*
 * Waits until the guest has rebooted by itself and serves again.  A reboot that no earlier call has waited for
 * counts.  Class usage unless it was booted to follow reboots.
 */
int pv_guest_wait_reboot(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err);
/* Stops the vCPUs; a paused guest stays as it is. Calls to a paused guest are errors. */
int pv_guest_pause(struct pv_guest *g, struct pv_err *err);
int pv_guest_unpause(struct pv_guest *g, struct pv_err *err);
int pv_guest_power_button(struct pv_guest *g, struct pv_err *err);
int pv_guest_nmi(struct pv_guest *g, struct pv_err *err);
/* Adds the display as PNG to out. Class usage: the machine has none. */
int pv_guest_screenshot(struct pv_guest *g, struct pv_buf *out, struct pv_err *err);

/* Whether it would serve a call now: it runs, and is neither paused nor rebooting. Does not block. */
bool pv_guest_serves(const struct pv_guest *g);
/* "paused", "rebooting", else pv_guest_state_name of its state. Gives a rebooting guest a moment to be met. */
const char *pv_guest_condition(struct pv_guest *g);

#endif
