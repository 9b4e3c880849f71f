/* SPDX-License-Identifier: MIT */
#include "util/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/mem.h"

enum { MEMORY_TRIES = 20, SEND_TRIES = 1000 };

/* After a failed call: whether to repeat it.  Sets errno. */
static bool receive_again(unsigned *tries)
{
    if (errno == EINTR)
        return true;
    if (errno != ENOMEM && errno != ENOBUFS)
        return false;
    if (++*tries < MEMORY_TRIES)
        return true;
    errno = EAGAIN;
    return false;
}

ssize_t pv_recvmsg(int sock, struct msghdr *msg, int flags)
{
    unsigned tries = 0;
    ssize_t n;

    do
        n = recvmsg(sock, msg, flags | MSG_DONTWAIT);
    while (n < 0 && receive_again(&tries));
    return n;
}

ssize_t pv_recv(int sock, void *buf, size_t n)
{
    unsigned tries = 0;
    ssize_t r;

    do
        r = recv(sock, buf, n, MSG_DONTWAIT);
    while (r < 0 && receive_again(&tries));
    return r;
}

/* The same for a message that must not be lost. */
static bool send_again(unsigned *tries)
{
    if (errno == EINTR)
        return true;
    if ((errno != ENOMEM && errno != ENOBUFS) || ++*tries == SEND_TRIES)
        return false;
    poll(NULL, 0, 1);
    return true;
}

ssize_t pv_sendmsg(int sock, const struct msghdr *msg, int flags)
{
    unsigned tries = 0;
    ssize_t n;

    do
        n = sendmsg(sock, msg, flags | MSG_NOSIGNAL);
    while (n < 0 && send_again(&tries));
    return n;
}

ssize_t pv_send(int sock, const void *buf, size_t n, int flags)
{
    unsigned tries = 0;
    ssize_t r;

    do
        r = send(sock, buf, n, flags | MSG_NOSIGNAL);
    while (r < 0 && send_again(&tries));
    return r;
}

int pv_set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

bool pv_sock_has_ended(int sock)
{
    struct pollfd p = {.fd = sock, .events = POLLRDHUP};

    /* Messages may be left after the last writer is gone. */
    return poll(&p, 1, 0) != 0 && recv(sock, &(char){0}, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

/* The name is short however long the path of dir is. */
static int listen_at(int dir, int *listener, int *fd)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int r = -1;

    snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/s", dir);
    if (bind(*listener, (void *)&a, sizeof(a)) < 0)
        return -1;
    if (listen(*listener, 1) == 0 && connect(*fd, (void *)&a, sizeof(a)) == 0)
        r = 0;
    unlinkat(dir, "s", 0);
    return r;
}

int pv_sock_listen_private(const char *dir, int *listener, int *fd)
{
    cleanup_free char *own = pv_xasprintf("%s/provium-socket-XXXXXX", dir);
    cleanup_close int at = -1;
    int r = -1, e;

    *listener = *fd = -1;
    if (!mkdtemp(own)) /* of mode 0700 */
        return -1;
    at = open(own, O_PATH | O_DIRECTORY | O_CLOEXEC);
    *listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (at >= 0 && *listener >= 0 && *fd >= 0)
        r = listen_at(at, listener, fd);
    e = errno;
    rmdir(own);
    if (r < 0) {
        pv_close(listener);
        pv_close(fd);
    }
    errno = e;
    return r;
}
