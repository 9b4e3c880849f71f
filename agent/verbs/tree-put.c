/* SPDX-License-Identifier: MIT */
/*
 * TREE_PUT.  Each name is walked anew from the tree's root, one component at a time and through no link, so
 * that nothing outside the tree is written, whatever the tree holds already.  A file or link replaces
 * another file or link by unlinking it first (a running program goes on); a directory replaces nothing, and
 * nothing replaces a directory.
 *
 * A directory stays writable, and gets its mode when the first entry comes that does not lie below it.
 */
#include "agent/verb.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/util.h"

enum { TREE_DEPTH = 256, OPEN_DIR = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };

struct tree_put {
    uint64_t n;             /* entries so far */
    char path[PV_PATH_MAX]; /* of the tree's root */
    int root;               /* the root directory; -1: none */
    uint16_t root_mode;
    char dir[PV_PATH_MAX];     /* name of the innermost directory that has no mode yet */
    uint16_t mode[TREE_DEPTH]; /* for `dir` and the directories above it, outermost first */
    int depth;
    char entry[PV_PATH_MAX]; /* name of the current entry */
    int fd;                  /* the file being written; -1: none */
    bool writing, regular;
    uint16_t file_mode;
    int64_t size; /* of the file so far, holes included */
};

AG_STATE(tree_put, tree_put_state)

static void tree_put_fail(struct ag_session *s, int errnum, const char *action, const char *name)
{
    ag_request_fail(s, errnum, "%s '%.2000s%s%.2000s'", action, tree_put_state(s)->path, *name ? "/" : "",
                    name);
}

/* Whether name is "" or "a/b/c": components of 1 to 255 bytes, none "." or "..", at most TREE_DEPTH. */
static bool is_tree_name(const char *name)
{
    int depth = 0;

    for (const char *p = name; *name;) {
        size_t n = strcspn(p, "/");

        if (n == 0 || n > 255 || ++depth > TREE_DEPTH || (n == 1 && p[0] == '.') ||
            (n == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        if (!p[n])
            return true;
        p += n + 1;
    }
    return true;
}

/* Opens the directory that the first n bytes of name lead to; -1 with errno. */
static int open_below(const struct tree_put *t, const char *name, size_t n)
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

/* ---- modes of directories ---- */

/* Sets the modes of the directories that `name` does not lie below, from the innermost one on. */
static int set_dir_modes(struct ag_session *s, const char *name)
{
    struct tree_put *t = tree_put_state(s);

    for (;;) {
        size_t n = strlen(t->dir);

        if (n == 0 || (strncmp(name, t->dir, n) == 0 && name[n] == '/'))
            return 0;
        int fd = open_below(t, t->dir, n), r = fd < 0 ? -1 : fchmod(fd, t->mode[t->depth - 1]), e = errno;

        if (fd >= 0)
            close(fd);
        if (r < 0) {
            tree_put_fail(s, e, "chmod", t->dir);
            return -1;
        }
        t->depth--;
        char *slash = strrchr(t->dir, '/');

        *(slash ? slash : t->dir) = '\0';
    }
}

/* Sets the modes that are left, the root's last. */
static int set_last_modes(struct ag_session *s)
{
    struct tree_put *t = tree_put_state(s);
    int r = 0;

    if (set_dir_modes(s, "") < 0)
        return -1;
    if (t->root >= 0 && (r = fchmod(t->root, t->root_mode)) < 0)
        tree_put_fail(s, errno, "chmod", "");
    return r;
}

/* ---- entries ---- */

/* Completes the file that is being written, if one is. */
static int finish_file(struct ag_session *s, const char *name)
{
    struct tree_put *t = tree_put_state(s);
    const char *action = "truncate";
    int r = 0;

    if (!t->writing)
        return 0;
    t->writing = false;
    if (t->regular) /* it may end in a hole */
        r = ftruncate(t->fd, t->size);
    if (r == 0 && (action = "chmod", t->regular))
        r = fchmod(t->fd, (mode_t)t->file_mode);
    if (r == 0) {
        action = "close";
        r = close(t->fd);
        t->fd = -1;
    }
    if (r < 0) {
        tree_put_fail(s, errno, action, name);
        return -1;
    }
    return 0;
}

static int put_dir(struct tree_put *t, int dir, const char *base, const char *name, uint32_t mode)
{
    struct stat st;

    if (mkdirat(dir, base, 0700 | mode) < 0) {
        if (errno != EEXIST)
            return -1;
        if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode)) {
            errno = ENOTDIR;
            return -1;
        }
    }
    /* It is the innermost one if its parent is `dir`.  The mode of any other directory can be set now. */
    size_t n = strlen(t->dir);

    if ((base == name && n == 0) || (n && strncmp(name, t->dir, n) == 0 && name + n + 1 == base)) {
        t->mode[t->depth++] = (uint16_t)mode;
        memcpy(t->dir, name, strlen(name) + 1);
        return 0;
    }
    return fchmodat(dir, base, mode, 0);
}

