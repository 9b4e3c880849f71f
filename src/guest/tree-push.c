/* SPDX-License-Identifier: MIT */
/*
 * A file or a tree to the guest: a walk that goes on whenever the connection has room; in memory are one
 * chunk and one open directory per level.
 *
 * A symbolic link is followed at the caller's path alone; below it links are sent as links.  Hard links
 * become separate files.
 */
#include "guest/call.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/tree.h"
#include "util/clock.h"
#include "util/path.h"

struct push {
    struct pv_call c;
    const char *host_path;
    bool started;
    uint64_t entries;

    char name[PV_PATH_MAX]; /* relative, of the innermost open directory or the current entry */
    DIR *dir[PV_TREE_DEPTH];
    size_t len[PV_TREE_DEPTH]; /* of their names */
    int depth;

    int fd; /* the current file, else -1 */
    uint64_t size, at;
    uint64_t data_end; /* no hole up to here; at or before `at`: not known */
    uint8_t *chunk;    /* PV_CHUNK bytes */
};

/* A fault of the host or the caller at the current entry. Always false: nothing more is sent. */
static bool push_fail(struct push *p, int errnum, const char *what)
{
    pv_err_set_at(&p->c.local, PV_E_HOST, errnum, __FILE__, __LINE__, "push: %s '%s%s%s'", what, p->host_path,
                  p->name[0] ? "/" : "", p->name);
    return false;
}

static bool push_send_entry(struct push *p, struct pv_session *s, unsigned kind, const struct stat *st,
                            const char *target)
{
    struct pv_enc e;

    pv_session_more(s, &e, PV_MSG_WENTRY);
    pv_enc_u32(&e, kind);
    pv_enc_u32(&e, st ? st->st_mode & 07777 : 0);
    pv_enc_u64(&e, kind == PV_ENTRY_FILE ? (uint64_t)st->st_size : 0);
    pv_enc_str(&e, kind == PV_ENTRY_END ? "" : p->name);
    pv_enc_str(&e, target);
    pv_session_more_end(s, &e);
    p->entries += kind != PV_ENTRY_END;
    return true;
}

static bool push_send_end(struct push *p, struct pv_session *s)
{
    p->c.open = false;
    return push_send_entry(p, s, PV_ENTRY_END, NULL, "");
}

/* Finds the next data at or behind `at`. False: the file has shrunk. */
static bool push_find_run(struct push *p, uint64_t *hole)
{
    off_t data = lseek(p->fd, (off_t)p->at, SEEK_DATA), end;

    *hole = 0;
    p->data_end = p->size;
    if (data < 0 && errno == ENXIO) {
        /* A hole up to the end, unless the file's size shows that it has shrunk. */
        struct stat st;

        if (fstat(p->fd, &st) < 0 || (uint64_t)st.st_size < p->size)
            return false;
        *hole = p->size - p->at;
        return true;
    }
    if (data < 0)
        return true; /* the file system does not know holes: all is data */
    if ((uint64_t)data > p->at)
        *hole = ((uint64_t)data < p->size ? (uint64_t)data : p->size) - p->at;
    end = lseek(p->fd, data, SEEK_HOLE);
    if (end > data && (uint64_t)end < p->size)
        p->data_end = (uint64_t)end;
    return true;
}

static bool push_file_shrunk(struct push *p)
{
    struct pv_err *e = &p->c.local;

    push_fail(p, 0, "a file became shorter while it was read:");
    pv_err_append(e, ": %" PRIu64 " bytes were expected", p->size);
    return false;
}

/* The next piece of the current file. */
static bool push_send_piece(struct push *p, struct pv_session *s)
{
    uint64_t hole = 0;
    struct pv_enc e;
    ssize_t n;

    if (p->at >= p->data_end && !push_find_run(p, &hole))
        return push_file_shrunk(p);
    if (hole) {
        pv_session_more(s, &e, PV_MSG_WHOLE);
        pv_enc_u64(&e, hole);
        pv_session_more_end(s, &e);
        p->at += hole;
        return true;
    }
    n = (ssize_t)(p->data_end - p->at < PV_CHUNK ? p->data_end - p->at : PV_CHUNK);
    n = pv_pread_all(p->fd, p->chunk, (size_t)n, (off_t)p->at);
    if (n < 0)
        return push_fail(p, errno, "cannot read");
    if (n == 0)
        return push_file_shrunk(p);
    p->at += (uint64_t)n;
    pv_session_chunk(s, PV_MSG_WDATA, p->chunk, (size_t)n);
    return true;
}

static const char *kind_name(mode_t mode)
{
    return S_ISFIFO(mode) ? "a fifo" : S_ISSOCK(mode) ? "a socket" : "a device";
}

static bool push_refuse(struct push *p, mode_t mode)
{
    push_fail(p, 0, "only files, directories and symbolic links can be pushed;");
    pv_err_append(&p->c.local, " is %s", kind_name(mode));
    return false;
}

static bool push_send_link(struct push *p, struct pv_session *s, int at, const char *leaf,
                           const struct stat *st)
{
    char target[PV_PATH_MAX];
    ssize_t n = readlinkat(at, leaf, target, sizeof(target));

    if (n < 0 || (size_t)n == sizeof(target))
        return push_fail(p, n < 0 ? errno : ENAMETOOLONG, "cannot read the symbolic link");
    target[n] = '\0';
    return push_send_entry(p, s, PV_ENTRY_LINK, st, target);
}

