/* SPDX-License-Identifier: MIT */
/*
 * Starting a program.
 *
 * The child gets the listed descriptors at the listed numbers and no others, no signal mask, default
 * signal actions, its own process group, and SIGKILL when the calling process dies (also when it died
 * before the child's prctl).  PR_SET_PDEATHSIG fires when the forking THREAD exits: call pv_spawn from the
 * main thread.
 *
 *     struct pv_spawn sp = {.file = "depmod", .argv = argv};
 *     pid = pv_spawn(&sp, &pidfd, err);
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

enum { PV_SPAWN_FDS = 128 };

struct pv_spawn {
    const char *file;              /* looked up in PATH unless it has a slash */
    char *const *argv;             /* NULL-terminated */
    char *const *envp;             /* NULL: this process's */
    const char *cwd;               /* NULL: this process's */
    const struct pv_spawn_fd *fds; /* 0, 1 and 2 are /dev/null unless listed */
    size_t n_fds;                  /* at most PV_SPAWN_FDS */
    bool outlive;                  /* no SIGKILL when this process dies */
    bool no_core;                  /* no core dump, whatever the user's limit is */
    int ruleset;                   /* the number in `fds` of a Landlock ruleset that restricts it; 0: none */
    /*
     * Called in the child when its descriptors are in place, before the ruleset holds; NULL: nothing.  It may make
     * async-signal-safe calls only.  -1 with errno: the program is not started.
     */
    int (*prepare)(const void *arg);
    const void *prepare_arg;
};

/*
 * Returns the pid and, unless pidfd is NULL, a pidfd (CLOEXEC).  Blocks until the exec succeeded or failed.
 * -1: class missing (no such program), else host.  The caller reaps the child and closes the pidfd.
 */
pid_t pv_spawn(const struct pv_spawn *sp, int *pidfd, struct pv_err *err);

/* The path that pv_spawn executes for this name; NULL: none.  The caller frees. */
char *pv_find_program(const char *file);

/* "exit status 3", "killed by SIGSEGV", ... from a waitid/waitpid status. */
const char *pv_wait_status_text(int status, char buf[static 64]);

/*
 * A command's exit code in words.  Signals are 128 + N, as in a shell and in the agent's replies:
 *
 *     exit code 1
 *     exit code 127: command not found
 *     exit code 139: killed by SIGSEGV
 *     exit code 137: killed at its timeout
 */
const char *pv_exit_words(int code, bool timed_out, char buf[static 64]);

#endif
