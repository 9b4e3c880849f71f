/* SPDX-License-Identifier: MIT */
/*
 * REMOVE_TREE, a block of directory entries at a time, so that PING and CANCEL get their turn.
 *
 * One descriptor walks: down by openat without following links, up by "..".  rmdir(2) is tried before a
 * directory is entered, and refuses a mount point (EBUSY): nothing on another mount is removed.  A
 * directory that is moved meanwhile would lead ".." out of the tree, so the walk compares the inode of every
 * directory on its way up.  Back in a directory, it reads the directory from the start: what is empty now can
 * be removed.  No entry is remembered, and the depth is bounded by the array of inodes.
 */
#include "agent/verb.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/dirents.h"
#include "agent/util.h"

enum { DEPTH_MAX = 65536 };

struct file_remove {
    int parent_fd; /* of the directory that holds the path */
    int fd;        /* the directory that is emptied; -1: none yet */
    dev_t dev;     /* of the whole tree */
    size_t depth;  /* ino[depth] is fd's */
    bool found;    /* the directory had an entry since it was last read from its start */
    uint64_t removed;
    const char *base; /* the last component in `path` */
    char path[PV_PATH_MAX], parent[PV_PATH_MAX];
    struct ag_dirents block;
    uint64_t ino[DEPTH_MAX];
};

AG_STATE(file_remove, file_remove_state)

static void remove_fail(struct ag_session *s, const char *name, int e)
{
    struct file_remove *f = file_remove_state(s);

    if (name)
        ag_request_fail(s, e, "remove '%s' in '%s'", name, f->path);
    else
        ag_request_fail(s, e, "remove '%s'", f->path);
}

/*
 * Opens a directory that rmdir(2) has found to be not empty: for a mount point it says EBUSY before, so the
 * device can only differ if it was mounted since.  -1 with errno.
 */
static int open_inside(int dirfd, const char *name, dev_t *dev, uint64_t *ino)
{
    struct stat st, above;
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0 || fstat(dirfd, &above) < 0 || st.st_dev != above.st_dev) {
        close(fd);
        errno = EBUSY;
        return -1;
    }
    *dev = st.st_dev;
    *ino = st.st_ino;
    return fd;
}

/* Removes one entry that is no directory, or an empty one: 0; 1: a directory that is not empty; -1 with errno. */
static int remove_at(int dirfd, const char *name)
{
    if (unlinkat(dirfd, name, 0) == 0)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -1;
    if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0)
        return 0;
    if (errno == ENOTEMPTY || errno == EEXIST)
        return 1;
    errno = errno == ENOTDIR ? EPERM : errno; /* unlinkat's EPERM was about a file */
    return -1;
}

static void enter_dir(struct file_remove *f, int fd, uint64_t ino)
{
    ag_close(&f->fd);
    f->fd = fd;
    f->ino[f->depth] = ino;
    f->found = false;
    f->block.at = f->block.n = 0;
}

/* Removes one entry, or goes down into it; 0, or -1 with errno. */
static int remove_entry(struct file_remove *f, const char *name)
{
    uint64_t ino;
    dev_t dev;

    int r = remove_at(f->fd, name);

    f->found = true;
    f->removed += r == 0;
    if (r <= 0)
        return r < 0 && errno != ENOENT ? -1 : 0;
    if (f->depth + 1 == DEPTH_MAX) {
        errno = ELOOP;
        return -1;
    }
    int fd = open_inside(f->fd, name, &dev, &ino);

    if (fd < 0)
        return -1;
    f->depth++;
    enter_dir(f, fd, ino);
    return 0;
}

/* From an empty directory to the one above it; 0, or -1 with errno. */
static int leave_dir(struct file_remove *f)
{
    struct stat st;
    int fd = openat(f->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0 || st.st_dev != f->dev || st.st_ino != f->ino[f->depth - 1]) {
        close(fd);
        errno = EAGAIN; /* another process has moved the directory */
        return -1;
    }
    f->depth--;
    enter_dir(f, fd, st.st_ino);
    f->found = true; /* the directory that was left is still in it */
    lseek(fd, 0, SEEK_SET);
    return 0;
}

