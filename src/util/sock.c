/* SPDX-License-Identifier: MIT */
#include "util/sock.h"

#include <poll.h>
#include <sys/socket.h>

bool pv_sock_has_ended(int sock)
{
    struct pollfd p = {.fd = sock, .events = POLLRDHUP};

    /* Messages may be left after the last writer is gone. */
    return poll(&p, 1, 0) != 0 && recv(sock, &(char){0}, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}
