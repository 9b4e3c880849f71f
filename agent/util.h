/* SPDX-License-Identifier: MIT */
/*
 * Helpers that guest init and the agent share.  None allocates; every read is bounded by the caller's buffer.
 * ag_ is this room's prefix: nothing of the host's src/ is linked here.
 */
#ifndef PV_AGENT_UTIL_H
#define PV_AGENT_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Monotonic nanoseconds, without what ag_poll_to() has found to be leaps. */
int64_t ag_now(void);

struct pollfd;

/*
 * poll() until `due` of ag_now(), INT64_MAX: for ever; but no longer than a second, so it may return 0 before.  The time by
 * which the clock leaps meanwhile, as when the host sleeps, is taken from ag_now().
 */
int ag_poll_to(struct pollfd *p, unsigned n, int64_t due);

void ag_sleep_ms(unsigned ms);

/* Writes all n bytes to a blocking descriptor; 0, or -1 with errno. */
int ag_write_all(int fd, const void *data, size_t n);
/* Sets the kernel's host name, and /etc/hostname if that exists; false with errno: the kernel refused it. */
bool ag_set_hostname(const char *name);

/*
 * Reads a whole small text file and ends it with NUL.  Returns its length, or -1 with errno (EFBIG when it is
 * cap bytes or longer).
 */
ssize_t ag_read_text(int dirfd, const char *path, char *buf, size_t cap);

/* snprintf that returns whether the text fitted. */
bool ag_format(char *dst, size_t cap, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Sets the caller's oom_score_adj: the OOM killer spares "-1000".  Does nothing without a proc (-1). */
void ag_oom_score(int proc_fd, const char *score);

/*
 * Moves the caller from systemd's init.scope to the root of cgroup version 2.  systemd puts all processes that ran
 * before it into that scope; it ends what is left of a unit in which the OOM killer struck, and a victim's neighbours
 * are no business of its.  Does nothing in another cgroup, without a proc (-1) or /sys/fs/cgroup.
 * Source: systemd, manager_setup_cgroup() of src/core/cgroup.c; OOMPolicy= of systemd.service(5).
 */
void ag_leave_init_scope(int proc_fd);

/*
 * Gives the caller real-time priority, which no child inherits, or the normal one back.  Processes that watch
 * over a command need it, so that they get the CPU against a fork bomb's thousand processes.
 */
void ag_realtime(bool on);

/* Closes *fd unless it is -1, and sets it to -1. */
void ag_close(int *fd);

/* Removes a tree below dirfd, following no links and entering no other file system; best effort. */
void ag_remove_tree(int dirfd, const char *name);

/*
 * mkdir -p of an absolute path.  Follows symbolic links on the way; makes the target of a dangling one.  0,
 * or -1 with errno.
 */
int ag_mkdir_p(const char *path, mode_t mode);

/*
 * Mounts a file system that is reachable through the returned descriptor only (-1 with errno).  A mount at
 * its usual place would make init's own mount fail: the kernel says EBUSY to a second one of the same kind.
 * dir: where a kernel before 5.2 mounts it for a moment.
 */
int ag_private_mount(const char *type, const char *dir);

#endif
