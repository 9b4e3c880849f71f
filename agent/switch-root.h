/* SPDX-License-Identifier: MIT */
/*
 * An initrd whose init mounts another root and switches to it.  The injected files have to be in that root before
 * anything runs from it, so PID 1 is traced (tracer.c): it stands still at the end of the first exec after its root has
 * changed, while they are copied there from a file system that only the agent reaches.  The initrd deletes its own
 * files at the switch, those injected into it as well.  A tracer and no hook script of the initrd: every way of
 * switching ends with an exec.
 *
 * Made by guest init, then shared by the agent's supervisor, its sessions and the tracer, which are forks.
 */
#ifndef PV_AGENT_SWITCH_ROOT_H
#define PV_AGENT_SWITCH_ROOT_H

#include <stdbool.h>
#include <sys/types.h>

struct ag_boot;

struct ag_switch {
    int keep_fd;        /* root directory of the copies of injected files; -1: none */
    int done_fd;        /* a pipe that ends with the tracer */
    int ask_fd;         /* a byte makes the tracer look at the root of PID 1 */
    int tracer_done_fd; /* the tracer's ends */
    int tracer_ask_fd;
    int start_fd; /* ends, or has a byte, once PID 1 is traced; guest init's end */
    int tracer_start_fd;
    volatile bool *done; /* shared: PID 1 has another root, and all files are there */
    bool hold;           /* READY waits for that */
    dev_t root_dev;      /* of the initrd */
    ino_t root_ino;
};

/*
 * Guest init, before the injected files are moved.  Leaves b->root_switch NULL where nothing is to be done at a switch:
 * no injected files, and the initrd is not one that certainly switches.  Fatal on failure.
 */
void ag_switch_prepare(struct ag_boot *b);

/* The supervisor: forks the tracer.  b's descriptors must be valid. */
void ag_switch_start(struct ag_boot *b);

/* Guest init, after it has forked the supervisor: waits until it is traced; fatal when that failed. */
void ag_switch_started(struct ag_boot *b);

/*
 * In a session: waits for the switch, if READY has to.  False: the peer has hung up meanwhile.  s may be NULL.
 */
bool ag_switch_hold(const struct ag_switch *s, int peer, int dev_fd);

/*
 * In a session that has seen another root of PID 1: makes sure that all files are there, which may take as long as
 * copying them.  False: they are not there yet.  s may be NULL.
 */
bool ag_switch_settle(const struct ag_switch *s, int dev_fd);

/* The tracer, while PID 1 stands still: makes the root of PID 1 its own. */
void ag_switch_enter(const struct ag_boot *b);

/*
 * Then: copies the files into that root and compares them; fatal on failure.  A root that was read-only is writable
 * afterwards; returns what ag_switch_restore needs.
 */
unsigned long ag_switch_fill(const struct ag_boot *b);

/* The tracer: makes the root read-only again, if ag_switch_fill made it writable. */
void ag_switch_restore(const struct ag_boot *b, unsigned long was);

/* tracer.c: traces PID 1 until it has switched, then exits. */
_Noreturn void ag_tracer_main(struct ag_boot *b);

#endif
