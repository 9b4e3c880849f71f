/* SPDX-License-Identifier: MIT */
#include "open-file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int ag_open_file(const char *path, int flags, mode_t mode, struct stat *st)
{
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, mode);

    if (fd < 0)
        return -1;
    if (fstat(fd, st) == 0 && !S_ISDIR(st->st_mode))
        return fd;
    close(fd);
    errno = EISDIR;
    return -1;
}
