/* SPDX-License-Identifier: MIT */
/*
 * TREE_GET: depth first, in the order of the directories.  One buffer of names serves all levels: on the way
 * back up a directory is read again from behind the entry that was descended into.
 */
#include "agent/session.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/util.h"

struct entry { /* getdents64(2) */
    uint64_t ino;
    int64_t next;
    uint16_t len;
    uint8_t type;
    char name[];
};

static void fail(struct ag_session *s, int errnum, const char *what)
{
    const char *name = s->tree.name;

    ag_reply_error(s, s->id, errnum, "%s '%.2000s%s%.2000s'", what, s->file.path, *name ? "/" : "", name);
    ag_request_end(s);
}

static void send_entry(struct ag_session *s, uint32_t kind, const struct stat *st, const char *target)
{
    struct pv_enc e = ag_begin(s, PV_MSG_ENTRY, AG_REPLY_MAX);

    pv_enc_u32(&e, s->id);
    pv_enc_u32(&e, kind);
    pv_enc_u32(&e, st->st_mode & 07777);
    pv_enc_u64(&e, kind == PV_ENTRY_FILE ? (uint64_t)st->st_size : 0);
    pv_enc_bytes(&e, s->tree.name, strlen(s->tree.name));
    pv_enc_bytes(&e, target, strlen(target));
    ag_end(s, &e);
    s->tree.n++;
}

/* ---- one of each kind: 0, or -1 with errno ---- */

static int get_dir(struct ag_session *s, int fd, const struct stat *st)
{
    struct ag_tree *t = &s->tree;

    if (t->depth == AG_TREE_DEPTH) {
        close(fd);
        errno = ENAMETOOLONG;
        return -1;
    }
    t->dir[t->depth] = fd;
    t->at[t->depth] = 0;
    t->len[t->depth++] = (uint16_t)strlen(t->name);
    send_entry(s, PV_ENTRY_DIR, st, "");
    return 0;
}

static void get_file(struct ag_session *s, int fd, const struct stat *st)
{
    s->file.fd = fd;
    s->file.regular = S_ISREG(st->st_mode);
    s->tree.sparse = s->file.regular && st->st_size > (int64_t)st->st_blocks * 512;
    s->tree.size = st->st_size;
    s->tree.data_end = 0;
    s->tree.at_data = 0;
    send_entry(s, PV_ENTRY_FILE, st, "");
}

static int get_link(struct ag_session *s, int dir, const char *name, const struct stat *st)
{
    char target[PV_PATH_MAX];
    ssize_t n = readlinkat(dir, name, target, sizeof(target));

    if (n < 0 || (size_t)n >= sizeof(target)) {
        if (n >= 0)
            errno = ENAMETOOLONG;
        return -1;
    }
    target[n] = '\0';
    send_entry(s, PV_ENTRY_LINK, st, target);
    return 0;
}

/* What is gone by now has never been there. */
static int get_entry(struct ag_session *s, int dir, const char *name)
{
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -1;
    if (S_ISLNK(st.st_mode))
        return get_link(s, dir, name, &st) < 0 && errno != ENOENT ? -1 : 0;
    if (S_ISSOCK(st.st_mode))
        return 0; /* means nothing but to the process that has it open */
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    if (fstat(fd, &st) < 0 || (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))) {
        close(fd);
        return 0; /* it has just become something else */
    }
    if (S_ISDIR(st.st_mode))
        return get_dir(s, fd, &st);
    get_file(s, fd, &st);
    return 0;
}

/* ---- a step ---- */

