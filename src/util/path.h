/* SPDX-License-Identifier: MIT */
/* Paths, whole small files, and the directories of this user. */
#ifndef PV_UTIL_PATH_H
#define PV_UTIL_PATH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/mem.h"

struct pv_err;

/* dir + "/" + path, or a copy of path when it is absolute. The caller frees. */
char *pv_path_join(const char *dir, const char *path);

/* The directory part ("." for a bare name). The caller frees. */
char *pv_path_dirname(const char *path);

/* Borrowed pointer to the last component. */
const char *pv_path_basename(const char *path);

/* mkdir -p with the given mode for what is made. */
int pv_mkdir_p(const char *path, unsigned mode, struct pv_err *err);

/*
 * $XDG_CACHE_HOME/provium, else $HOME/.cache/provium, made with mode 0700 if missing.  When neither can
 * be written: error class host.  The caller frees.
 */
char *pv_cache_dir(struct pv_err *err);

/* Whole file into buf (appended); refuses more than `max` bytes. Works for /proc files. */
int pv_read_file(const char *path, size_t max, struct pv_buf *buf, struct pv_err *err);

/* Writes all bytes to fd, retrying short writes; -1 with errno on failure. */
int pv_write_all(int fd, const void *data, size_t n);

/* n bytes from an offset: how many there were, fewer only at the end of the file; -1 with errno. */
ssize_t pv_pread_all(int fd, void *data, size_t n, off_t at);
/* All bytes to an offset; -1 with errno. */
int pv_pwrite_all(int fd, const void *data, size_t n, off_t at);

/* Directory that holds the running binary. The caller frees; NULL only if /proc is missing. */
char *pv_self_dir(void);

/* Removes a tree without following links; missing is fine. Errors are ignored but reported by -1. */
int pv_rm_rf(const char *path);

#endif
