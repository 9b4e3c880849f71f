/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "switch-root.h"

void ag_world_init(struct ag_world *w)
{
    struct stat st;

    if (stat("/", &st) < 0) {
        w->follow_init = false;
        return;
    }
    w->root_dev = st.st_dev;
    w->root_ino = st.st_ino;
}

void ag_world_follow(struct ag_world *w)
{
    struct stat init, mine;

    if (!w->follow_init || w->proc_fd < 0 || fstatat(w->proc_fd, "1/root", &init, 0) < 0 ||
        (init.st_dev == w->root_dev && init.st_ino == w->root_ino) ||
        !ag_switch_settle(w->root_switch, w->dev_fd) || stat("/", &mine) < 0)
        return;
    if (mine.st_dev == w->root_dev && mine.st_ino == w->root_ino) {
        int fd = openat(w->proc_fd, "1/root", O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
            return;
        int r = fchdir(fd) < 0 || chroot(".") < 0;

        close(fd);
        if (r)
            return;
    } else if (mine.st_dev != init.st_dev || mine.st_ino != init.st_ino) {
        return; /* a system call request changed this root: pivot_root would have moved it with PID 1's */
    }
    w->root_dev = init.st_dev;
    w->root_ino = init.st_ino;
}
