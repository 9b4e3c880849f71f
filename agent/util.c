/* SPDX-License-Identifier: MIT */
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/mount.h>

#include "wire/proto.h"

enum {
    TREE_DEPTH_MAX = 128,
    LINK_DEPTH_MAX = 16,
    WAIT_MS = 1000, /* the longest wait of ag_poll_to(): a leap counts for up to this */
    LEAP_MS = 3000, /* a wait that is this much too long has met a leap; a busy host adds less */
};

/* Time of CLOCK_MONOTONIC that does not count for this process. */
static int64_t leapt;

int64_t ag_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec - leapt;
}

/*
 * kvm-clock counts the time in which the host was suspended, so CLOCK_MONOTONIC of a guest may leap by hours, and a
 * timer that the leap passes over ends at once.  Only a wait that is short beside a leap shows it.
 */
int ag_poll_to(struct pollfd *p, unsigned n, int64_t due)
{
    int64_t begin = ag_now(), left = due == INT64_MAX ? INT64_MAX : due > begin ? due - begin : 0;
    int ms = left == INT64_MAX                    ? -1
             : left >= WAIT_MS * INT64_C(1000000) ? WAIT_MS
                                                  : (int)((left + 999999) / 1000000);
    int r = poll(p, n, ms), e = errno;
    int64_t over = ms < 0 ? 0 : ag_now() - begin - ms * INT64_C(1000000);

    if (over > LEAP_MS * INT64_C(1000000))
        leapt += over;
    errno = e;
    return r;
}

void ag_sleep_ms(unsigned ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
        ;
}

int ag_write_all(int fd, const void *data, size_t n)
{
    const char *p = data;

    while (n) {
        ssize_t r = write(fd, p, n);

        if (r < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        p += r;
        n -= (size_t)r;
    }
    return 0;
}

ssize_t ag_read_text(int dirfd, const char *path, char *buf, size_t cap)
{
    int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    ssize_t r = 0;

    if (fd < 0)
        return -1;
    while (n < cap) {
        r = read(fd, buf + n, cap - n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            break;
        n += (size_t)r;
    }
    int e = r < 0 ? errno : n == cap ? EFBIG : 0;

    close(fd);
    if (e) {
        errno = e;
        return -1;
    }
    buf[n] = '\0';
    return (ssize_t)n;
}

void ag_oom_score(int proc_fd, const char *score)
{
    int fd = proc_fd < 0 ? -1 : openat(proc_fd, "self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    ag_write_all(fd, score, strlen(score));
    close(fd);
}

void ag_leave_init_scope(int proc_fd)
{
    char mine[256]; /* a longer text lists cgroups of version 1, or is another scope's */

    if (proc_fd < 0 || ag_read_text(proc_fd, "self/cgroup", mine, sizeof(mine)) < 0 ||
        strcmp(mine, "0::/init.scope\n") != 0)
        return;
    int fd = open("/sys/fs/cgroup/cgroup.procs", O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return;
    ag_write_all(fd, "0", 1);
    close(fd);
}

void ag_realtime(bool on)
{
    const struct sched_param p = {.sched_priority = on ? 1 : 0};

    /* musl's wrapper always fails with ENOSYS.  A kernel that refuses leaves the priority as it is. */
    syscall(SYS_sched_setscheduler, 0, (on ? SCHED_RR : SCHED_OTHER) | SCHED_RESET_ON_FORK, &p);
}

void ag_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

bool ag_format(char *dst, size_t cap, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(dst, cap, fmt, ap);
    va_end(ap);
    return n >= 0 && (size_t)n < cap;
}

static void remove_below(int fd, dev_t dev, int depth);

static void remove_entry(int dirfd, const char *name, unsigned char type, dev_t dev, int depth)
{
    if (type != DT_DIR && (unlinkat(dirfd, name, 0) == 0 || errno != EISDIR))
        return;
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        remove_below(fd, dev, depth + 1);
    unlinkat(dirfd, name, AT_REMOVEDIR);
}

/* Takes fd.  Stays on file system `dev`. */
static void remove_below(int fd, dev_t dev, int depth)
{
    struct stat st;
    DIR *d;

    if (depth > TREE_DEPTH_MAX || fstat(fd, &st) < 0 || st.st_dev != dev || !(d = fdopendir(fd))) {
        close(fd);
        return;
    }
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            remove_entry(fd, e->d_name, e->d_type, dev, depth);
    closedir(d);
}

void ag_remove_tree(int dirfd, const char *name)
{
    struct stat st;

    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        remove_entry(dirfd, name, S_ISDIR(st.st_mode) ? DT_DIR : DT_REG, st.st_dev, 0);
}

static int mkdir_p(const char *path, mode_t mode, int depth);

/* For a component that is a dangling symbolic link: makes the directory that the link points to. */
static int mkdir_target(const char *link, mode_t mode, int depth)
{
    char to[PV_PATH_MAX], full[PV_PATH_MAX];
    ssize_t n = readlink(link, to, sizeof(to) - 1);

    if (n < 0 || depth >= LINK_DEPTH_MAX) {
        errno = n < 0 ? ENOTDIR : ELOOP;
        return -1;
    }
    to[n] = '\0';
    if (to[0] == '/')
        return mkdir_p(to, mode, depth + 1);
    if (!ag_format(full, sizeof(full), "%.*s/%s", (int)(strrchr(link, '/') - link), link, to)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return mkdir_p(full, mode, depth + 1);
}

static int mkdir_one(const char *path, mode_t mode, int depth)
{
    struct stat st;

    if (mkdir(path, mode) == 0)
        return 0;
    if (errno != EEXIST)
        return -1;
    if (stat(path, &st) == 0) {
        errno = ENOTDIR;
        return S_ISDIR(st.st_mode) ? 0 : -1;
    }
    return mkdir_target(path, mode, depth);
}

static int mkdir_p(const char *path, mode_t mode, int depth)
{
    char part[PV_PATH_MAX];
    size_t n = strlen(path);

    if (n >= sizeof(part)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        part[i] = '\0';
        if (part[i - 1] != '/' && part[i - 1] != '\0' && mkdir_one(part, mode, depth) < 0)
            return -1;
        if (i < n)
            part[i] = '/';
    }
    return 0;
}

int ag_mkdir_p(const char *path, mode_t mode)
{
    struct stat st;

    if (stat(path, &st) == 0) {
        errno = ENOTDIR;
        return S_ISDIR(st.st_mode) ? 0 : -1;
    }
    return mkdir_p(path, mode, 0);
}

bool ag_set_hostname(const char *name)
{
    int fd;

    if (sethostname(name, strlen(name)) < 0)
        return false;
    fd = open("/etc/hostname", O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return true;
    ag_write_all(fd, name, strlen(name));
    ag_write_all(fd, "\n", 1);
    close(fd);
    return true;
}

/*
 * Kernels since 5.2 create it unattached.  For an older one it is attached at dir and detached again, which
 * waits for all CPUs.
 */
int ag_private_mount(const char *type, const char *dir)
{
    int fs = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC), fd = -1;

    if (fs >= 0) {
        if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
            fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
        int e = errno;

        close(fs);
        errno = e;
        return fd;
    }
    if (errno != ENOSYS || mkdir(dir, 0700) < 0 || mount(type, dir, type, 0, NULL) < 0)
        return -1;
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    umount2(dir, MNT_DETACH);
    return fd;
}
