/* SPDX-License-Identifier: MIT */
/* The host: the running kernel's identity, its CPU, and owners of directories as a user namespace shows them. */
#ifndef PV_UTIL_HOST_H
#define PV_UTIL_HOST_H

#include <stdbool.h>
#include <sys/stat.h>

enum { PV_BOOT_ID_LEN = 36 }; /* a UUID's text without its NUL */

/*
 * The kernel's random boot ID (/proc/sys/kernel/random/boot_id): another one after each boot.  Caches that a
 * reboot invalidates keep it.  False: /proc has none, and the caller trusts no such cache.
 */
bool pv_boot_id(char id[static PV_BOOT_ID_LEN + 1]);

/* The field of the first CPU in /proc/cpuinfo, such as "flags" or "model name"; empty: none.  The caller frees. */
char *pv_cpu_fact(const char *name);

/*
 * True: a directory's owner cannot be another user who would exchange its entries: it is root, this user, or,
 * of a sticky directory, the overflow user of a user namespace (`unshare -r`, toolbox, rootless podman), as
 * which the host's root and with it /tmp appears there.
 */
bool pv_owner_is_trusted(const struct stat *dir);

#endif
