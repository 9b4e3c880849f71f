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

#endif