static void begin_file(struct tree_put *t, uint32_t mode, bool regular)
{
    t->writing = true;
    t->regular = regular;
    t->size = 0;
    t->file_mode = (uint16_t)mode;
}

static int put_file(struct tree_put *t, int dir, const char *base, uint32_t mode)
{
    struct stat st;

    if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (S_ISDIR(st.st_mode)) {
            errno = EISDIR;
            return -1;
        }
        if (unlinkat(dir, base, 0) < 0)
            return -1;
    }
    t->fd = openat(dir, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (t->fd < 0)
        return -1;
    begin_file(t, mode, true);
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

/* The tree's root, whose path is followed through links, as WRITE_FILE does. */
static int put_root(struct tree_put *t, uint32_t kind, uint32_t mode, const char *target)
{
    struct stat st;

    if (kind == PV_ENTRY_LINK)
        return put_link(AT_FDCWD, t->path, target);
    if (kind == PV_ENTRY_DIR) {
        t->root_mode = (uint16_t)mode;
        if (mkdir(t->path, 0700 | mode) < 0 && errno != EEXIST)
            return -1;
        t->root = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return t->root < 0 ? -1 : 0;
    }
    t->fd = open(t->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    if (t->fd < 0)
        return -1;
    begin_file(t, mode, fstat(t->fd, &st) == 0 && S_ISREG(st.st_mode));
    return 0;
}

static int put_below(struct tree_put *t, uint32_t kind, uint32_t mode, const char *name, const char *target)
{
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    int dir = open_below(t, name, slash ? (size_t)(slash - name) : 0), r;

    if (dir < 0)
        return -1;
    if (kind == PV_ENTRY_DIR)
        r = put_dir(t, dir, base, name, mode);
    else if (kind == PV_ENTRY_FILE)
        r = put_file(t, dir, base, mode);
    else
        r = put_link(dir, base, target);
    int e = errno;

    close(dir);
    errno = e;
    return r;
}

static void tree_put_end(struct ag_session *s)
{
    if (set_last_modes(s) < 0)
        return;
    ag_reply_ok(s, s->id, tree_put_state(s)->n);
    ag_request_end(s);
}

static enum ag_step entry_take(struct ag_session *s, struct pv_dec *d)
{
    static const char *const action[] = {
        [PV_ENTRY_DIR] = "mkdir", [PV_ENTRY_FILE] = "open", [PV_ENTRY_LINK] = "symlink"};
    struct tree_put *t = tree_put_state(s);
    char name[PV_PATH_MAX], target[PV_PATH_MAX];
    uint32_t kind = pv_dec_u32(d), mode = pv_dec_u32(d);

    pv_dec_u64(d);
    pv_dec_str(d, name, sizeof(name));
    pv_dec_str(d, target, sizeof(target));
    bool first = t->n == 0 && kind != PV_ENTRY_END;

    if (!pv_dec_done(d) || kind > PV_ENTRY_LINK || mode & ~(uint32_t)07777 || !is_tree_name(name) ||
        (kind != PV_ENTRY_END && first != (*name == '\0')) || (!first && *name && t->root < 0)) {
        tree_put_fail(s, EPROTO, "malformed WENTRY below", "");
        return AG_DONE;
    }
    if (finish_file(s, t->entry) < 0)
        return AG_DONE;
    if (kind == PV_ENTRY_END) {
        tree_put_end(s);
        return AG_DONE;
    }
    if (!first && set_dir_modes(s, name) < 0)
        return AG_DONE;
    memcpy(t->entry, name, strlen(name) + 1);
    if ((first ? put_root(t, kind, mode, target) : put_below(t, kind, mode, name, target)) < 0) {
        tree_put_fail(s, errno, action[kind], name);
        return AG_DONE;
    }
    t->n++;
    return AG_DONE;
}

/* ---- content of files ---- */

static bool hole_valid(struct pv_dec d)
{
    pv_dec_u64(&d);
    return pv_dec_done(&d);
}

static enum ag_step hole_take(struct ag_session *s, struct pv_dec *d)
{
    struct tree_put *t = tree_put_state(s);
    uint64_t n = pv_dec_u64(d);

    if (!t->writing) {
        tree_put_fail(s, EPROTO, "WHOLE without a file below", "");
    } else if (!t->regular) {
        tree_put_fail(s, ESPIPE, "a hole in what is no regular file:", t->entry);
    } else if (n > (uint64_t)(INT64_MAX - t->size)) {
        tree_put_fail(s, EFBIG, "seek", t->entry);
    } else {
        t->size += (int64_t)n;
        if (lseek(t->fd, t->size, SEEK_SET) < 0)
            tree_put_fail(s, errno, "seek", t->entry);
    }
    return AG_DONE;
}

static enum ag_step data_take(struct ag_session *s, struct pv_dec *d)
{
    struct tree_put *t = tree_put_state(s);
    size_t n;
    const uint8_t *data = pv_dec_bytes(d, &n);

    if (!t->writing || n == 0) {
        tree_put_fail(s, EPROTO, "WDATA without a file below", "");
        return AG_DONE;
    }
    while (s->in.done < n) {
        ssize_t r = write(t->fd, data + s->in.done, n - s->in.done);

        if (r > 0) {
            s->in.done += (size_t)r;
            t->size += r;
            continue;
        }
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0 && errno == EAGAIN)
            return AG_WAIT;
        tree_put_fail(s, r < 0 ? errno : EIO, "write", t->entry);
        break;
    }
    return AG_DONE;
}

/* ---- the request ---- */

static bool tree_put_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    struct tree_put *t = tree_put_state(s);

    (void)id;
    pv_dec_str(d, t->path, sizeof(t->path));
    if (!pv_dec_done(d))
        return false;
    t->n = 0;
    t->root = t->fd = -1;
    t->dir[0] = t->entry[0] = '\0';
    t->depth = 0;
    t->writing = false;
    return true;
}

static void tree_put_pollfds(struct ag_session *s, struct pollfd *p, bool stalled)
{
    if (stalled)
        p[0] = (struct pollfd){.fd = tree_put_state(s)->fd, .events = POLLOUT};
}

static void tree_put_cancel(struct ag_session *s)
{
    ag_request_fail(s, ECANCELED, "write '%s'", tree_put_state(s)->path);
}

static void tree_put_close(struct ag_session *s)
{
    ag_close(&tree_put_state(s)->fd);
    ag_close(&tree_put_state(s)->root);
}

const struct ag_verb ag_verb_tree_put = {
    .message = PV_MSG_TREE_PUT,
    .start = tree_put_start,
    .input = {{.message = PV_MSG_WENTRY, .take = entry_take},
              {.message = PV_MSG_WDATA, .valid = ag_bytes_valid, .take = data_take},
              {.message = PV_MSG_WHOLE, .valid = hole_valid, .take = hole_take}},
    .pollfds = tree_put_pollfds,
    .cancel = tree_put_cancel,
    .close = tree_put_close,
};
