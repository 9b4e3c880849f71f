/* SPDX-License-Identifier: MIT */
/* The user's notes about a cache that is not used. */
#ifndef PV_CLI_CACHE_H
#define PV_CLI_CACHE_H

#include <stdbool.h>

struct pv_strv;

/*
 * Adds history_notice, that of pv_history_load, unless it is empty; and one line if the cache directory or one
 * of its directories cannot be used or is not to be trusted.  The line has the remedy, and stands for the
 * history's notice too when both have the same reason.  False: the cache is not used.
 */
bool pv_cache_notes(const char *history_notice, struct pv_strv *notes);

#endif
