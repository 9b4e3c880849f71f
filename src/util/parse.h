/* SPDX-License-Identifier: MIT */
/* Parsing and formatting of sizes and times in options and configuration.  All of it is pure. */
#ifndef PV_UTIL_PARSE_H
#define PV_UTIL_PARSE_H

#include <stdint.h>

struct pv_err;

/*
 * "512M", "1G", "64K", "2T" (powers of 1024, either case, an optional trailing B or iB); a bare number
 * is MiB, as for QEMU's -m.  Result in bytes, at least 1.  -1: class usage, the text quotes `s`.
 */
int pv_parse_size(const char *s, uint64_t *bytes, struct pv_err *err);

/* "500ms", "5s", "1.5s", "2m", "1h"; a bare number is seconds.  Result in ns, > 0.  -1: class usage. */
int pv_parse_time(const char *s, int64_t *ns, struct pv_err *err);

/* Seconds as a number (Lua, TOML) to ns; NaN, negative or more than a year is class usage. */
int pv_seconds_to_ns(double seconds, int64_t *ns, struct pv_err *err);

/* "512M" from bytes, in the largest unit that divides it.  Returns buf. */
const char *pv_format_size(uint64_t bytes, char buf[static 32]);

/* The entry of `known` (NULL-terminated) nearest to `word`, for "did you mean"; NULL: none is near. */
const char *pv_nearest(const char *word, const char *const *known);

#endif
