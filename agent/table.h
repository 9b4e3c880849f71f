/* SPDX-License-Identifier: MIT */
/*
 * How every session and worker of this guest ended, in memory that all of them share: so a new session can
 * tell how the last one died.  Fixed size; the oldest that ended make room.
 */
#ifndef PV_AGENT_TABLE_H
#define PV_AGENT_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

enum { AG_TABLE_N = 1024 };

enum { AG_SLOT_FREE, AG_SLOT_RUNS, AG_SLOT_ENDED };

struct ag_slot {
    _Atomic unsigned state;
    _Atomic unsigned age;
    pid_t pid;    /* the kernel may fill it in itself: CLONE_PARENT_SETTID */
    bool session; /* forked by the supervisor itself */
    pid_t group;  /* a thread's process; 0: it is one itself */
    int status;   /* wait status */
};

struct ag_table {
    _Atomic unsigned n;
    _Atomic unsigned ports; /* given to workers so far, where there is no vsock */
    struct ag_slot slot[AG_TABLE_N];
};

/* NULL when there is no memory. */
struct ag_table *ag_table_new(void);
/* A slot that runs, pid 0; NULL when all run. */
struct ag_slot *ag_table_take(struct ag_table *t);
void ag_slot_end(struct ag_slot *s, int status);
/* The process is gone, and its threads with it. True when it was a session. */
bool ag_table_gone(struct ag_table *t, pid_t pid, int status);
/* The youngest with this pid, or NULL. */
struct ag_slot *ag_table_find(struct ag_table *t, pid_t pid);

#endif
