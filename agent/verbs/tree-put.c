/* SPDX-License-Identifier: MIT */
/*
 * TREE_PUT.  Every name is walked from the tree's root anew, one component at a time and through no link, so
 * whatever happens to be there already, nothing is written outside.  What is in the way of a file or link is
 * unlinked first (a program that runs goes on running); what is in the way of a directory, and a directory
 * in the way of a file, is an error.
 *
 * A directory gets its mode when something comes that is not below it: until then it can be written to.
 */
#include "agent/session.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/util.h"

enum { OPEN_DIR = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };

void ag_tree_close(struct ag_session *s)
{
    struct ag_tree *t = &s->tree;

    if (t->root >= 0)
        close(t->root);
    t->root = -1;
    while (t->depth > 0)
        if (t->dir[--t->depth] > 0)
            close(t->dir[t->depth]);
    memset(t->dir, 0, sizeof(t->dir));
    t->putting = false;
}

static void fail(struct ag_session *s, int errnum, const char *what, const char *name)
{
    ag_reply_error(s, s->id, errnum, "%s '%.2000s%s%.2000s'", what, s->file.path, *name ? "/" : "", name);
    ag_request_end(s);
}

/* Name is "a/b/c" with nothing odd in it, and not too deep. */
static bool name_ok(const char *name)
{
    int depth = 0;

    for (const char *p = name; *name;) {
        size_t n = strcspn(p, "/");

        if (n == 0 || n > 255 || ++depth > AG_TREE_DEPTH || (n == 1 && p[0] == '.') ||
            (n == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        if (!p[n])
            return true;
        p += n + 1;
    }
    return true;
}

/* The directory that the first n bytes of name lead to, or -1. */
static int walk(const struct ag_tree *t, const char *name, size_t n)
{
    int fd = openat(t->root, ".", OPEN_DIR);

    for (size_t i = 0; i < n && fd >= 0;) {
        char part[256];
        size_t k = strcspn(name + i, "/");

        if (k > n - i)
            k = n - i;
        memcpy(part, name + i, k);
        part[k] = '\0';
        int next = openat(fd, part, OPEN_DIR), e = errno;

        close(fd);
        errno = e == ELOOP ? ENOTDIR : e;
        fd = next;
        i += k + 1;
    }
    return fd;
}

/* ---- directories' modes ---- */

/* Gives the directories at the end of t->name their modes, as long as `name` is not below them. */
static int leave_dirs(struct ag_session *s, const char *name)
{
    struct ag_tree *t = &s->tree;

    for (;;) {
        size_t n = strlen(t->name);

        if (n == 0 || (strncmp(name, t->name, n) == 0 && name[n] == '/'))
            return 0;
        int fd = walk(t, t->name, n), r = fd < 0 ? -1 : fchmod(fd, t->mode[t->depth - 1]), e = errno;

        if (fd >= 0)
            close(fd);
        if (r < 0) {
            fail(s, e, "chmod", t->name);
            return -1;
        }
        t->depth--;
        char *slash = strrchr(t->name, '/');

        *(slash ? slash : t->name) = '\0';
    }
}

/* The root's own mode comes last of all. */
static int finish(struct ag_session *s)
{
    struct ag_tree *t = &s->tree;
    int r = 0;

    if (leave_dirs(s, "") < 0)
        return -1;
    if (t->root >= 0 && (r = fchmod(t->root, s->file.mode & 07777)) < 0)
        fail(s, errno, "chmod", "");
    return r;
}

/* ---- entries ---- */

/* The file that is being written is whole. */
static int close_file(struct ag_session *s, const char *name)
{
    struct ag_tree *t = &s->tree;
    struct ag_file *f = &s->file;
    const char *what = "truncate";
    int r = 0;

    if (!t->putting)
        return 0;
    t->putting = false;
    if (f->regular) /* a hole at its end */
        r = ftruncate(f->fd, t->size);
    if (r == 0 && (what = "chmod", f->regular))
        r = fchmod(f->fd, (mode_t)t->file_mode);
    if (r == 0) {
        what = "close";
        r = close(f->fd);
        f->fd = -1;
    }
    if (r < 0) {
        fail(s, errno, what, name);
        return -1;
    }
    return 0;
}

static int put_dir(struct ag_session *s, int dir, const char *base, const char *name, uint32_t mode)
{
    struct ag_tree *t = &s->tree;
    struct stat st;

    if (mkdirat(dir, base, 0700 | mode) < 0) {
        if (errno != EEXIST)
            return -1;
        if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode)) {
            errno = ENOTDIR;
            return -1;
        }
    }
    /* Now it is the innermost one, if what is above it has been told too (else it has to have its mode now).
     */
    size_t n = strlen(t->name);

    if ((base == name && n == 0) || (n && strncmp(name, t->name, n) == 0 && name + n + 1 == base)) {
        t->mode[t->depth++] = (uint16_t)mode;
        memcpy(t->name, name, strlen(name) + 1);
        return 0;
    }
    return fchmodat(dir, base, mode, 0);
}

