/* SPDX-License-Identifier: MIT */
/* Paths, and reading and writing of whole files. */
#ifndef PV_UTIL_PATH_H
#define PV_UTIL_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/mem.h"

struct pv_err;

/* dir + "/" + path, or a copy of path when it is absolute.  The caller frees. */
char *pv_path_join(const char *dir, const char *path);

/* The directory part ("." for a bare name).  The caller frees. */
char *pv_path_dirname(const char *path);

/* Borrowed pointer to the last component. */
const char *pv_path_basename(const char *path);

/* The path without links, "." and ".."; NULL with errno, which is never ENOMEM.  The caller frees. */
char *pv_realpath(const char *path);

/* True when `path` is `dir` or below it, by their names alone. */
bool pv_path_is_below(const char *path, const char *dir);

/* mkdir -p; `mode` is for the directories it creates.  -1: class host. */
int pv_mkdir_p(const char *path, unsigned mode, struct pv_err *err);

/* Appends the whole file to buf, also files of /proc.  -1: class host, or usage for more than `max` bytes. */
int pv_read_file(const char *path, size_t max, struct pv_buf *buf, struct pv_err *err);
/* The same for the rest of an open file; `path` is for messages. */
int pv_read_fd(int fd, const char *path, size_t max, struct pv_buf *buf, struct pv_err *err);

/* Writes all bytes to fd, retrying short writes; -1 with errno on failure. */
int pv_write_all(int fd, const void *data, size_t n);

/* Reads n bytes at an offset.  Returns the number read, less than n only at the file's end; -1 with errno. */
ssize_t pv_pread_all(int fd, void *data, size_t n, off_t at);
/* Writes all bytes at an offset; -1 with errno. */
int pv_pwrite_all(int fd, const void *data, size_t n, off_t at);

/* Directory of the running binary.  The caller frees; NULL only without /proc. */
char *pv_self_dir(void);

/*
 * Makes a relative path in the environment variable `name` absolute, for programs that are started in another directory.
 * The variable stays as it is when it is not set or empty, and when the working directory is not known.
 */
void pv_env_absolute(const char *name);

/* The directory for large temporary files: $TMPDIR, else /var/tmp.  Borrowed from the environment. */
const char *pv_temp_dir(void);
/*
 * A new file below dir, to read and write, which goes with its last descriptor.  On a file system without O_TMPFILE
 * it has a name for a moment.  -1 with errno.
 */
int pv_temp_file(const char *dir);

/* The same in pv_temp_dir(); -1 with *err, which names TMPDIR. */
int pv_temp_file_open(struct pv_err *err);

/* Removes a tree without following links, on one file system; missing is fine.  Stops with -1 at an error. */
int pv_rm_rf(const char *path);

#endif
