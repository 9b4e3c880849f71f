/* SPDX-License-Identifier: MIT */
/* The surroundings that a session process inherits from the agent's supervisor. */
#ifndef PV_AGENT_WORLD_H
#define PV_AGENT_WORLD_H

#include <stdbool.h>
#include <sys/types.h>

struct ag_process_table;
struct ag_switch;

struct ag_world {
    int proc_fd;                    /* private procfs; -1: none */
    int dev_fd;                     /* private devtmpfs; -1: none */
    int null_fd;                    /* /dev/null */
    int ctl_fd;                     /* socket to the multiplexer; -1: the guest has vsock */
    int life_fd;                    /* pipe end that the session and its descendants hold open; -1: none */
    struct ag_process_table *table; /* how sessions and workers ended; shared memory */
    struct ag_switch *root_switch;  /* files are put into the root that PID 1 changes to; NULL: none are */
    bool follow_init;               /* change to the root of PID 1 when it changes */
    bool in_guest;  /* false in tests on the host: no shutdown, no mounts, no real-time priority */
    dev_t root_dev; /* the root of PID 1 that was last seen */
    ino_t root_ino;
};

/* Notes the current root. */
void ag_world_init(struct ag_world *w);

/*
 * Changes to the root of PID 1 if PID 1 has switched to another one (an initramfs that mounts the real root)
 * since the last call, once the injected files are there, for which it waits.  Does nothing in a process that has changed its root itself.
 */
void ag_world_follow(struct ag_world *w);

#endif
