/* SPDX-License-Identifier: MIT */
/* Users of the guest, by /etc/passwd and /etc/group alone: a static binary has no NSS. */
#ifndef PV_AGENT_USER_H
#define PV_AGENT_USER_H

#include <sys/types.h>

enum { AG_GROUPS_MAX = 1024, AG_USER_NAME_MAX = 256, AG_USER_DIR_MAX = 1024 };

struct ag_user {
    uid_t uid;
    gid_t gid;
    gid_t groups[AG_GROUPS_MAX]; /* with gid */
    int n_groups;
    char name[AG_USER_NAME_MAX], home[AG_USER_DIR_MAX], shell[AG_USER_DIR_MAX];
};

/*
 * By name, else by number.  A number that is in no line is its own gid, without other groups, home "/".  0, or
 * -1 with errno: ENOENT, there is no such user; E2BIG, more than AG_GROUPS_MAX groups.
 */
int ag_user_find(const char *spec, struct ag_user *u);

/*
 * Makes the caller, a process with one thread, that user: groups, ids, and without capabilities unless it is
 * uid 0.  0, or -1 with errno.
 */
int ag_user_become(const struct ag_user *u);

#endif
