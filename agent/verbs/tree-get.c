/* SPDX-License-Identifier: MIT */
/*
 * TREE_GET: depth first, in the order of the directories.  One path buffer serves all levels: on the way
 * back up a directory is read again from the entry behind the one that was descended into.
 */
#include "agent/verb.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/util.h"

enum { TREE_DEPTH = 256 };

struct entry { /* getdents64(2) */
    uint64_t ino;
    int64_t next;
    uint16_t len;
    uint8_t type;
    char name[];
};

struct tree_get {
    uint64_t n;             /* entries sent */
    char path[PV_PATH_MAX]; /* of the tree's root */
    char name[PV_PATH_MAX]; /* of the current entry, relative to the root */
    struct {
        int fd;
        int64_t at;   /* where its next entry is */
        uint16_t len; /* of the part of `name` that names the directory */
    } dir[TREE_DEPTH];
    int depth;
    int fd; /* the file being sent; -1: none */
    bool regular, sparse;
    int64_t size, at, data_end; /* of the file: size, offset, and up to where it has no hole */
};

AG_STATE(tree_get, tree_get_state)

static void tree_get_fail(struct ag_session *s, int errnum, const char *action)
{
    const struct tree_get *t = tree_get_state(s);

    ag_request_fail(s, errnum, "%s '%.2000s%s%.2000s'", action, t->path, *t->name ? "/" : "", t->name);
}

static void send_entry(struct ag_session *s, uint32_t kind, const struct stat *st, uint64_t size,
                       const char *target)
{
    struct tree_get *t = tree_get_state(s);
    struct pv_enc e = ag_frame_begin(s, PV_MSG_ENTRY, AG_REPLY_MAX);

    pv_enc_u32(&e, s->id);
    pv_enc_u32(&e, kind);
    pv_enc_u32(&e, st->st_mode & (kind == PV_ENTRY_SKIPPED ? S_IFMT | 07777 : 07777));
    pv_enc_u64(&e, size);
    pv_enc_bytes(&e, t->name, strlen(t->name));
    pv_enc_bytes(&e, target, strlen(target));
    ag_frame_end(s, &e);
    t->n++;
}

/* Faults of the agent and of the whole machine; any other one is the entry's, which is left out. */
static bool is_fatal(int errnum)
{
    return errnum == EMFILE || errnum == ENFILE || errnum == ENOMEM;
}

/* errnum 0: it is of a kind that is not sent. */
static void send_skipped(struct ag_session *s, mode_t mode, int errnum)
{
    struct stat st = {.st_mode = mode};

    send_entry(s, PV_ENTRY_SKIPPED, &st, (uint64_t)errnum, "");
}

/* ---- entries, by kind: 0, or -1 with errno ---- */

static int get_dir(struct ag_session *s, int fd, const struct stat *st)
{
    struct tree_get *t = tree_get_state(s);

    if (t->depth == TREE_DEPTH) {
        close(fd);
        errno = ENAMETOOLONG;
        return -1;
    }
    t->dir[t->depth].fd = fd;
    t->dir[t->depth].at = 0;
    t->dir[t->depth++].len = (uint16_t)strlen(t->name);
    send_entry(s, PV_ENTRY_DIR, st, 0, "");
    return 0;
}

static void get_file(struct ag_session *s, int fd, const struct stat *st)
{
    struct tree_get *t = tree_get_state(s);

    t->fd = fd;
    t->regular = S_ISREG(st->st_mode);
    t->sparse = t->regular && st->st_size > (int64_t)st->st_blocks * 512;
    t->size = st->st_size;
    t->data_end = 0;
    t->at = 0;
    send_entry(s, PV_ENTRY_FILE, st, (uint64_t)st->st_size, "");
}

static int get_link(struct ag_session *s, int dir, const char *name, const struct stat *st)
{
    char target[PV_PATH_MAX];
    ssize_t n = readlinkat(dir, name, target, sizeof(target));

    if (n < 0 && errno == ENOENT)
        return 0;
    if (n < 0 || (size_t)n >= sizeof(target)) {
        int errnum = n < 0 ? errno : ENAMETOOLONG;

        if (is_fatal(errnum))
            return -1;
        send_skipped(s, st->st_mode, errnum);
        return 0;
    }
    target[n] = '\0';
    send_entry(s, PV_ENTRY_LINK, st, 0, target);
    return 0;
}

/* The entry cannot be read.  One that was removed since its directory was read is no entry. */
static int skip_entry(struct ag_session *s, mode_t mode)
{
    if (is_fatal(errno))
        return -1;
    if (errno != ENOENT)
        send_skipped(s, mode, errno);
    return 0;
}

static int get_entry(struct ag_session *s, int dir, const char *name)
{
    struct stat st = {0};

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return skip_entry(s, 0);
    if (S_ISLNK(st.st_mode))
        return get_link(s, dir, name, &st);
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)) {
        send_skipped(s, st.st_mode, 0);
        return 0;
    }
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd < 0)
        return skip_entry(s, st.st_mode);
    if (fstat(fd, &st) < 0 || (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))) {
        close(fd);
        return 0; /* replaced by another kind since the fstatat() */
    }
    if (S_ISDIR(st.st_mode))
        return get_dir(s, fd, &st);
    get_file(s, fd, &st);
    return 0;
}

/* ---- steps ---- */

