/* SPDX-License-Identifier: MIT */
#ifndef PV_CONFIG_APPEND_H
#define PV_CONFIG_APPEND_H

struct pv_profile;

/*
 * NULL when the kernel options `append` can be given to the profile's guest; else why a word of it would be ignored,
 * which the caller frees: "holds 'root=/dev/vda2', which ...".  Guest init mounts the root and chooses init, so the
 * kernel's own words for that do nothing, unless the profile's initrd reads them or rdinit= replaces guest init.
 */
char *pv_append_fault(const struct pv_profile *p, const char *append);

#endif
