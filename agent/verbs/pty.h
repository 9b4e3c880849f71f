/* SPDX-License-Identifier: MIT */
/* Pseudo-terminals for EXEC. */
#ifndef PV_AGENT_VERBS_PTY_H
#define PV_AGENT_VERBS_PTY_H

#include <stdbool.h>
#include <stdint.h>

enum { AG_PTY_SIZE_MAX = 65535 };

struct ag_pty_size {
    uint32_t rows, columns; /* 0: not known */
};

/* Each is at most AG_PTY_SIZE_MAX. */
bool ag_pty_size_valid(struct ag_pty_size z);

/*
 * Makes a pair, close-on-exec: *master is non-blocking, *slave is the command's.  in_guest: mounts devpts where
 * the guest has none yet.  0, or -1 with errno.
 */
int ag_pty_open(bool in_guest, struct ag_pty_size z, int *master, int *slave);
/* The foreground process group gets SIGWINCH when the size is another one. */
void ag_pty_resize(int master, struct ag_pty_size z);

#endif
