/* SPDX-License-Identifier: MIT */
/*
 * A process in a guest: a command that runs while the test does something else.  Its output is collected from
 * the loop, whatever the caller does.
 *
 *     struct pv_process *p = pv_process_start(pv_guest_agent(g), &x, true, "x.lua:12", &err);
 *     pv_process_write(p, "line\n", 5, 0, &err);
 *     pv_process_wait(p, deadline, &err);
 *     ... pv_process_result(p), pv_process_output(p, 0) ...
 *     pv_process_unref(p);
 *
 * It goes on without references, until the guest's end.
 */
#ifndef PV_GUEST_PROCESS_H
#define PV_GUEST_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "guest/agent.h"

struct pv_err;
struct pv_process;
struct pv_spool;

/*
 * Blocks until the program runs.  x: as of pv_agent_exec; max_output bounds what is kept of each output (0: 64
 * MiB).  open_stdin: stdin stays open behind x->in.  opened: where in the test, for messages (copied).  NULL
 * with *err: class guest, it could not be started; usage for a worker, which has one connection.
 */
struct pv_process *pv_process_start(struct pv_agent *a, const struct pv_exec *x, bool open_stdin,
                                    const char *opened, struct pv_err *err);

/* The stdio of a live process: nothing of it is kept, for programs that pass it on as it comes. */
struct pv_process_io {
    /*
     * From the loop: bytes of stdout (0) or stderr (1).  May block, which holds the output back in the guest; must
     * not call into guests.
     */
    void (*output)(void *arg, int which, const void *data, size_t n);
    /* From the loop: stores up to n bytes of stdin.  0: there are none now (pv_process_kick asks again); -1: the end. */
    ssize_t (*input)(void *arg, void *data, size_t n);
    void *arg;
};
/* The same with *io (borrowed while it runs) in place of x->in, open_stdin and pv_process_output; on a terminal with x->pty. */
struct pv_process *pv_process_start_live(struct pv_agent *a, const struct pv_exec *x,
                                         const struct pv_process_io *io, const char *opened,
                                         struct pv_err *err);
/* Of a live process: io->input has bytes, or is at its end. */
void pv_process_kick(struct pv_process *p);
/* Of a process with x->pty: the size of its terminal. */
void pv_process_resize(struct pv_process *p, unsigned rows, unsigned columns);
/* Kills it with all its descendants, as pv_process_kill, without waiting for the end. */
void pv_process_cancel(struct pv_process *p);
/* Of a live process: *io is not used any more.  Ends its session, upon which the agent kills it, if it runs. */
void pv_process_let_go(struct pv_process *p);

void pv_process_ref(struct pv_process *p);
void pv_process_unref(struct pv_process *p); /* NULL is fine */

uint32_t pv_process_pid(const struct pv_process *p);
const char *pv_process_name(const struct pv_process *p); /* "the process 'sleep 5'" */
/* Its command, "sleep 5" of n bytes, which no NUL byte ends. */
const char *pv_process_title(const struct pv_process *p, size_t *n);
/* which: 0 stdout, 1 stderr.  The process's. */
struct pv_spool *pv_process_output(const struct pv_process *p, int which);
/* Does not wait. */
bool pv_process_running(struct pv_process *p);
/* 0: it has ended; 1 at the deadline; -1: the guest or the agent's process ended first. */
int pv_process_wait(struct pv_process *p, int64_t deadline, struct pv_err *err);
/* Why it does not run although pv_process_wait fails; leaves *err alone when it has ended by itself. */
void pv_process_why(struct pv_process *p, struct pv_err *err);
/* How it has ended; its buffers are empty. */
const struct pv_exec_result *pv_process_result(const struct pv_process *p);

/* Sends a signal (1 to 64) to its first process; nothing when it has ended. */
void pv_process_signal(struct pv_process *p, int sig);
/* Kills it with all its descendants and waits for the end, at most timeout_ns.  Nothing when it has ended. */
int pv_process_kill(struct pv_process *p, int64_t timeout_ns, struct pv_err *err);
/*
 * Blocks until its pipe has taken all bytes.  Class usage without an open stdin; guest when it has ended or
 * has closed its stdin; timeout: the rest is dropped.
 */
int pv_process_write(struct pv_process *p, const void *data, size_t n, int64_t timeout_ns,
                     struct pv_err *err);
/* Closes its stdin behind what was written; nothing when that is closed. */
void pv_process_close_stdin(struct pv_process *p);

#endif