static void remove_finish(struct ag_session *s)
{
    struct file_remove *f = file_remove_state(s);

    if (unlinkat(f->parent_fd, f->base, AT_REMOVEDIR) < 0) {
        remove_fail(s, NULL, errno);
        return;
    }
    ag_reply_ok(s, s->id, f->removed + 1);
    ag_request_end(s);
}

/* The directory was read to its end. */
static void remove_at_end(struct ag_session *s)
{
    struct file_remove *f = file_remove_state(s);

    if (f->found) { /* file systems may leave out entries that were there, while others are removed */
        f->found = false;
        if (lseek(f->fd, 0, SEEK_SET) < 0)
            remove_fail(s, NULL, errno);
        return;
    }
    if (f->depth == 0)
        remove_finish(s);
    else if (leave_dir(f) < 0)
        remove_fail(s, NULL, errno);
}

static void remove_more(struct ag_session *s, const struct pollfd *p)
{
    struct file_remove *f = file_remove_state(s);
    ssize_t n = ag_dirents_read(&f->block, f->fd);
    int fd = f->fd;

    (void)p;
    if (n < 0)
        remove_fail(s, NULL, errno);
    else if (n == 0)
        remove_at_end(s);
    for (const char *name; n > 0 && f->fd == fd && (name = ag_dirents_next(&f->block));)
        if (remove_entry(f, name) < 0) {
            remove_fail(s, name, errno);
            return;
        }
}

/* Splits the path; 0, or the errno with which rmdir(2) refuses such a path. */
static int split_path(struct file_remove *f, bool *slash)
{
    size_t n = strlen(f->path);

    *slash = n && f->path[n - 1] == '/';
    while (n && f->path[n - 1] == '/')
        f->path[--n] = '\0';
    if (!n)
        return *slash ? EBUSY : ENOENT;
    char *last = strrchr(f->path, '/');

    f->base = last ? last + 1 : f->path;
    if (!strcmp(f->base, "."))
        return EINVAL;
    if (!strcmp(f->base, ".."))
        return ENOTEMPTY;
    if (last)
        memcpy(f->parent, f->path, (size_t)(last - f->path) + 1);
    else
        f->parent[0] = '.';
    f->parent[last ? last - f->path + 1 : 1] = '\0';
    return 0;
}

/* Removes what the path names, or opens it if it is a directory with entries: 0: over; 1; -1 with errno. */
static int remove_begin(struct file_remove *f, bool slash)
{
    struct stat st;
    uint64_t ino;

    f->parent_fd = open(f->parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (f->parent_fd < 0 || fstatat(f->parent_fd, f->base, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    errno = ENOTDIR;
    int r = slash && !S_ISDIR(st.st_mode) ? -1 : remove_at(f->parent_fd, f->base);

    if (r <= 0)
        return r;
    int fd = open_inside(f->parent_fd, f->base, &f->dev, &ino);

    if (fd < 0)
        return -1;
    enter_dir(f, fd, ino);
    return 1;
}

static bool remove_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    struct file_remove *f = file_remove_state(s);
    bool slash;

    f->parent_fd = f->fd = -1;
    f->depth = 0;
    f->removed = 0;
    pv_dec_str(d, f->path, sizeof(f->path));
    if (!pv_dec_done(d))
        return false;
    int e = split_path(f, &slash), r = e ? -1 : remove_begin(f, slash);

    if (r < 0)
        remove_fail(s, NULL, e ? e : errno);
    if (r == 0) {
        ag_reply_ok(s, id, 1);
        ag_request_end(s);
    }
    return true;
}

static int64_t remove_due(struct ag_session *s)
{
    (void)s;
    return 0;
}

static void remove_cancel(struct ag_session *s)
{
    remove_fail(s, NULL, ECANCELED);
}

static void remove_close(struct ag_session *s)
{
    ag_close(&file_remove_state(s)->fd);
    ag_close(&file_remove_state(s)->parent_fd);
}

const struct ag_verb ag_verb_remove_tree = {.message = PV_MSG_REMOVE_TREE,
                                            .start = remove_start,
                                            .due = remove_due,
                                            .more = remove_more,
                                            .cancel = remove_cancel,
                                            .close = remove_close};