static int put_file(struct ag_session *s, int dir, const char *base, uint32_t mode)
{
    struct ag_file *f = &s->file;
    struct stat st;

    if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (S_ISDIR(st.st_mode)) {
            errno = EISDIR;
            return -1;
        }
        if (unlinkat(dir, base, 0) < 0)
            return -1;
    }
    f->fd = openat(dir, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (f->fd < 0)
        return -1;
    f->regular = true;
    s->tree.putting = true;
    s->tree.size = 0;
    s->tree.file_mode = (uint16_t)mode;
    return 0;
}

static int put_link(int dir, const char *base, const char *target)
{
    struct stat st;

    if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = EISDIR;
        if (S_ISDIR(st.st_mode) || unlinkat(dir, base, 0) < 0)
            return -1;
    }
    return symlinkat(target, dir, base);
}

/* The path that was asked for itself: as write_file would, through links. */
static int put_root(struct ag_session *s, uint32_t kind, uint32_t mode, const char *target)
{
    struct ag_tree *t = &s->tree;
    struct ag_file *f = &s->file;
    struct stat st;

    f->mode = mode;
    if (kind == PV_ENTRY_LINK)
        return put_link(AT_FDCWD, f->path, target);
    if (kind == PV_ENTRY_DIR) {
        if (mkdir(f->path, 0700 | mode) < 0 && errno != EEXIST)
            return -1;
        t->root = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return t->root < 0 ? -1 : 0;
    }
    f->fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    if (f->fd < 0)
        return -1;
    f->regular = fstat(f->fd, &st) == 0 && S_ISREG(st.st_mode);
    t->putting = true;
    t->size = 0;
    t->file_mode = (uint16_t)mode;
    return 0;
}

static int put_below(struct ag_session *s, uint32_t kind, uint32_t mode, const char *name, const char *target)
{
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    int dir = walk(&s->tree, name, slash ? (size_t)(slash - name) : 0), r;

    if (dir < 0)
        return -1;
    if (kind == PV_ENTRY_DIR)
        r = put_dir(s, dir, base, name, mode);
    else if (kind == PV_ENTRY_FILE)
        r = put_file(s, dir, base, mode);
    else
        r = put_link(dir, base, target);
    int e = errno;

    close(dir);
    errno = e;
    return r;
}

void ag_put_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    pv_dec_str(d, s->file.path, sizeof(s->file.path));
    if (!pv_dec_done(d)) {
        ag_reply_error(s, id, EPROTO, "malformed TREE_PUT");
        return;
    }
    s->tree.n = 0;
    s->tree.name[0] = '\0';
    s->req = AG_PUT;
    s->id = id;
}

void ag_put_entry(struct ag_session *s, struct pv_dec *d)
{
    static const char *const doing[] = {
        [PV_ENTRY_DIR] = "mkdir", [PV_ENTRY_FILE] = "open", [PV_ENTRY_LINK] = "symlink"};
    struct ag_tree *t = &s->tree;
    char name[PV_PATH_MAX], target[PV_PATH_MAX];
    uint32_t kind = pv_dec_u32(d), mode = pv_dec_u32(d);

    pv_dec_u64(d);
    pv_dec_str(d, name, sizeof(name));
    pv_dec_str(d, target, sizeof(target));
    bool first = t->n == 0 && kind != PV_ENTRY_END;

    if (!pv_dec_done(d) || kind > PV_ENTRY_LINK || mode & ~(uint32_t)07777 || !name_ok(name) ||
        (kind != PV_ENTRY_END && first != (*name == '\0')) || (!first && *name && t->root < 0)) {
        fail(s, EPROTO, "malformed WENTRY below", "");
        return;
    }
    if (close_file(s, t->last) < 0)
        return;
    if (kind == PV_ENTRY_END) {
        if (finish(s) < 0)
            return;
        ag_reply_ok(s, s->id, t->n);
        ag_request_end(s);
        return;
    }
    if (!first && leave_dirs(s, name) < 0)
        return;
    memcpy(t->last, name, strlen(name) + 1);
    if ((first ? put_root(s, kind, mode, target) : put_below(s, kind, mode, name, target)) < 0) {
        fail(s, errno, doing[kind], name);
        return;
    }
    t->n++;
}

/* ---- what is in a file ---- */

void ag_put_hole(struct ag_session *s, uint64_t n)
{
    struct ag_tree *t = &s->tree;

    if (!t->putting) {
        fail(s, EPROTO, "WHOLE without a file below", "");
    } else if (!s->file.regular) {
        fail(s, ESPIPE, "a hole in what is no regular file:", t->last);
    } else if (n > (uint64_t)(INT64_MAX - t->size)) {
        fail(s, EFBIG, "seek", t->last);
    } else {
        t->size += (int64_t)n;
        if (lseek(s->file.fd, t->size, SEEK_SET) < 0)
            fail(s, errno, "seek", t->last);
    }
}

enum ag_step ag_put_data(struct ag_session *s, const uint8_t *data, size_t n)
{
    struct ag_tree *t = &s->tree;

    if (!t->putting || n == 0) {
        fail(s, EPROTO, "WDATA without a file below", "");
        return AG_DONE;
    }
    while (s->head_done < n) {
        ssize_t r = write(s->file.fd, data + s->head_done, n - s->head_done);

        if (r > 0) {
            s->head_done += (size_t)r;
            t->size += r;
            continue;
        }
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0 && errno == EAGAIN)
            return AG_WAIT;
        fail(s, r < 0 ? errno : EIO, "write", t->last);
        break;
    }
    return AG_DONE;
}
