/* SPDX-License-Identifier: MIT */
#include "pty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/high-fd.h"
#include "agent/util.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

bool ag_pty_size_valid(struct ag_pty_size z)
{
    return z.rows <= AG_PTY_SIZE_MAX && z.columns <= AG_PTY_SIZE_MAX;
}

void ag_pty_resize(int master, struct ag_pty_size z)
{
    struct winsize w = {.ws_row = (unsigned short)z.rows, .ws_col = (unsigned short)z.columns};

    ioctl(master, TIOCSWINSZ, &w);
}

/* /dev/ptmx; in a guest whose init mounts no devpts, that of a devpts mounted here. */
static int pty_open_master(bool in_guest)
{
    const int flags = O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC;
    int fd = open("/dev/ptmx", flags), e = errno;

    if (fd >= 0 || !in_guest)
        return fd;
    if (ag_mkdir_p("/dev/pts", 0755) < 0 ||
        mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666") < 0) {
        errno = errno == EBUSY ? e : errno;
        return -1;
    }
    return open("/dev/pts/ptmx", flags);
}

/* By descriptor, so that the mount namespace of the session is of no meaning; by name before Linux 4.13. */
static int pty_open_slave(int master)
{
    const int flags = O_RDWR | O_NOCTTY | O_CLOEXEC;
    char name[32];
    unsigned n;
    int fd = ioctl(master, TIOCGPTPEER, flags);

    if (fd >= 0 || ioctl(master, TIOCGPTN, &n) < 0)
        return fd;
    return ag_format(name, sizeof(name), "/dev/pts/%u", n) ? open(name, flags) : -1;
}

int ag_pty_open(bool in_guest, struct ag_pty_size z, int *master, int *slave)
{
    int unlock = 0;

    *master = ag_high_fd(pty_open_master(in_guest));
    if (*master < 0)
        return -1;
    if (ioctl(*master, TIOCSPTLCK, &unlock) < 0)
        return -1;
    *slave = ag_above_stdio(pty_open_slave(*master));
    if (*slave < 0)
        return -1;
    ag_pty_resize(*master, z);
    return 0;
}
