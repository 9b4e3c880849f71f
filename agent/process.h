/* SPDX-License-Identifier: MIT */
/*
 * The sessions of this process, and the processes and threads that they start.  All functions may be called
 * from any thread of the process.
 */
#ifndef PV_AGENT_PROCESS_H
#define PV_AGENT_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "session.h"

struct ag_slot;

/*
 * A session on fd (taken), with `run` as its loop.  Its memory costs nothing until it is touched.  NULL with
 * errno when there is none.
 */
struct ag_session *ag_session_new(int fd, const struct ag_world *w, void (*run)(struct ag_session *s));

/*
 * Forks a reaper: a child that the agent alone can wait for, not a wait4(-1) of a system call request.  The
 * child holds no descriptor of any session.  unnumbered: as ag_fork_unnumbered().  -1 with errno.
 */
pid_t ag_fork_reaper(struct ag_session *s, bool unnumbered);

/*
 * fork() in a process without threads; the child's pid comes from the top of the range.  -1 with errno, also
 * where the kernel has no clone3().
 */
pid_t ag_fork_unnumbered(int exit_signal);

/* Waits for the reaper now if it has exited, else before a later fork. */
void ag_reap_later(struct ag_session *s, pid_t reaper);

/*
 * Start a worker of s: a fork of the process, or a thread of it.  listen_fd is the socket that the worker
 * accepts its one connection on, or that connection itself where there is a multiplexer; the fork shares it,
 * a thread takes it.  `slot`: the worker's place in the table.  The pid (of a thread: its thread id), or -1
 * with errno.
 */
pid_t ag_worker_fork(struct ag_session *s, int listen_fd, struct ag_slot *slot);
pid_t ag_worker_thread(struct ag_session *s, int listen_fd, struct ag_slot *slot);

/* Frees the session that has ended; exits with its code once no thread of the process is left. */
_Noreturn void ag_process_end(struct ag_session *s);

#endif