/* Takes fd, an open directory that p->name names. */
static bool push_send_dir(struct push *p, struct pv_session *s, int fd, const struct stat *st)
{
    DIR *dir;

    if (p->depth == PV_TREE_DEPTH) {
        close(fd);
        return push_fail(p, 0, "directories are nested too deeply at");
    }
    dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return push_fail(p, errno, "cannot read the directory");
    }
    p->dir[p->depth] = dir;
    p->len[p->depth++] = strlen(p->name);
    return push_send_entry(p, s, PV_ENTRY_DIR, st, "");
}

/* `leaf` in directory `at` is p->name. flags: O_NOFOLLOW below the top. */
static bool push_send_path(struct push *p, struct pv_session *s, int at, const char *leaf, int flags)
{
    cleanup_close int fd = -1;
    struct stat st;

    if (fstatat(at, leaf, &st, flags ? AT_SYMLINK_NOFOLLOW : 0) < 0)
        return push_fail(p, errno, "cannot look at");
    if (S_ISLNK(st.st_mode))
        return push_send_link(p, s, at, leaf, &st);
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return push_refuse(p, st.st_mode);
    /* O_NONBLOCK: a fifo may have replaced it since the stat. */
    fd = openat(at, leaf, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags);
    if (fd < 0 || fstat(fd, &st) < 0)
        return push_fail(p, errno, "cannot open");
    if (S_ISDIR(st.st_mode))
        return push_send_dir(p, s, pv_steal_fd(&fd), &st);
    if (!S_ISREG(st.st_mode))
        return push_refuse(p, st.st_mode);
    p->fd = pv_steal_fd(&fd);
    p->size = (uint64_t)st.st_size;
    p->at = p->data_end = 0;
    return push_send_entry(p, s, PV_ENTRY_FILE, &st, "");
}

/* The next entry of the innermost open directory; 0 when it has no more. */
static int push_send_next(struct push *p, struct pv_session *s)
{
    DIR *dir = p->dir[p->depth - 1];
    size_t len = p->len[p->depth - 1], n;
    struct dirent *d;

    p->name[len] = '\0';
    do {
        errno = 0;
        d = readdir(dir);
    } while (d && (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..")));
    if (!d && errno) {
        push_fail(p, errno, "cannot read the directory");
        return -1;
    }
    if (!d) {
        closedir(dir);
        p->depth--;
        return 0;
    }
    n = strlen(d->d_name);
    if (len + (len > 0) + n >= sizeof(p->name)) {
        push_fail(p, ENAMETOOLONG, "cannot push a name in");
        return -1;
    }
    if (len)
        p->name[len++] = '/';
    memcpy(p->name + len, d->d_name, n + 1);
    return push_send_path(p, s, dirfd(dir), d->d_name, O_NOFOLLOW) ? 1 : -1;
}

static bool push_next(struct pv_call *c, struct pv_session *s)
{
    struct push *p = PV_CONTAINER_OF(c, struct push, c);

    if (s->replied) /* it failed */
        return push_send_end(p, s);
    if (!p->started) {
        p->started = true;
        return push_send_path(p, s, AT_FDCWD, p->host_path, 0);
    }
    if (p->fd >= 0 && p->at < p->size)
        return push_send_piece(p, s);
    pv_close(&p->fd);
    while (p->depth) {
        int r = push_send_next(p, s);

        if (r)
            return r > 0;
    }
    return push_send_end(p, s);
}

static int push_check_host_path(const char *path, struct pv_err *err)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return pv_err_set_at(err, PV_E_USAGE, errno, __FILE__, __LINE__, "push: cannot look at '%s'", path);
    return 0;
}

static int push_run(struct pv_agent *a, struct push *p, const char *guest_path, int64_t timeout_ns,
                    struct pv_err *err)
{
    struct pv_enc e;

    if (pv_call_begin(a, &p->c, PV_MSG_TREE_PUT, "push", &e, err) < 0)
        return -1;
    pv_enc_str(&e, guest_path);
    if (pv_call_finish(a, &p->c, &e, "push", timeout_ns, err) < 0)
        return -1;
    if (p->c.value != p->entries)
        return pv_err_set(err, PV_E_PROTOCOL,
                          "push to '%s': the agent says %" PRIu64 " entries and was sent %" PRIu64,
                          guest_path, p->c.value, p->entries);
    return 0;
}

int pv_agent_push(struct pv_agent *a, const char *host_path, const char *guest_path, int64_t timeout_ns,
                  struct pv_err *err)
{
    struct push *p;
    int r;

    if (pv_call_check_path(guest_path, err) < 0 || push_check_host_path(host_path, err) < 0)
        return -1;
    p = pv_xcalloc(1, sizeof(*p));
    p->c = (struct pv_call){.ok = true, .next = push_next, .open = true};
    p->host_path = host_path;
    p->fd = -1;
    p->chunk = pv_xmalloc(PV_CHUNK);
    r = push_run(a, p, guest_path, timeout_ns, err);
    if (r < 0 && p->entries)
        pv_err_append(err, "\n'%s' in the guest may hold a part of it", guest_path);
    pv_close(&p->fd);
    while (p->depth)
        closedir(p->dir[--p->depth]);
    free(p->chunk);
    free(p);
    return r;
}
