/* SPDX-License-Identifier: MIT */
/*
 * The one way to start a program.
 *
 * The child gets the listed descriptors at the listed numbers and no others, no signal mask, default
 * signal actions, its own process group, and SIGKILL when the calling process dies (checked again after
 * prctl, so a parent that died in between is noticed).  PR_SET_PDEATHSIG fires when the forking THREAD
 * exits: call it from the main thread.
 */
#ifndef PV_UTIL_SPAWN_H
#define PV_UTIL_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct pv_err;

struct pv_spawn_fd {
    int from; /* in this process */
    int to;   /* in the child */
};

struct pv_spawn {
    const char *file;              /* looked up in PATH unless it has a slash */
    char *const *argv;             /* NULL-terminated */
    char *const *envp;             /* NULL: this process's */
    const char *cwd;               /* NULL: this process's */
    const struct pv_spawn_fd *fds; /* 0, 1 and 2 that are not listed become /dev/null */
    size_t n_fds;
    bool outlive; /* do not die with this process */
};

/*
 * Returns the pid and, in *pidfd when asked for, a pidfd (CLOEXEC).  An exec that failed is reported here
 * (class missing for ENOENT, else host), not by an exit status.  The caller reaps.
 */
pid_t pv_spawn(const struct pv_spawn *sp, int *pidfd, struct pv_err *err);

/* The file that pv_spawn would run for this name; NULL: none. The caller frees. */
char *pv_find_program(const char *file);

/* "exit status 3", "killed by SIGSEGV", ... from a waitid/waitpid status. */
const char *pv_wait_status_text(int status, char buf[static 64]);

/*
 * A command's exit code in words: "exit code 1", "exit code 127: command not found", "exit code 139: killed
 * by SIGSEGV" (128 + signal, as a shell and the agent have it), "exit code 137: killed at its timeout".
 */
const char *pv_exit_words(int code, bool timed_out, char buf[static 64]);

#endif
