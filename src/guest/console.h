/* SPDX-License-Identifier: MIT */
/*
 * A guest's serial console as a test sees it: all bytes from the first boot on, over all runs and reboots, and
 * its input.  Usable in every state of the guest.
 */
#ifndef PV_GUEST_CONSOLE_H
#define PV_GUEST_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_err;
struct pv_guest;
struct pv_spool;

/* The recorded bytes, with CR LF as LF unless `raw`.  The guest's; readers take a reference. */
struct pv_spool *pv_guest_console(const struct pv_guest *g, bool raw);
/* Adds the line "[provium: WHAT]" behind what has come: a reboot, say. */
void pv_guest_console_mark(struct pv_guest *g, const char *what);
/* False when no byte will come any more, unless the guest is booted or restored. */
bool pv_guest_console_open(const struct pv_guest *g);
/* Why it is not open: "vm1 (default) died: ...", class guest-died, or "vm1 (default) is killed", class guest. */
void pv_guest_console_why(struct pv_guest *g, struct pv_err *err);
/*
 * Writes to the serial line; blocks until the guest's UART has taken all bytes or the timeout.  The guest need
 * not have booted.  Class usage for a guest without a machine, guest-died, timeout: the rest is not sent.
 */
int pv_guest_console_write(struct pv_guest *g, const void *data, size_t n, int64_t timeout_ns,
                           struct pv_err *err);

#endif
