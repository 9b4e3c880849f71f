/* SPDX-License-Identifier: MIT */
#ifndef PV_UTIL_SOCK_H
#define PV_UTIL_SOCK_H

#include <stdbool.h>

/*
 * After recv(2) of a SOCK_SEQPACKET socket returned 0: false when that was an empty message, not the end of
 * the socket.  Does not block.  Of empty messages that nothing follows, true once the peer has closed.
 */
bool pv_sock_has_ended(int sock);

#endif
