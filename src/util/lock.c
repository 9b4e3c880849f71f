/* SPDX-License-Identifier: MIT */
#include "util/lock.h"

#include <errno.h>
#include <poll.h>
#include <sys/file.h>

#include "util/clock.h"

enum { STEP_MS = 10 };

int pv_lock_until(int fd, int64_t deadline, int stop)
{
    struct pollfd p = {.fd = stop, .events = POLLIN};

    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return -1;
        if (pv_now() >= deadline) {
            errno = ETIMEDOUT;
            return -1;
        }
        if (poll(&p, 1, STEP_MS) > 0) {
            errno = ECANCELED;
            return -1;
        }
    }
    return 0;
}
