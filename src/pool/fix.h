/* SPDX-License-Identifier: MIT */
/* For tests: a server with two files in this process.  The test writes a client's messages itself where the client would
 * block. */
#ifndef PV_POOL_FIX_H
#define PV_POOL_FIX_H

#include <stdint.h>

#include "childproto/leasemsg.h"
#include "loop/loop.h"
#include "pool/server.h"

#define M (UINT64_C(1) << 20)

struct fix {
    struct pv_loop *loop;
    struct pv_pool_server *s;
    struct pv_pool_file *restarted, *waiter;
    int waits; /* +1 for each report that a file waits, -1 for each that it no longer does */
    struct pv_pool_file *failed;
    char fault[100];
    struct pv_pool_file a, b;
    uint64_t used_of_a; /* what the QEMUs of file a have of the host, bytes */
};

int fix_set_up(void **state);
int fix_tear_down(void **state);
/* The channel of the file's process. */
int fix_join(struct fix *x, struct pv_pool_file *f);
/* Gives the loop some turns, without waiting. */
void fix_run(struct fix *x);
/* Sends a request for one CPU, and runs the loop. */
void fix_say(struct fix *x, int fd, uint32_t op, uint32_t id, uint64_t memory);
/* Asserts the next reply; status 0: that there is no reply. */
void fix_assert_reply(int fd, uint32_t status, uint32_t id, const char *text);

#endif
