/* SPDX-License-Identifier: MIT */
#include "dirents.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t ag_dirents_read(struct ag_dirents *d, int fd)
{
    long n;

    do
        n = syscall(SYS_getdents64, fd, d->data, sizeof(d->data));
    while (n < 0 && errno == EINTR);
    d->at = 0;
    d->n = n > 0 ? (size_t)n : 0;
    return n;
}

const char *ag_dirents_next(struct ag_dirents *d)
{
    while (d->at < d->n) {
        const struct dirent *e = (const void *)(d->data + d->at);

        d->at += e->d_reclen;
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            return e->d_name;
    }
    return NULL;
}
