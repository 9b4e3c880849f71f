/* SPDX-License-Identifier: MIT */
/* Signals for a process with everything that descends from it, and for nobody else. */
#ifndef PV_AGENT_FAMILY_H
#define PV_AGENT_FAMILY_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Looks through /proc (proc_fd) and sends sig to every descendant of the calling process, which must be a
 * subreaper so that none can leave.  With but_stopped, those that are stopped already (or zombies) are left
 * out.  Returns how many were sent it; 0 as well when there is no /proc.
 */
size_t ag_family_signal(int proc_fd, int sig, bool but_stopped);

#endif
