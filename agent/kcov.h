/* SPDX-License-Identifier: MIT */
/*
 * KCOV (CONFIG_KCOV; the kernel's Documentation/dev-tools/kcov.rst) records what the kernel executes for one task, for --coverage.
 * A kernel without it has nothing to report, which is no error.
 *
 *     struct ag_kcov k = AG_KCOV_NONE;
 *     ag_kcov_open(s, &k);
 *     ag_kcov_enable(k.fd);          // in the task
 *     ...
 *     ag_kcov_disable(k.fd);         // in the task, unless it has ended
 *     ag_kcov_reply(s, id, &k);
 */
#ifndef PV_AGENT_KCOV_H
#define PV_AGENT_KCOV_H

#include <stdint.h>

#include "session.h"

enum { AG_KCOV_PCS = PV_CHUNK / 8 }; /* most addresses in a reply */

struct ag_kcov {
    int fd;         /* in the agent's range; -1: there is none */
    uint64_t *area; /* the number of addresses, then they */
};

#define AG_KCOV_NONE ((struct ag_kcov){.fd = -1})

/* Opens the kernel's interface; mounts debugfs where a guest has not. */
void ag_kcov_open(const struct ag_session *s, struct ag_kcov *k);
void ag_kcov_close(struct ag_kcov *k);
/* Begins and ends to record what the calling task executes; -1 is fine. */
void ag_kcov_enable(int fd);
void ag_kcov_disable(int fd);
/* Queues COVERAGE, when there is any, and closes k.  The session has room for it (ag_data_room). */
void ag_kcov_reply(struct ag_session *s, uint32_t id, struct ag_kcov *k);

#endif
