/* SPDX-License-Identifier: MIT */
/* The ports that the host and the guest of this test use. */
#ifndef VSOCK_GUEST_PORTS_H
#define VSOCK_GUEST_PORTS_H

enum {
    ECHO_PORT = 1000, /* echoes its input */
    SINK_PORT,        /* u64 n, n bytes; replies with a u64 sum of every 4096th byte of each read */
    SOURCE_PORT,      /* u64 n; replies with n bytes */
    COUNT_PORT,       /* bytes until EOF; replies with a u64 count */
    BYE_PORT,         /* sends "bye", shuts down its half; calls HOST_PORT with the count of later bytes */
    DROP_PORT,        /* reads one byte and closes */
    SLOW_PORT,        /* as SINK_PORT, after 200 ms of reading nothing */
    RESTART_PORT,     /* reboots */
    NOBODY_PORT,      /* no listener */
    HOST_PORT = 2000, /* the host's: reads a u64 and closes */
    HELLO = 4711,     /* the first u64 sent to HOST_PORT */
};

#endif
