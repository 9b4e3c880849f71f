/* SPDX-License-Identifier: MIT */
/*
 * The user's cache directory, CACHE: $XDG_CACHE_HOME/provium, else $HOME/.cache/provium.
 *
 * HOME and XDG_CACHE_HOME may name a place of another user (sudo, su, a shared machine).  A directory or file
 * of the cache is used only if it belongs to the effective user and others cannot write to it; no link is
 * followed from CACHE on.  $XDG_CACHE_HOME, or $HOME and $HOME/.cache, must belong to the user or to root, and
 * others may write to it only if it is sticky.  The path that leads there is the user's choice.
 *
 *     cleanup_cachedir struct pv_cachedir d = PV_CACHEDIR_INIT;
 *
 *     if (pv_cachedir_open(&d, "kernels", err) < 0 || pv_cachedir_read(&d, "NAME", 4096, &text, err) < 0)
 *         ...
 *
 * The calls block on the file system only.
 */
#ifndef PV_UTIL_CACHEDIR_H
#define PV_UTIL_CACHEDIR_H

#include <stdbool.h>
#include <stddef.h>

struct pv_buf;
struct pv_err;
struct stat;

struct pv_cachedir {
    int fd;
    char *path; /* for messages and for other programs */
};

#define PV_CACHEDIR_INIT \
    { \
        .fd = -1, .path = NULL \
    }

/*
 * Opens CACHE/SUB, or CACHE if sub is NULL; missing directories are created with mode 0700.  -1: class
 * missing when neither variable is set; class usage for a directory that is not to be trusted, and the text
 * names it and the remedy; class host when it cannot be made or written to.
 */
int pv_cachedir_open(struct pv_cachedir *d, const char *sub, struct pv_err *err);
void pv_cachedir_close(struct pv_cachedir *d);
#define cleanup_cachedir __attribute__((cleanup(pv_cachedir_close)))

/* This process and its children use the directory `dir` as CACHE from now on; NULL: as the variables say. */
void pv_cachedir_use(const char *dir);

/* Creates nothing.  -1, class usage: CACHE or CACHE/SUB is there and not to be trusted. */
int pv_cachedir_check(const char *sub, struct pv_err *err);

/*
 * Opens a regular file of the directory with these flags of open(2); O_CREAT creates it with mode 0600.  -1:
 * class usage for a link, another user's file or one that others can write to; else class host, with errnum
 * ENOENT if it is missing.  The caller closes the descriptor.
 */
int pv_cachedir_file(const struct pv_cachedir *d, const char *name, int flags, struct pv_err *err);
/* Appends the file to buf.  -1: as pv_cachedir_file, and class usage for more than `max` bytes. */
int pv_cachedir_read(const struct pv_cachedir *d, const char *name, size_t max, struct pv_buf *buf,
                     struct pv_err *err);

/*
 * Replaces the file `name` in directory `at` as a whole, through a new file "NAME.RANDOM" with mode 0600; not
 * flushed to the disk.  -1 with errno.
 */
int pv_replace_at(int at, const char *name, const void *data, size_t n);

/*
 * Opens directory `name` of `at`, and takes the rights of others to read it away.  -1, class usage: it is a
 * link or a file, belongs to another user, or others can write to it; else class host, with errnum ENOENT if
 * it is missing.  `path` is for messages.  The caller closes the descriptor.
 */
int pv_own_dir(int at, const char *name, const char *path, struct pv_err *err);
/* As pv_own_dir, but creates a missing directory with mode 0700. */
int pv_own_dir_make(int at, const char *name, const char *path, struct pv_err *err);
/* True for a regular file of this user that others cannot write to. */
bool pv_own_file(const struct stat *st);

#endif
