/* SPDX-License-Identifier: MIT */
/* What the two sides of this test agree on. */
#ifndef VSOCK_GUEST_PORTS_H
#define VSOCK_GUEST_PORTS_H

enum {
    ECHO_PORT = 1000, /* gives back what it gets */
    SINK_PORT,        /* u64 n, n bytes; answers a u64 sum of every 4096th byte of each read */
    SOURCE_PORT,      /* u64 n; answers n bytes */
    COUNT_PORT,       /* bytes until the end; answers a u64 count */
    BYE_PORT,         /* says "bye" and ends its half; calls HOST_PORT with the count of what came then */
    DROP_PORT,        /* takes one byte and closes */
    SLOW_PORT,        /* as SINK_PORT, after 200 ms of reading nothing */
    RESTART_PORT,     /* reboots */
    NOBODY_PORT,      /* no listener */
    HOST_PORT = 2000, /* the host's: takes a u64 and closes */
    HELLO = 4711,     /* what HOST_PORT gets first */
};

#endif
