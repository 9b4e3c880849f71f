/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into the program, it plays a host's /dev/vhost-vsock and AF_VSOCK sockets:
 *
 *     VSOCK_HOST=STEP:ERRNO    STEP: open, socket or cid, which fails; "none:0": all of them work
 *     VSOCK_TAKEN=N            the first N vsock addresses that each process tries are taken
 *
 * The device is /dev/null, a socket of AF_VSOCK one of AF_UNIX.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/types.h>

/* True when this step fails, with errno set. */
static int fails(const char *step)
{
    const char *host = getenv("VSOCK_HOST");
    size_t n = strlen(step);

    if (!host || strncmp(host, step, n) != 0 || host[n] != ':')
        return 0;
    errno = atoi(host + n + 1);
    return 1;
}

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

/* The headers' parameters have reserved names. */
/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

/* This is open64 with files of 64 bits, as in the program. */
int open(const char *path, int flags, ...)
{
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))next("open64");
    mode_t mode = 0;
    va_list ap;

    va_start(ap, flags);
    if (flags & (O_CREAT | O_TMPFILE))
        mode = va_arg(ap, mode_t);
    va_end(ap);
    if (strcmp(path, "/dev/vhost-vsock") != 0)
        return real(path, flags, mode);
    return fails("open") ? -1 : real("/dev/null", flags);
}

int socket(int domain, int type, int protocol)
{
    int (*real)(int, int, int) = (int (*)(int, int, int))next("socket");

    if (domain != AF_VSOCK)
        return real(domain, type, protocol);
    return fails("socket") ? -1 : real(AF_UNIX, type, 0);
}

int ioctl(int fd, unsigned long request, ...)
{
    int (*real)(int, unsigned long, ...) = (int (*)(int, unsigned long, ...))next("ioctl");
    static long tried;
    const char *taken = getenv("VSOCK_TAKEN");
    va_list ap;
    void *arg;

    va_start(ap, request);
    arg = va_arg(ap, void *);
    va_end(ap);
    if (request != VHOST_VSOCK_SET_GUEST_CID)
        return real(fd, request, arg);
    if (fails("cid"))
        return -1;
    if (taken && tried++ < atol(taken)) {
        errno = EADDRINUSE;
        return -1;
    }
    return 0;
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