/* The next entry of the innermost directory. */
static void next_entry(struct ag_session *s)
{
    struct ag_tree *t = &s->tree;
    _Alignas(8) char buf[1024]; /* an entry has up to 280 bytes; few are read in vain when it descends */
    int top = t->depth - 1, dir = t->dir[top];
    size_t base = t->len[top];

    t->name[base] = '\0';
    long n = lseek(dir, t->at[top], SEEK_SET) < 0 ? -1 : syscall(SYS_getdents64, dir, buf, sizeof(buf));

    if (n < 0) {
        fail(s, errno, "read directory");
        return;
    }
    if (n == 0) {
        close(dir);
        t->dir[top] = 0;
        t->depth--;
        return;
    }
    for (long at = 0; at < n && t->depth == top + 1 && s->file.fd < 0;) {
        const struct entry *e = (const void *)(buf + at);

        at += e->len;
        t->at[top] = e->next;
        if (strcmp(e->name, ".") == 0 || strcmp(e->name, "..") == 0)
            continue;
        if (!ag_format(t->name + base, sizeof(t->name) - base, "%s%s", base ? "/" : "", e->name)) {
            t->name[base] = '\0';
            fail(s, ENAMETOOLONG, "a name is too long below");
            return;
        }
        if (get_entry(s, dir, e->name) < 0) {
            fail(s, errno, errno == EOPNOTSUPP ? "neither file, directory nor link:" : "open");
            return;
        }
    }
}

static void send_hole(struct ag_session *s, int64_t n)
{
    struct pv_enc e = ag_begin(s, PV_MSG_HOLE, 64);

    pv_enc_u32(&e, s->id);
    pv_enc_u64(&e, (uint64_t)n);
    ag_end(s, &e);
    s->tree.at_data += n;
}

/* Where the data goes on; sends the hole before it. False when there is none, or it was a hole to the end. */
static bool find_data(struct ag_session *s)
{
    struct ag_tree *t = &s->tree;
    int64_t from = lseek(s->file.fd, t->at_data, SEEK_DATA);

    if (from < 0 && errno == ENXIO) {
        if (t->at_data < t->size)
            send_hole(s, t->size - t->at_data);
        return false;
    }
    t->data_end = from < 0 ? -1 : lseek(s->file.fd, from, SEEK_HOLE);
    if (t->data_end < 0) { /* this file system does not know */
        t->sparse = false;
        return true;
    }
    if (from > t->at_data)
        send_hole(s, from - t->at_data);
    return true;
}

static void file_more(struct ag_session *s)
{
    struct ag_tree *t = &s->tree;
    struct ag_file *f = &s->file;
    size_t max = PV_CHUNK;
    ssize_t n = 0;

    if (!t->sparse || t->at_data < t->data_end || find_data(s)) {
        if (t->sparse && t->data_end - t->at_data < PV_CHUNK)
            max = (size_t)(t->data_end - t->at_data);
        n = ag_pump(s, PV_MSG_DATA, f->fd, f->regular ? t->at_data : -1, max);
    }
    if (n > 0) {
        t->at_data += n;
        return;
    }
    if (n < 0 && errno == EINTR)
        return;
    if (n < 0) {
        fail(s, errno, "read");
        return;
    }
    close(f->fd);
    f->fd = -1;
}

void ag_get_more(struct ag_session *s)
{
    while (s->req == AG_GET && ag_data_room(s)) {
        if (s->file.fd >= 0) {
            file_more(s);
        } else if (s->tree.depth > 0) {
            next_entry(s);
        } else {
            ag_reply_ok(s, s->id, s->tree.n);
            ag_request_end(s);
        }
    }
}

/* The path itself: a link to a tree is that tree. */
static int get_root(struct ag_session *s)
{
    struct stat st;
    int fd = open(s->file.path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    if (S_ISDIR(st.st_mode))
        return get_dir(s, fd, &st);
    get_file(s, fd, &st);
    return 0;
}

void ag_get_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    pv_dec_str(d, s->file.path, sizeof(s->file.path));
    if (!pv_dec_done(d)) {
        ag_reply_error(s, id, EPROTO, "malformed TREE_GET");
        return;
    }
    s->tree.n = 0;
    s->tree.name[0] = '\0';
    s->req = AG_GET;
    s->id = id;
    if (get_root(s) < 0)
        fail(s, errno, "open");
    else
        ag_get_more(s);
}