/* Sends entries of the innermost directory, up to the first file or directory. */
static void next_entries(struct ag_session *s)
{
    struct tree_get *t = tree_get_state(s);
    _Alignas(8) char buf[1024]; /* small: after a descent the entries are read again */
    int top = t->depth - 1, dir = t->dir[top].fd;
    size_t base = t->dir[top].len;

    t->name[base] = '\0';
    long n = lseek(dir, t->dir[top].at, SEEK_SET) < 0 ? -1 : syscall(SYS_getdents64, dir, buf, sizeof(buf));

    if (n < 0 && (is_fatal(errno) || top == 0)) {
        tree_get_fail(s, errno, "read directory");
        return;
    }
    if (n < 0)
        send_skipped(s, S_IFDIR, errno);
    if (n <= 0) {
        close(dir);
        t->depth--;
        return;
    }
    for (long at = 0; at < n && t->depth == top + 1 && t->fd < 0;) {
        const struct entry *e = (const void *)(buf + at);

        at += e->len;
        t->dir[top].at = e->next;
        if (strcmp(e->name, ".") == 0 || strcmp(e->name, "..") == 0)
            continue;
        if (!ag_format(t->name + base, sizeof(t->name) - base, "%s%s", base ? "/" : "", e->name)) {
            t->name[base] = '\0';
            tree_get_fail(s, ENAMETOOLONG, "a name is too long below");
            return;
        }
        if (get_entry(s, dir, e->name) < 0) {
            tree_get_fail(s, errno, "open");
            return;
        }
    }
}

static void send_hole(struct ag_session *s, int64_t n)
{
    struct pv_enc e = ag_frame_begin(s, PV_MSG_HOLE, 64);

    pv_enc_u32(&e, s->id);
    pv_enc_u64(&e, (uint64_t)n);
    ag_frame_end(s, &e);
    tree_get_state(s)->at += n;
}

/* Finds the file's next data and sends the hole before it.  False when only a hole was left. */
static bool find_data(struct ag_session *s)
{
    struct tree_get *t = tree_get_state(s);
    int64_t from = lseek(t->fd, t->at, SEEK_DATA);

    if (from < 0 && errno == ENXIO) {
        if (t->at < t->size)
            send_hole(s, t->size - t->at);
        return false;
    }
    t->data_end = from < 0 ? -1 : lseek(t->fd, from, SEEK_HOLE);
    if (t->data_end < 0) { /* the file system has no SEEK_HOLE */
        t->sparse = false;
        return true;
    }
    if (from > t->at)
        send_hole(s, from - t->at);
    return true;
}

static void send_file_data(struct ag_session *s)
{
    struct tree_get *t = tree_get_state(s);
    size_t max = PV_CHUNK;
    ssize_t n = 0;

    if (!t->sparse || t->at < t->data_end || find_data(s)) {
        if (t->sparse && t->data_end - t->at < PV_CHUNK)
            max = (size_t)(t->data_end - t->at);
        n = ag_reply_data(s, PV_MSG_DATA, t->fd, t->regular ? t->at : -1, max);
    }
    if (n > 0) {
        t->at += n;
        return;
    }
    if (n < 0 && errno == EINTR)
        return;
    if (n < 0 && (is_fatal(errno) || !*t->name)) {
        tree_get_fail(s, errno, "read");
        return;
    }
    if (n < 0)
        send_skipped(s, S_IFREG, errno);
    close(t->fd);
    t->fd = -1;
}

static void tree_get_more(struct ag_session *s, const struct pollfd *p)
{
    const struct tree_get *t = tree_get_state(s);

    (void)p;
    while (s->verb && ag_data_room(s)) {
        if (t->fd >= 0) {
            send_file_data(s);
        } else if (t->depth > 0) {
            next_entries(s);
        } else {
            ag_reply_ok(s, s->id, t->n);
            ag_request_end(s);
        }
    }
}

/* Unlike entries below it, the root may be a link (to the tree), a device or a file of /proc. */
static int get_root(struct ag_session *s)
{
    struct stat st;
    int fd = open(tree_get_state(s)->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    if (S_ISDIR(st.st_mode))
        return get_dir(s, fd, &st);
    get_file(s, fd, &st);
    return 0;
}

static bool tree_get_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    struct tree_get *t = tree_get_state(s);

    (void)id;
    pv_dec_str(d, t->path, sizeof(t->path));
    if (!pv_dec_done(d))
        return false;
    t->n = 0;
    t->name[0] = '\0';
    t->depth = 0;
    t->fd = -1;
    if (get_root(s) < 0)
        tree_get_fail(s, errno, "open");
    else
        tree_get_more(s, NULL);
    return true;
}

static void tree_get_cancel(struct ag_session *s)
{
    ag_request_fail(s, ECANCELED, "read '%s'", tree_get_state(s)->path);
}

static void tree_get_close(struct ag_session *s)
{
    struct tree_get *t = tree_get_state(s);

    ag_close(&t->fd);
    while (t->depth > 0)
        close(t->dir[--t->depth].fd);
}

const struct ag_verb ag_verb_tree_get = {
    .message = PV_MSG_TREE_GET,
    .start = tree_get_start,
    .due = ag_due_with_room,
    .more = tree_get_more,
    .cancel = tree_get_cancel,
    .close = tree_get_close,
};
