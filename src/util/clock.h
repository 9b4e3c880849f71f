/* SPDX-License-Identifier: MIT */
/* Monotonic and wall-clock time in nanoseconds.  A deadline is an absolute pv_now() value. */
#ifndef PV_UTIL_CLOCK_H
#define PV_UTIL_CLOCK_H

#include <stdint.h>
#include <time.h>

#define PV_NSEC_PER_MSEC INT64_C(1000000)
#define PV_NSEC_PER_SEC INT64_C(1000000000)
#define PV_FOREVER INT64_MAX

static inline int64_t pv_timespec_ns(const struct timespec *ts)
{
    return (int64_t)ts->tv_sec * PV_NSEC_PER_SEC + ts->tv_nsec;
}

static inline int64_t pv_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return pv_timespec_ns(&ts);
}

/* pv_now() with the time in which this machine was suspended: for what a clock has to be moved on by; no deadline. */
static inline int64_t pv_boot_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);
    return pv_timespec_ns(&ts);
}

/* Nanoseconds since 1970 (UTC), comparable with a file's timestamps; the clock may be set meanwhile. */
static inline int64_t pv_wall_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return pv_timespec_ns(&ts);
}

/* pv_now() + ns, or PV_FOREVER on overflow. */
static inline int64_t pv_deadline(int64_t ns)
{
    int64_t now = pv_now();

    return ns >= PV_FOREVER - now ? PV_FOREVER : now + ns;
}

/* Nanoseconds until the deadline, at least 1: what a call takes whose timeout must not be 0. */
static inline int64_t pv_left(int64_t deadline)
{
    int64_t ns = deadline - pv_now();

    return ns > 0 ? ns : 1;
}

#endif
