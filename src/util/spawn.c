/* SPDX-License-Identifier: MIT */
/*
 * pv_spawn computes argv, path and descriptors before fork; the child calls only async-signal-safe functions.
 * A failed step in the child writes its errno to a CLOEXEC pipe, which a successful exec closes.
 */
#include "util/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/err.h"
#include "util/mem.h"

extern char **environ;

/* Directories are executable in the sense of access(2), too. */
static bool is_program(const char *path)
{
    struct stat st;

    return access(path, X_OK) == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

char *pv_find_program(const char *file)
{
    const char *path = getenv("PATH");

    if (strchr(file, '/'))
        return is_program(file) ? pv_xstrdup(file) : NULL;
    if (!path || !*path)
        path = "/usr/local/bin:/usr/bin:/bin";
    while (*path) {
        size_t n = strcspn(path, ":");
        char *full = n ? pv_xasprintf("%.*s/%s", (int)n, path, file) : pv_xasprintf("./%s", file);

        if (is_program(full))
            return full;
        free(full);
        path += n;
        if (*path)
            path++;
    }
    return NULL;
}

static int highest_target(const struct pv_spawn *sp)
{
    int max = 2;

    for (size_t i = 0; i < sp->n_fds; i++)
        if (sp->fds[i].to > max)
            max = sp->fds[i].to;
    return max;
}

/* The sources are first duplicated above the targets, so that no dup2 to a target overwrites one. */
static int child_place_fds(const struct pv_spawn *sp, int report)
{
    int base = highest_target(sp) + 1, devnull = open("/dev/null", O_RDWR);
    int moved_report, place[PV_SPAWN_FDS];

    if (devnull < 0)
        return -1;
    moved_report = fcntl(report, F_DUPFD_CLOEXEC, base);
    devnull = fcntl(devnull, F_DUPFD_CLOEXEC, base);
    if (moved_report < 0 || devnull < 0)
        return -1;
    for (size_t i = 0; i < sp->n_fds; i++)
        if ((place[i] = fcntl(sp->fds[i].from, F_DUPFD_CLOEXEC, base)) < 0)
            return -1;
    for (int fd = 0; fd < 3; fd++)
        if (dup2(devnull, fd) < 0)
            return -1;
    for (size_t i = 0; i < sp->n_fds; i++)
        if (dup2(place[i], sp->fds[i].to) < 0)
            return -1;
    for (int fd = 3; fd < base; fd++) {
        bool wanted = false;

        for (size_t i = 0; i < sp->n_fds; i++)
            wanted |= sp->fds[i].to == fd;
        if (!wanted)
            close(fd);
    }
    /* Linux before 5.9 has no close_range(2); there CLOEXEC, which all our descriptors carry, suffices. */
    if (moved_report > base)
        syscall(SYS_close_range, (unsigned)base, (unsigned)moved_report - 1, 0);
    syscall(SYS_close_range, (unsigned)moved_report + 1, ~0U, 0);
    return moved_report;
}

static int child_restrict(int ruleset)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_landlock_restrict_self, ruleset, 0U) < 0)
        return -1;
    close(ruleset);
    return 0;
}

static void child_exec(const struct pv_spawn *sp, const char *full, pid_t parent, int report)
{
    sigset_t none;
    int r, e;

    setpgid(0, 0);
    if (!sp->outlive) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(127);
    }
    r = child_place_fds(sp, report);
    if (r < 0)
        goto fail;
    report = r;
    if (sp->cwd && chdir(sp->cwd) < 0)
        goto fail;
    if (sp->no_core)
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    if (sp->prepare && sp->prepare(sp->prepare_arg) < 0)
        goto fail;
    if (sp->ruleset && child_restrict(sp->ruleset) < 0)
        goto fail;
    for (int sig = 1; sig < 32; sig++)
        signal(sig, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(full, sp->argv, sp->envp ? sp->envp : environ);
fail:
    e = errno;
    if (write(report, &e, sizeof(e)) != sizeof(e))
        _exit(126);
    _exit(127);
}

pid_t pv_spawn(const struct pv_spawn *sp, int *pidfd, struct pv_err *err)
{
    cleanup_free char *full = pv_find_program(sp->file);
    int report[2], e = 0;
    pid_t parent = getpid(), pid;
    ssize_t n;

    if (!full)
        return pv_err_set(err, PV_E_MISSING, "program '%s' was not found%s", sp->file,
                          strchr(sp->file, '/') ? " or is not executable" : " in PATH");
    if (sp->n_fds > PV_SPAWN_FDS)
        return pv_err_set(err, PV_E_HOST, "too many descriptors for '%s'", sp->file);
    if (pipe2(report, O_CLOEXEC) < 0)
        return pv_err_sys(err, errno, "cannot make a pipe");
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        close(report[0]);
        child_exec(sp, full, parent, report[1]);
    }
    e = errno;
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        return pv_err_sys(err, e, "cannot fork for '%s'", sp->file);
    }
    do
        n = read(report[0], &e, sizeof(e));
    while (n < 0 && errno == EINTR);
    close(report[0]);
    if (n == sizeof(e)) {
        waitpid(pid, NULL, 0);
        return pv_err_sys(err, e, "cannot run '%s'", full);
    }
    if (pidfd) {
        *pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (*pidfd < 0) {
            e = errno;
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            return pv_err_sys(err, e, "cannot open a pidfd (Linux 5.3 or newer is needed)");
        }
    }
    return pid;
}

const char *pv_wait_status_text(int status, char buf[static 64])
{
    if (WIFEXITED(status))
        snprintf(buf, 64, "exit status %d", WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        snprintf(buf, 64, "killed by SIG%s%s",
                 sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status)) : "?",
                 WCOREDUMP(status) ? " (core dumped)" : "");
    else
        snprintf(buf, 64, "wait status %#x", (unsigned)status);
    return buf;
}

const char *pv_exit_words(int code, bool timed_out, char buf[static 64])
{
    const char *sig = code > 128 && code < 128 + 32 ? sigabbrev_np(code - 128) : NULL;

    if (timed_out)
        snprintf(buf, 64, "exit code %d: killed at its timeout", code);
    else if (code == 126)
        snprintf(buf, 64, "exit code 126: found, but can not be executed");
    else if (code == 127)
        snprintf(buf, 64, "exit code 127: command not found");
    else if (sig)
        snprintf(buf, 64, "exit code %d: killed by SIG%s", code, sig);
    else
        snprintf(buf, 64, "exit code %d", code);
    return buf;
}
