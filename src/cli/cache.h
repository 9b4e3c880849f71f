/* SPDX-License-Identifier: MIT */
/* The user's notes about a cache that is not used. */
#ifndef PV_CLI_CACHE_H
#define PV_CLI_CACHE_H

struct pv_strv;

/*
 * Adds history_notice, that of pv_history_load, unless it is empty; and one line if the cache directory, or
 * that of the unpacked kernels or module indexes, is not to be trusted.  The line has the remedy, and stands
 * for the history's notice too when both have the same reason.
 */
void pv_cache_notes(const char *history_notice, struct pv_strv *notes);

#endif
