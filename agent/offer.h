/* SPDX-License-Identifier: MIT */
/*
 * Handing a worker's socket from a session to the multiplexer, where workers have channels of a virtio-serial
 * port in place of vsock ports.  One message carries one descriptor and the port number that stands for it.
 */
#ifndef PV_AGENT_OFFER_H
#define PV_AGENT_OFFER_H

#include <stdbool.h>
#include <stdint.h>

#include "world.h"

/* A socket pair: streams are non-blocking with buffers of 1 MiB, SOCK_SEQPACKET blocks. */
bool ag_socket_pair(int type, int pair[2]);

/*
 * In a session: sends one end of a new socket pair to the multiplexer, which connects it to the first OPEN of
 * *port (set here) and closes it after 10 s without one.  Returns the other end, or -1 with errno.
 */
int ag_offer_send(const struct ag_world *w, uint32_t *port);

/*
 * In the multiplexer: takes one message from ctl_fd without blocking.  False when there is none.  *fd is the
 * descriptor, owned by the caller, or -1 when the message was malformed: all its descriptors are closed then.
 */
bool ag_offer_receive(int ctl_fd, int *fd, uint32_t *port);

#endif
