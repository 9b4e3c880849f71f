/* SPDX-License-Identifier: MIT */
#ifndef PV_AGENT_VERBS_OPEN_FILE_H
#define PV_AGENT_VERBS_OPEN_FILE_H

#include <sys/stat.h>

/*
 * Opens a file that is no directory (EISDIR).  O_NONBLOCK is added: opening a FIFO without a peer, or a
 * device, must not block the session, and regular files ignore it.  The descriptor, or -1 with errno.
 */
int ag_open_file(const char *path, int flags, mode_t mode, struct stat *st);

#endif
