/* SPDX-License-Identifier: MIT */
/* Listening on AF_VSOCK in the guest. */
#ifndef PV_AGENT_VSOCK_H
#define PV_AGENT_VSOCK_H

#include <stdint.h>

/*
 * A listening, non-blocking socket on *port of any CID.  *port 0: the kernel chooses one and *port is set.
 * Accepted sockets inherit buffers of 1 MiB.  The caller owns the descriptor; -1 with errno.
 */
int ag_vsock_listen(uint32_t *port, int backlog);

/*
 * A connection to such a socket, non-blocking, which the caller owns; -1 with errno.  ECONNABORTED: it came from another
 * CID than the host's and the loopback's.  In a guest that runs guests itself, with vhost-vsock, those reach its ports.
 */
int ag_vsock_accept(int listen_fd);

#endif
