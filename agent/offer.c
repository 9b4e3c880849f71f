/* SPDX-License-Identifier: MIT */
#include "offer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process-table.h"
#include "util.h"

enum { SOCKET_BUFFER = 1 << 20 };

bool ag_socket_pair(int type, int pair[2])
{
    const int size = SOCKET_BUFFER;

    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
        return false;
    for (int i = 0; i < 2 && type != SOCK_SEQPACKET; i++) {
        fcntl(pair[i], F_SETFL, O_NONBLOCK);
        if (setsockopt(pair[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
            setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    }
    return true;
}

int ag_offer_send(const struct ag_world *w, uint32_t *port)
{
    char space[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {.iov_base = port, .iov_len = sizeof(*port)};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    int pair[2];

    if (!w->table || !ag_socket_pair(SOCK_STREAM, pair))
        return -1;
    /* Above every port that the kernel gives to a vsock listener, so that the two cannot be confused. */
    *port = UINT32_C(0x80000000) + atomic_fetch_add(&w->table->ports, 1) % UINT32_C(0x40000000);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &pair[0], sizeof(int));
    ssize_t n;

    do
        n = sendmsg(w->ctl_fd, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    int e = errno;

    close(pair[0]);
    if (n == sizeof(*port))
        return pair[1];
    close(pair[1]);
    errno = e;
    return -1;
}

/* Closes the descriptors of m but the one of a well-formed offer, which it returns; -1: there is none. */
static int offer_take_fd(struct msghdr *m, bool well_formed)
{
    int first = -1;
    unsigned n = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
            if (n++ == 0)
                first = fd;
            else
                close(fd);
        }
    }
    if (well_formed && n == 1)
        return first;
    ag_close(&first); /* the worker sees the end of its socket and exits */
    return -1;
}

bool ag_offer_receive(int ctl_fd, int *fd, uint32_t *port)
{
    /* The padding alone would hold a second descriptor; the kernel closes those beyond (MSG_CTRUNC). */
    union {
        char bytes[CMSG_SPACE(4 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = port, .iov_len = sizeof(*port)};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t n;

    *fd = -1;
    *port = 0;
    do
        n = recvmsg(ctl_fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return false;
    *fd = offer_take_fd(&m, n == sizeof(*port) && *port && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)));
    return true;
}
