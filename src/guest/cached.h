/* SPDX-License-Identifier: MIT */
/* Conditions on a boot that is kept, and resumed from in place of a later one. */
#ifndef PV_GUEST_CACHED_H
#define PV_GUEST_CACHED_H

struct pv_boot_opts;
struct pv_err;
struct pv_guest;

/*
 * Class usage, with the reason as a phrase, when such a boot of g could not be saved, or when nobody could tell later that
 * what went into it has changed.  Other errors of the options are of that class, too: pv_guest_boot says them better.
 */
int pv_guest_check_cacheable(struct pv_guest *g, const struct pv_boot_opts *o, struct pv_err *err);
/*
 * The channel of a boot that will be saved is a virtio-serial port.  Class usage when its kernel has no driver for it
 * as far as is known, and the transport is nobody's wish.
 */
int pv_guest_check_serial(const struct pv_guest *g, const struct pv_boot_opts *o, struct pv_err *err);

#endif
