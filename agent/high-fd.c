/* SPDX-License-Identifier: MIT */
#include "high-fd.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "switch-root.h"
#include "world.h"

/*
 * The limit is raised for one call and put back: a descriptor above it goes on to work, and neither a test's
 * getrlimit(2) nor its commands see another limit.
 */
int ag_high_fd(int fd)
{
    struct rlimit own, high;

    if (fd < 0 || fd >= AG_FD_FIRST || getrlimit(RLIMIT_NOFILE, &own) < 0)
        return fd;
    high = own;
    if (high.rlim_cur <= AG_FD_LAST)
        high.rlim_cur = AG_FD_LAST + 1;
    if (high.rlim_max < high.rlim_cur)
        high.rlim_max = high.rlim_cur;
    if (setrlimit(RLIMIT_NOFILE, &high) < 0) { /* without the privilege, as far as the hard limit */
        high = own;
        high.rlim_cur = own.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &high) < 0)
            return fd;
    }
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, AG_FD_FIRST);

    setrlimit(RLIMIT_NOFILE, &own);
    if (moved < 0)
        return fd;
    close(fd);
    return moved;
}

int ag_above_stdio(int fd)
{
    return fd > 2 ? fd : ag_high_fd(fd);
}

void ag_high_world(struct ag_world *w)
{
    w->proc_fd = ag_high_fd(w->proc_fd);
    w->dev_fd = ag_high_fd(w->dev_fd);
    w->null_fd = ag_high_fd(w->null_fd);
    w->ctl_fd = ag_high_fd(w->ctl_fd);
    w->life_fd = ag_high_fd(w->life_fd);
    if (!w->root_switch)
        return;
    w->root_switch->done_fd = ag_high_fd(w->root_switch->done_fd);
    w->root_switch->ask_fd = ag_high_fd(w->root_switch->ask_fd);
}
