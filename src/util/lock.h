/* SPDX-License-Identifier: MIT */
/* Locks between processes: flock(2), which ends with its holder, but not while the holder is stopped. */
#ifndef PV_UTIL_LOCK_H
#define PV_UTIL_LOCK_H

#include <stdint.h>

/*
 * Locks the file exclusively.  Blocks until then, asking every 10 ms, because no call waits for a lock with a deadline (a
 * pv_now() value).  `stop` ends the wait when it becomes readable; -1: nothing does.  0; -1 with errno: ETIMEDOUT,
 * ECANCELED for `stop`, else as of flock(2).
 */
int pv_lock_until(int fd, int64_t deadline, int stop);

#endif
