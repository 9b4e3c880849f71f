/* SPDX-License-Identifier: MIT */
/*
 * Debug trace on stderr, enabled by PROVIUM_DEBUG=1: "[  12.345] PID ACTOR: text", seconds since pv_log_init.
 * ACTOR is a room or an object, such as "image" or a guest's name.
 */
#ifndef PV_UTIL_LOG_H
#define PV_UTIL_LOG_H

#include <stdbool.h>

extern bool pv_log_on;

/* Reads PROVIUM_DEBUG.  main calls it once. */
void pv_log_init(void);
/* Writes a line whether or not the trace is on; callers use pv_debug. */
void pv_log_write(const char *actor, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define pv_debug(actor, ...) \
    do { \
        if (pv_log_on) \
            pv_log_write((actor), __VA_ARGS__); \
    } while (0)

#endif
