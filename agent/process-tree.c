/* SPDX-License-Identifier: MIT */
/*
 * Processes start and end while /proc is scanned, and a pid may belong to another process by the time that it
 * is signalled (a fork bomb goes through all pids in seconds).  So a process is identified by pid and start
 * time, and is signalled through a pidfd after both, and its parent's, were checked again.
 */
#include "process-tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util.h"

enum { PROCS_MAX = 32768 };

struct proc {
    pid_t pid, parent;
    unsigned long long start;
    char state;
    enum { UNKNOWN, VISITING, DESCENDANT, OTHER } kin;
};

static struct proc procs[PROCS_MAX];
static size_t n_procs;

static bool read_proc(int proc_fd, pid_t pid, struct proc *p)
{
    char path[64], text[1024];
    int parent;

    if (!ag_format(path, sizeof(path), "%d/stat", (int)pid) ||
        ag_read_text(proc_fd, path, text, sizeof(text)) < 0)
        return false;
    const char *s = strrchr(text, ')'); /* the name may contain parentheses */

    /* proc(5): state, ppid, 17 more, and field 22 is the start time */
    if (!s || sscanf(s + 1, " %c %d %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
                     &p->state, &parent, &p->start) != 3)
        return false;
    p->pid = pid;
    p->parent = parent;
    p->kin = UNKNOWN;
    return true;
}

static int by_pid(const void *a, const void *b)
{
    const struct proc *x = a, *y = b;

    return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static struct proc *find_proc(pid_t pid)
{
    const struct proc key = {.pid = pid};

    return bsearch(&key, procs, n_procs, sizeof(procs[0]), by_pid);
}

/* Walks up to a process whose `kin` is known, and sets that of all on the way. */
static void mark_ancestry(struct proc *p, pid_t self)
{
    struct proc *q = p;
    int kin = UNKNOWN;

    while (kin == UNKNOWN) {
        q->kin = VISITING;
        if (q->parent == self) {
            kin = DESCENDANT;
        } else {
            struct proc *up = find_proc(q->parent);

            if (!up || up->kin == VISITING || up->start > q->start)
                kin = OTHER; /* ended, or its pid was reused */
            else if (up->kin == DESCENDANT || up->kin == OTHER)
                kin = (int)up->kin;
            else
                q = up;
        }
    }
    for (q = p; q && q->kin == VISITING; q = find_proc(q->parent))
        q->kin = (unsigned)kin;
}

static void scan_procs(int proc_fd)
{
    int fd = proc_fd < 0 ? -1 : openat(proc_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    pid_t self = getpid();

    n_procs = 0;
    for (struct dirent *e; d && n_procs < PROCS_MAX && (e = readdir(d));)
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9' &&
            read_proc(proc_fd, (pid_t)atoi(e->d_name), &procs[n_procs]))
            n_procs++;
    if (d)
        closedir(d);
    qsort(procs, n_procs, sizeof(procs[0]), by_pid);
    for (size_t i = 0; i < n_procs; i++)
        if (procs[i].kin == UNKNOWN)
            mark_ancestry(&procs[i], self);
}

/* Whether p and its parent are still the processes that were scanned (or p was reparented to self). */
static bool is_same_proc(int proc_fd, const struct proc *p, pid_t self)
{
    struct proc now, up;

    if (!read_proc(proc_fd, p->pid, &now) || now.start != p->start)
        return false;
    if (now.parent == self)
        return true;
    const struct proc *seen = find_proc(p->parent);

    return now.parent == p->parent && seen && read_proc(proc_fd, p->parent, &up) && up.start == seen->start;
}

static bool send_signal(int proc_fd, const struct proc *p, int sig, pid_t self)
{
    int fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    bool sent = false;

    if (fd < 0 && errno != ENOSYS)
        return false;
    if (is_same_proc(proc_fd, p, self))
        sent = fd < 0 ? kill(p->pid, sig) == 0 : syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) == 0;
    if (fd >= 0)
        close(fd);
    return sent;
}

size_t ag_process_tree_signal(int proc_fd, int sig, bool but_stopped)
{
    pid_t self = getpid();
    size_t n = 0;

    scan_procs(proc_fd);
    for (size_t i = 0; i < n_procs; i++)
        if (procs[i].kin == DESCENDANT && !(but_stopped && strchr("TtZX", procs[i].state)) &&
            send_signal(proc_fd, &procs[i], sig, self))
            n++;
    return n;
}
