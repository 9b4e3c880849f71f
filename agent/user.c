/* SPDX-License-Identifier: MIT */
#include "user.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util.h"

/* A file of lines of fields, read in pieces: a group's list of members has any length. */
struct db {
    int fd;
    size_t at, n;
    char buf[4096];
};

static int db_byte(struct db *d)
{
    if (d->at == d->n) {
        ssize_t n;

        do
            n = read(d->fd, d->buf, sizeof(d->buf));
        while (n < 0 && errno == EINTR);
        if (n <= 0)
            return -1;
        d->n = (size_t)n;
        d->at = 0;
    }
    return (unsigned char)d->buf[d->at++];
}

/*
 * The text up to ':' or the line's end, or, with `list`, up to ','.  Returns the byte behind it, '\n' at the end
 * of the file; -1: nothing was left.  A text that does not fit becomes "".
 */
static int db_field(struct db *d, char *text, size_t cap, bool list)
{
    size_t n = 0;
    int c = db_byte(d);

    if (c < 0)
        return -1;
    for (; c >= 0 && c != '\n' && c != ':' && !(list && c == ','); c = db_byte(d))
        if (n < cap)
            text[n++] = (char)c;
    text[n < cap ? n : 0] = '\0';
    return c < 0 ? '\n' : c;
}

/* A decimal number of 32 bits; false when the text is something else. */
static bool parse_id(const char *text, unsigned *id)
{
    unsigned long v = 0;

    if (!*text || strlen(text) > 10)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        v = v * 10 + (unsigned long)(*text - '0');
    }
    *id = (unsigned)v;
    return v < 0xffffffffUL; /* -1 would mean "leave it" */
}

/* Reads one line of /etc/passwd.  1; 0: it is malformed; -1: there is none. */
static int passwd_line(struct db *d, struct ag_user *u)
{
    char skip[8], uid[16] = "", gid[16] = "";
    struct {
        char *text;
        size_t cap;
    } fields[] = {{u->name, sizeof(u->name)},  {skip, sizeof(skip)}, {uid, sizeof(uid)},
                  {gid, sizeof(gid)},          {skip, sizeof(skip)}, {u->home, sizeof(u->home)},
                  {u->shell, sizeof(u->shell)}};
    int c = ':', n = 0;

    u->name[0] = u->home[0] = u->shell[0] = '\0';
    for (; c == ':' && n < 7; n++)
        if ((c = db_field(d, fields[n].text, fields[n].cap, false)) < 0)
            return n ? 0 : -1;
    while (c == ':')
        c = db_field(d, skip, sizeof(skip), false);
    return n >= 4 && u->name[0] && parse_id(uid, &u->uid) && parse_id(gid, &u->gid);
}

/* Fills in the line of that name, or of that number if no line has the name. */
static bool find_line(const char *spec, bool number, unsigned id, struct ag_user *u)
{
    struct db d = {.fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC)};
    int r = 0;

    if (d.fd < 0)
        return false;
    while ((r = passwd_line(&d, u)) >= 0)
        if (r > 0 && (number ? u->uid == id : strcmp(u->name, spec) == 0))
            break;
    close(d.fd);
    return r > 0;
}

static bool add_group(struct ag_user *u, gid_t gid)
{
    for (int i = 0; i < u->n_groups; i++)
        if (u->groups[i] == gid)
            return true;
    if (u->n_groups == AG_GROUPS_MAX)
        return false;
    u->groups[u->n_groups++] = gid;
    return true;
}

/* Adds the groups that have the user as a member. */
static bool add_groups(struct ag_user *u)
{
    struct db d = {.fd = open("/etc/group", O_RDONLY | O_CLOEXEC)};
    char text[AG_USER_NAME_MAX];
    bool fits = true;
    int c = '\n';

    if (d.fd < 0)
        return true;
    while (fits && (c = db_field(&d, text, sizeof(text), false)) >= 0) {
        bool member = false;
        unsigned gid = 0;

        for (int n = 1; c == ':' && n < 3; n++)
            c = db_field(&d, text, sizeof(text), false);
        if (c != ':' || !parse_id(text, &gid)) {
            while (c == ':')
                c = db_field(&d, text, sizeof(text), false);
            continue;
        }
        do {
            c = db_field(&d, text, sizeof(text), true);
            member |= strcmp(text, u->name) == 0;
        } while (c == ',' || c == ':');
        if (member)
            fits = add_group(u, gid);
    }
    close(d.fd);
    return fits;
}

int ag_user_find(const char *spec, struct ag_user *u)
{
    unsigned id = 0;
    bool number = parse_id(spec, &id);

    u->n_groups = 0;
    if (!find_line(spec, false, 0, u) && !(number && find_line(spec, true, id, u))) {
        if (!number) {
            errno = ENOENT;
            return -1;
        }
        u->uid = u->gid = id;
        ag_format(u->name, sizeof(u->name), "%s", spec);
        u->home[0] = u->shell[0] = '\0';
        return add_group(u, u->gid) ? 0 : -1;
    }
    if (!add_group(u, u->gid) || !add_groups(u)) {
        errno = E2BIG;
        return -1;
    }
    return 0;
}

/* Bare system calls: the C library's would signal every thread of a process whose memory this one may share. */
int ag_user_become(const struct ag_user *u)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};

    if (syscall(SYS_setgroups, (size_t)u->n_groups, u->groups) < 0 ||
        syscall(SYS_setresgid, u->gid, u->gid, u->gid) < 0)
        return -1;
    prctl(PR_SET_KEEPCAPS, 0);
    if (syscall(SYS_setresuid, u->uid, u->uid, u->uid) < 0)
        return -1;
    if (u->uid == 0)
        return 0;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return syscall(SYS_capset, &head, none) < 0 ? -1 : 0;
}
