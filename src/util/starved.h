/* SPDX-License-Identifier: MIT */
/* How long a process has waited for a CPU of the host. */
#ifndef PV_UTIL_STARVED_H
#define PV_UTIL_STARVED_H

#include <stdint.h>
#include <sys/types.h>

/*
 * Nanoseconds since its start in which threads of pid were ready to run and had no CPU; all threads that it has now, added
 * up, as they wait for each other. 0: not known (no schedstat in /proc, no such process).
 */
int64_t pv_starved(pid_t pid);

#endif
