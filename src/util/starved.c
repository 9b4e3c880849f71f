/* SPDX-License-Identifier: MIT */
#include "util/starved.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "util/mem.h"
#include "util/path.h"

/* The second number of schedstat (Linux, Documentation/scheduler/sched-stats.rst): ns spent waiting on a run queue. */
static int64_t thread_waited(int tasks, const char *thread)
{
    char name[300], text[128];
    cleanup_close int fd = -1;
    int64_t waited;
    ssize_t n;

    snprintf(name, sizeof(name), "%s/schedstat", thread);
    fd = openat(tasks, name, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : pv_pread_all(fd, text, sizeof(text) - 1, 0);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    return sscanf(text, "%*s %" SCNd64, &waited) == 1 ? waited : 0;
}

int64_t pv_starved(pid_t pid)
{
    char path[64];
    const struct dirent *e;
    int64_t sum = 0;
    DIR *d;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    d = opendir(path);
    while (d && (e = readdir(d)))
        if (e->d_name[0] != '.')
            sum += thread_waited(dirfd(d), e->d_name);
    if (d)
        closedir(d);
    return sum;
}
