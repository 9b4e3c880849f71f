/* SPDX-License-Identifier: MIT */
/* Debug trace on stderr, on with PROVIUM_DEBUG=1 in the environment: "[  12.345] who: text". */
#ifndef PV_UTIL_LOG_H
#define PV_UTIL_LOG_H

#include <stdbool.h>

extern bool pv_log_on;

/* Reads PROVIUM_DEBUG. Called once by main. */
void pv_log_init(void);
void pv_log_write(const char *who, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define pv_debug(who, ...) \
    do { \
        if (pv_log_on) \
            pv_log_write((who), __VA_ARGS__); \
    } while (0)

#endif
