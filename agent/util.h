/* SPDX-License-Identifier: MIT */
/*
 * The few helpers that the wrapper and the agent share.  Nothing here allocates; every read is bounded by
 * the caller's buffer.  ag_ is this room's prefix: nothing of the host's src/ is linked here.
 */
#ifndef PV_AGENT_UTIL_H
#define PV_AGENT_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Monotonic nanoseconds. */
int64_t ag_now(void);

void ag_sleep_ms(unsigned ms);

/* All bytes to a blocking descriptor; -1 with errno. */
int ag_write_all(int fd, const void *data, size_t n);

/*
 * A whole small text file, NUL-terminated: length, or -1 with errno (EFBIG when it is cap or longer).
 */
ssize_t ag_read_text(int dirfd, const char *path, char *buf, size_t cap);

/* snprintf that says whether it all fitted. */
bool ag_format(char *dst, size_t cap, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The caller's oom_score_adj: "-1000" is for what the OOM killer must spare. Without a proc: nothing. */
void ag_oom_score(int proc_fd, const char *score);

/* Removes a tree below dirfd without following links or crossing into other file systems; best effort. */
void ag_remove_tree(int dirfd, const char *name);

/*
 * mkdir -p of an absolute path, following symbolic links on the way as far as they lead, dangling ones
 * included (the target is made).  0, or -1 with errno.
 */
int ag_mkdir_p(const char *path, mode_t mode);

#endif
