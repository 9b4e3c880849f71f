/* SPDX-License-Identifier: MIT */
/*
 * Operations on the guest's file system by an agent process, without a program of the guest.  Paths have 1 to
 * PV_PATH_MAX - 1 bytes and are relative to the agent's working directory unless absolute.  Calls block as those
 * of agent.h.  timeout_ns 0: no limit of its own.  Errors of the guest are of class guest, with errno and path.
 */
#ifndef PV_GUEST_FILE_OP_H
#define PV_GUEST_FILE_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/mem.h"
#include "wire/proto.h"

struct pv_agent;
struct pv_err;

struct pv_file_time {
    int64_t sec; /* since 1970 */
    uint32_t nsec;
};

struct pv_file_stat {
    uint32_t type; /* PV_TYPE_* */
    uint32_t mode; /* permission bits, at most 07777 */
    uint32_t uid, gid;
    uint64_t size, nlink, ino, dev, rdev;
    struct pv_file_time atime, mtime, ctime;
};

/* 1; 0 when nothing is there (ENOENT, ENOTDIR); -1.  follow: of a symbolic link, what it leads to. */
int pv_agent_stat(struct pv_agent *a, const char *path, bool follow, int64_t timeout_ns,
                  struct pv_file_stat *st, struct pv_err *err);

/* The names in a directory, sorted by their bytes, without "." and "..". */
struct pv_file_names {
    struct pv_buf bytes; /* the names, each with a NUL behind it */
    const char **v;      /* n pointers into bytes */
    size_t n;
};

/* 0 or -1; pv_file_names_fini either way.  More than 256 MiB or 4 Mi names are an error of class guest. */
int pv_agent_list(struct pv_agent *a, const char *path, int64_t timeout_ns, struct pv_file_names *names,
                  struct pv_err *err);
void pv_file_names_fini(struct pv_file_names *names);

/* A request FILE_OP; wire/proto.h says what a, b and other mean for each operation.  other NULL: "". */
struct pv_file_op {
    enum pv_file_op_kind op;
    const char *name; /* of the call, for messages: "mkdir" */
    const char *path, *other;
    uint32_t a, b;
};

int pv_agent_file_op(struct pv_agent *a, const struct pv_file_op *op, int64_t timeout_ns, struct pv_err *err);
/* Removes a file, a link, or a directory with all below it; follows no link, enters no other mount (EBUSY). */
int pv_agent_remove_tree(struct pv_agent *a, const char *path, int64_t timeout_ns, struct pv_err *err);

#endif
