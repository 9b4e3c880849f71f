/* SPDX-License-Identifier: MIT */
/*
 * The sessions and workers of this guest, running or ended, in memory that all of them share: STATUS in a new
 * session tells how an older one died.  Of fixed size; a new entry replaces the oldest that has ended.
 */
#ifndef PV_AGENT_PROCESS_TABLE_H
#define PV_AGENT_PROCESS_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

enum { AG_SLOTS_N = 1024 };

enum { AG_SLOT_FREE, AG_SLOT_RUNS, AG_SLOT_ENDED };

struct ag_slot {
    _Atomic unsigned state;
    _Atomic unsigned age; /* grows by one with each slot taken */
    pid_t pid;    /* of a thread: its thread id.  For a fork the kernel stores it: CLONE_PARENT_SETTID */
    bool session; /* forked by the supervisor; else a worker */
    pid_t group;  /* of a thread: its process; else 0 */
    int status;   /* wait status, once ended */
};

struct ag_process_table {
    _Atomic unsigned n;     /* slots taken so far */
    _Atomic unsigned ports; /* ports given to workers so far, where there is no vsock */
    struct ag_slot slot[AG_SLOTS_N];
};

/* Shared with all later forks; NULL when there is no memory. */
struct ag_process_table *ag_process_table_new(void);
/* A slot in state AG_SLOT_RUNS, whose pid the caller sets; NULL when all run. */
struct ag_slot *ag_process_table_take(struct ag_process_table *t);
void ag_slot_end(struct ag_slot *s, int status);
/* Marks a process that has ended, and its threads.  True when it was a session. */
bool ag_process_table_gone(struct ag_process_table *t, pid_t pid, int status);
/* The youngest slot with this pid, or NULL. */
struct ag_slot *ag_process_table_find(struct ag_process_table *t, pid_t pid);

#endif
