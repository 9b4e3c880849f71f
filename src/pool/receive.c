/* SPDX-License-Identifier: MIT */
/*
 * The door of the pool: messages of files' processes, which a test may have corrupted.  What passes here, the
 * server and the arbiter believe.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pool/internal.h"
#include "util/mem.h"
#include "util/sock.h"

/* FDS_MAX: room for more descriptors than any request has; the kernel closes those beyond (MSG_CTRUNC). */
enum { FDS_MAX = 4, BLOCKED_MAX = 512 };

struct message {
    struct pv_lease_request request;
    size_t len;
    int flags; /* of recvmsg(2) */
    int fd;    /* the first descriptor; -1: none */
    unsigned n_fds;
};

/* Keeps the first descriptor, and closes the others. */
static void message_take_fds(struct message *m, struct msghdr *msg)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
            if (m->n_fds++ == 0)
                m->fd = fd;
            else
                close(fd);
        }
    }
}

/* False, with errno: no message. */
static bool message_receive(struct message *m, int sock)
{
    struct iovec iov = {&m->request, sizeof(m->request)};
    union {
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t n;

    n = pv_recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    if (n < 0)
        return false;
    m->len = (size_t)n;
    m->flags = msg.msg_flags;
    message_take_fds(m, &msg);
    return true;
}

/* True when this process, which has as many descriptors as it may open, could not take any. */
static bool message_lost_fd(const struct message *m)
{
    return (m->flags & MSG_CTRUNC) && m->n_fds == 0;
}

static bool fd_is_channel(int fd)
{
    int type = 0, domain = 0;
    socklen_t type_len = sizeof(type), domain_len = sizeof(domain);

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 && type == SOCK_SEQPACKET &&
           getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) == 0 && domain == AF_UNIX;
}

/* True also when the process has ended. */
static bool fd_is_pidfd(int fd)
{
    return syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == 0 || errno == ESRCH;
}

/* The reason why the request is invalid, to be freed; NULL: it is valid. */
static char *request_fault(struct channel *c, const struct message *m)
{
    const struct pv_lease_request *r = &m->request;
    bool has_fd = r->op == PV_LEASE_FORK || r->op == PV_LEASE_PREEMPTIBLE;
    bool lost = has_fd && message_lost_fd(m);

    if (m->len != sizeof(*r) || (m->flags & MSG_TRUNC))
        return pv_xstrdup("sent a request of a wrong length");
    if (r->op < PV_LEASE_ACQUIRE || r->op > PV_LEASE_PREEMPTIBLE)
        return pv_xasprintf("sent a request of the unknown kind %u", r->op);
    if (!lost && (m->n_fds != has_fd || (m->flags & MSG_CTRUNC)))
        return pv_xasprintf("sent %u%s descriptors with a request that has %d", m->n_fds,
                            m->flags & MSG_CTRUNC ? " or more" : "", has_fd);
    switch ((enum pv_lease_op)r->op) {
    case PV_LEASE_ACQUIRE:
    case PV_LEASE_TRY_ACQUIRE:
        if (r->cpus > PV_LEASE_CPUS_MAX)
            return pv_xasprintf("requested %u CPUs for one VM", r->cpus);
        if (r->id == 0 || pv_pool_find_lease(c, r->id) || pv_pool_find_standby(c, r->id))
            return pv_xasprintf("requested a lease under number %u, which is not free", r->id);
        break;
    case PV_LEASE_FORK:
        if (!lost && !fd_is_channel(m->fd))
            return pv_xstrdup("sent a descriptor that is no socket for a channel");
        break;
    case PV_LEASE_PREEMPTIBLE:
        if (!lost && !fd_is_pidfd(m->fd))
            return pv_xstrdup("sent a descriptor that is no pidfd for a standby VM");
        break;
    case PV_LEASE_BLOCK:
        if (c->blocked == BLOCKED_MAX)
            return pv_xstrdup("began too many waits for other files");
        break;
    case PV_LEASE_UNBLOCK:
        if (c->blocked == 0)
            return pv_xstrdup("ended a wait for other files that it had not begun");
        break;
    case PV_LEASE_RELEASE: /* the id may be that of a lease that a preemption or a refusal has ended */
    case PV_LEASE_CLAIM:
        break;
    }
    return NULL;
}

enum pool_received pv_pool_receive(struct channel *c, struct pv_lease_request *request, int *fd, char **fault)
{
    struct message m = {.fd = -1};

    if (!message_receive(&m, c->fd))
        return errno == EAGAIN ? POOL_NOTHING : POOL_END;
    if (m.len == 0 && m.n_fds == 0 && pv_sock_has_ended(c->fd))
        return POOL_END;
    *fault = request_fault(c, &m);
    if (*fault) {
        pv_close(&m.fd);
        return POOL_INVALID;
    }
    *request = m.request;
    *fd = m.fd;
    return POOL_REQUEST;
}
