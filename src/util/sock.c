/* SPDX-License-Identifier: MIT */
#include "util/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

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
