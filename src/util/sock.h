/* SPDX-License-Identifier: MIT */
#ifndef PV_UTIL_SOCK_H
#define PV_UTIL_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct msghdr;

/*
 * recv(2) and recvmsg(2) that do not block and go on after a signal.  A kernel that lacks memory for the call is no
 * end of the socket: after some tries the error is EAGAIN.
 */
ssize_t pv_recv(int sock, void *buf, size_t n);
ssize_t pv_recvmsg(int sock, struct msghdr *msg, int flags);

/*
 * send(2) and sendmsg(2) to a local socket, without SIGPIPE; they go on after a signal.  While the kernel lacks memory for the
 * message they try again, for up to 1 s: the receiver would miss it.
 */
ssize_t pv_send(int sock, const void *buf, size_t n, int flags);
ssize_t pv_sendmsg(int sock, const struct msghdr *msg, int flags);

/*
 * A listening stream socket and a connection to it, which nobody has accepted yet.  Its name is in a directory of its
 * own below `dir`, and is gone on return: no other process can have connected.  -1 with errno; else the caller closes
 * both.
 */
int pv_sock_listen_private(const char *dir, int *listener, int *fd);

/* -1 with errno. */
int pv_set_nonblocking(int fd);

/*
 * After recv(2) of a SOCK_SEQPACKET socket returned 0: false when that was an empty message, not the end of
 * the socket.  Does not block.  Of empty messages that nothing follows, true once the peer has closed.
 */
bool pv_sock_has_ended(int sock);

#endif
