/* SPDX-License-Identifier: MIT */
/* FILE_OP and STAT: requests that are a few system calls on a path. */
#include "agent/verb.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/util.h"

/* ---- STAT ---- */

static uint32_t type_of(mode_t mode)
{
    static const struct {
        mode_t format;
        uint32_t type;
    } types[] = {{S_IFREG, PV_TYPE_FILE},   {S_IFDIR, PV_TYPE_DIR},   {S_IFLNK, PV_TYPE_LINK},
                 {S_IFIFO, PV_TYPE_FIFO},   {S_IFBLK, PV_TYPE_BLOCK}, {S_IFCHR, PV_TYPE_CHAR},
                 {S_IFSOCK, PV_TYPE_SOCKET}};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if ((mode & S_IFMT) == types[i].format)
            return types[i].type;
    return PV_TYPE_FILE; /* /proc has descriptors without a format, of anonymous inodes */
}

static void put_time(struct pv_enc *e, const struct timespec *t)
{
    pv_enc_u64(e, (uint64_t)t->tv_sec);
    pv_enc_u32(e, (uint32_t)t->tv_nsec);
}

static void reply_stat(struct ag_session *s, uint32_t id, const struct stat *st)
{
    struct pv_enc e = ag_frame_begin(s, PV_MSG_FILE_STAT, 256);

    pv_enc_u32(&e, id);
    pv_enc_u32(&e, type_of(st->st_mode));
    pv_enc_u32(&e, st->st_mode & 07777);
    pv_enc_u32(&e, st->st_uid);
    pv_enc_u32(&e, st->st_gid);
    pv_enc_u64(&e, (uint64_t)st->st_size);
    pv_enc_u64(&e, st->st_nlink);
    pv_enc_u64(&e, st->st_ino);
    pv_enc_u64(&e, st->st_dev);
    pv_enc_u64(&e, st->st_rdev);
    put_time(&e, &st->st_atim);
    put_time(&e, &st->st_mtim);
    put_time(&e, &st->st_ctim);
    ag_frame_end(s, &e);
}

static bool stat_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    uint32_t follow = pv_dec_u32(d);
    char path[PV_PATH_MAX];
    struct stat st;

    pv_dec_str(d, path, sizeof(path));
    if (!pv_dec_done(d) || follow > 1)
        return false;
    if ((follow ? stat(path, &st) : lstat(path, &st)) < 0)
        ag_reply_error(s, id, errno, "stat '%s'", path);
    else
        reply_stat(s, id, &st);
    return true;
}

const struct ag_verb ag_verb_stat = {.message = PV_MSG_STAT, .start = stat_start};

/* ---- FILE_OP ---- */

struct file_op {
    uint32_t op, a, b;
    char path[PV_PATH_MAX], other[PV_PATH_MAX];
};

/* The mode of a new directory is exact whatever umask a system call request has set. */
static int mkdir_exact(const char *path, mode_t mode)
{
    return mkdir(path, mode) < 0 ? -1 : chmod(path, mode);
}

/* 1: a directory is there; 0: nothing is there; -1 with errno. */
static int is_dir(const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return errno == ENOENT ? 0 : -1;
    errno = ENOTDIR;
    return S_ISDIR(st.st_mode) ? 1 : -1;
}

/* Two requests may make the same directory at once: EEXIST of a directory is no error. */
static int mkdir_unless_there(const char *path, mode_t mode)
{
    int there = is_dir(path);

    if (there)
        return there < 0 ? -1 : 0;
    if (mkdir_exact(path, mode) == 0)
        return 0;
    int e = errno;

    if (e == EEXIST && is_dir(path) == 1)
        return 0;
    errno = e; /* EEXIST: a dangling link */
    return -1;
}

static int op_mkdir(struct file_op *f)
{
    if (!f->b)
        return mkdir_exact(f->path, f->a);
    for (size_t n = strlen(f->path); n > 1 && f->path[n - 1] == '/'; n--)
        f->path[n - 1] = '\0'; /* "a/b/" names b, which gets the mode */
    for (char *p = f->path; (p = strchr(p + 1, '/'));) {
        if (p[-1] == '/')
            continue;
        *p = '\0';
        if (mkdir_unless_there(f->path, 0755) < 0) /* the message names the directory that failed */
            return -1;
        *p = '/';
    }
    return mkdir_unless_there(f->path, f->a);
}

static int op_remove(struct file_op *f)
{
    struct stat st;

    if (lstat(f->path, &st) < 0)
        return -1;
    return S_ISDIR(st.st_mode) ? rmdir(f->path) : unlink(f->path);
}

static int op_rename(struct file_op *f)
{
    return rename(f->path, f->other);
}

static int op_symlink(struct file_op *f)
{
    return symlink(f->other, f->path);
}

static int op_chmod(struct file_op *f)
{
    return chmod(f->path, f->a);
}

static int op_chown(struct file_op *f)
{
    return chown(f->path, f->a, f->b);
}

/* max_a, max_b: the largest valid value. */
static const struct {
    uint32_t op;
    const char *action;
    int (*run)(struct file_op *f);
    uint32_t max_a, max_b;
    bool has_other;
} ops[] = {{PV_FILE_MKDIR, "mkdir", op_mkdir, 07777, 1, false},
           {PV_FILE_REMOVE, "remove", op_remove, 0, 0, false},
           {PV_FILE_RENAME, "rename", op_rename, 0, 0, true},
           {PV_FILE_SYMLINK, "symlink", op_symlink, 0, 0, true},
           {PV_FILE_CHMOD, "chmod", op_chmod, 07777, 0, false},
           {PV_FILE_CHOWN, "chown", op_chown, UINT32_MAX, UINT32_MAX, false}};

static bool file_op_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    struct file_op f;
    size_t i = 0;

    f.op = pv_dec_u32(d);
    f.a = pv_dec_u32(d);
    f.b = pv_dec_u32(d);
    pv_dec_str(d, f.path, sizeof(f.path));
    pv_dec_str(d, f.other, sizeof(f.other));
    while (i < sizeof(ops) / sizeof(ops[0]) && ops[i].op != f.op)
        i++;
    if (!pv_dec_done(d) || i == sizeof(ops) / sizeof(ops[0]) || f.a > ops[i].max_a || f.b > ops[i].max_b ||
        (f.other[0] && !ops[i].has_other))
        return false;
    if (ops[i].run(&f) == 0)
        ag_reply_ok(s, id, 0);
    else if (ops[i].has_other)
        ag_reply_error(s, id, errno, "%s '%s', '%s'", ops[i].action, f.path, f.other);
    else
        ag_reply_error(s, id, errno, "%s '%s'", ops[i].action, f.path);
    return true;
}

const struct ag_verb ag_verb_file_op = {.message = PV_MSG_FILE_OP, .start = file_op_start};
