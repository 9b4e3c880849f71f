/* SPDX-License-Identifier: MIT */
/* The identity of the running host kernel. */
#ifndef PV_UTIL_HOST_H
#define PV_UTIL_HOST_H

#include <stdbool.h>

enum { PV_BOOT_ID_LEN = 36 }; /* a UUID's text without its NUL */

/*
 * The kernel's random boot ID (/proc/sys/kernel/random/boot_id): another one after each boot.  Caches that a
 * reboot invalidates keep it.  False: /proc has none, and the caller trusts no such cache.
 */
bool pv_boot_id(char id[static PV_BOOT_ID_LEN + 1]);

#endif
