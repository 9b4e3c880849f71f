/* SPDX-License-Identifier: MIT */
/*
 * The reaper: the process between a session and a command.  It starts the command, is the subreaper of
 * everything that the command starts, and reports how the command ended.
 */
#ifndef PV_AGENT_REAPER_H
#define PV_AGENT_REAPER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "session.h"

struct ag_user;

struct ag_command {
    char *const *argv, *const *envp;
    const char *cwd; /* "": / */
    int stdio[3];
    bool started;               /* report AG_STARTED as well */
    bool pty;                   /* stdio is a terminal, which becomes the command's controlling one */
    const char *path;           /* where a program without a slash is looked up; NULL: PATH in envp */
    const struct ag_user *user; /* whom the command runs as; NULL: as the session */
    int pump[2], sink[2];       /* of a job: the reaper copies from pump to sink; else -1 */
    int proc_fd;                /* as in struct ag_world */
    int life_fd;                /* likewise */
    bool realtime;              /* the reaper has real-time priority */
    bool unnumbered;            /* PV_EXEC_UNNUMBERED */
    int kcov_fd;                /* of struct ag_kcov: the command's process is recorded; -1: none */
};

/* One datagram on the control socket. */
struct ag_report {
    enum {
        AG_FAILED, /* the command was not started */
        AG_ENDED,  /* all of it has ended */
        AG_STARTED,
    } kind;
    int value; /* AG_FAILED: errno; AG_ENDED: wait status; AG_STARTED: pid */
    enum { AG_AT_FORK, AG_AT_USER, AG_AT_CHDIR, AG_AT_EXEC } at;
    uint64_t duration; /* ns */
    char what[1024];   /* AG_FAILED: the path */
};

/*
 * Forks a reaper that runs c.  *ctl is its control socket, owned by the caller: reports come from it;
 * ag_reaper_kill, or its end, makes the reaper kill the command's whole process tree.  Returns the
 * reaper's pid, for ag_reap_later(); -1 with errno.  c is not used after the return.
 */
pid_t ag_reaper_start(struct ag_session *s, const struct ag_command *c, int *ctl);

/* Asks the reaper to kill; false when it cannot be told. */
bool ag_reaper_kill(int ctl);
/* Asks the reaper to send a signal to the command's first process, as long as that runs. */
bool ag_reaper_signal(int ctl, int sig);

#endif
