/* SPDX-License-Identifier: MIT */
/* Signals to all descendants of a process. */
#ifndef PV_AGENT_PROCESS_TREE_H
#define PV_AGENT_PROCESS_TREE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Scans /proc (proc_fd) and sends sig to every descendant of the calling process, which must be a subreaper
 * so that none can leave.  but_stopped: skips stopped processes and zombies.  Returns how many were sent
 * the signal; 0 without /proc.
 */
size_t ag_process_tree_signal(int proc_fd, int sig, bool but_stopped);

#endif
