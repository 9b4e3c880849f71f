/* SPDX-License-Identifier: MIT */
/*
 * The entries of a directory, in blocks of fixed size: nothing is allocated, and the caller decides when the
 * next block is read.
 *
 *     while ((n = ag_dirents_read(&block, fd)) > 0)
 *         while ((name = ag_dirents_next(&block)))
 *             ...
 */
#ifndef PV_AGENT_DIRENTS_H
#define PV_AGENT_DIRENTS_H

#include <stddef.h>
#include <sys/types.h>

struct ag_dirents {
    size_t at, n;
    _Alignas(16) char data[16 * 1024];
};

/* Reads the next block from the directory's descriptor; bytes, 0 at the end, -1 with errno. */
ssize_t ag_dirents_read(struct ag_dirents *d, int fd);
/* The next name of the block, without "." and ".."; NULL at its end.  Bytes before the name are free to use. */
const char *ag_dirents_next(struct ag_dirents *d);

#endif
