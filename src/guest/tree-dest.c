/* SPDX-License-Identifier: MIT */
/* The host's side of a pull, with the guarantees of tree.h. */
#include "guest/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/err.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/path.h"

/* Without set-user-ID and set-group-ID: a guest must not leave setuid programs on the host. */
enum { MODE_MASK = 01777 };

void pv_dest_init(struct pv_dest *d, const char *path, uint64_t max_entries, uint64_t max_size)
{
    mode_t mask = umask(0777);

    umask(mask);
    *d = (struct pv_dest){
        .path = path, .fd = -1, .max_entries = max_entries, .max_size = max_size, .mask = MODE_MASK & ~mask};
}

void pv_dest_fini(struct pv_dest *d)
{
    pv_close(&d->fd);
    while (d->depth)
        pv_close(&d->dir[--d->depth].fd);
}

const char *pv_dest_show(const char *name, char out[static 256])
{
    size_t n = 0;

    for (; n < 255 && name[n]; n++)
        out[n] = (unsigned char)name[n] < 0x20 || name[n] == 0x7f ? '?' : name[n];
    out[n] = '\0';
    return out;
}

static int dest_host_error(const struct pv_dest *d, const char *what, const char *name, struct pv_err *err)
{
    char show[256];
    int e = errno;

    return pv_err_sys(err, e, "pull: cannot %s '%s%s%s'", what, d->path, name[0] ? "/" : "",
                      pv_dest_show(name, show));
}

/* Completes the current file. */
static int dest_finish_file(struct pv_dest *d, struct pv_err *err)
{
    int r = 0;

    if (d->fd < 0)
        return 0;
    if (d->sparse && ftruncate(d->fd, (off_t)d->at) < 0)
        r = dest_host_error(d, "make room for", d->file, err);
    if (r == 0 && fchmod(d->fd, d->file_mode) < 0)
        r = dest_host_error(d, "set the mode of", d->file, err);
    /* Some file systems report a full disk only at close. */
    if (close(d->fd) < 0 && errno != EINTR && r == 0)
        r = dest_host_error(d, "write", d->file, err);
    d->fd = -1;
    return r;
}

static int dest_leave_dir(struct pv_dest *d, struct pv_err *err)
{
    int i = d->depth - 1, r = 0;

    if (d->dir[i].mode >= 0 && fchmod(d->dir[i].fd, (mode_t)d->dir[i].mode) < 0)
        r = dest_host_error(d, "set the mode of", d->name, err);
    pv_close(&d->dir[i].fd);
    d->depth = i;
    d->name[i ? d->dir[i - 1].len : 0] = '\0';
    return r;
}

/* Takes fd. d->name is extended to name. */
static int dest_enter_dir(struct pv_dest *d, int fd, const char *name, int32_t mode, struct pv_err *err)
{
    if (d->depth == PV_TREE_DEPTH) {
        close(fd);
        return pv_err_set(err, PV_E_PROTOCOL, "pull to '%s': directories are nested more than %d deep",
                          d->path, PV_TREE_DEPTH);
    }
    memmove(d->name, name, strlen(name) + 1);
    d->dir[d->depth].fd = fd;
    d->dir[d->depth].len = strlen(name);
    d->dir[d->depth++].mode = mode;
    return 0;
}

static int dest_bad_name(const struct pv_dest *d, const char *name, const char *why, struct pv_err *err)
{
    char show[256];

    return pv_err_set(err, PV_E_PROTOCOL, "pull to '%s': the guest sent the entry '%s', %s", d->path,
                      pv_dest_show(name, show), why);
}

/* Accepts only names that stay below the destination. */
static int dest_check_name(const struct pv_dest *d, const char *name, struct pv_err *err)
{
    const char *p = name;

    if (!*name != (d->entries == 0))
        return dest_bad_name(d, name, *name ? "but not the thing itself first" : "twice", err);
    if (d->single)
        return dest_bad_name(d, name, "below something that is no directory", err);
    while (*name) {
        size_t n = strcspn(p, "/");

        if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return dest_bad_name(d, name, "which leads out of the destination", err);
        if (n > NAME_MAX)
            return dest_bad_name(d, name, "which has a part that is too long for a file name", err);
        if (!p[n])
            break;
        p += n + 1;
    }
    return 0;
}

/* True when `name` is in the directory whose name has len bytes (0: the destination). */
static bool dest_is_below(const struct pv_dest *d, const char *name, size_t len)
{
    return len == 0 || (!strncmp(name, d->name, len) && name[len] == '/');
}

/* Opens the directory that holds name; *leaf is the last part of it. */
static int dest_enter_parent(struct pv_dest *d, const char *name, const char **leaf, struct pv_err *err)
{
    char part[PV_PATH_MAX];
    const char *slash;
    size_t len;

    while (!dest_is_below(d, name, d->dir[d->depth - 1].len))
        if (dest_leave_dir(d, err) < 0)
            return -1;
    len = d->dir[d->depth - 1].len;
    *leaf = name + len + (len > 0);
    while ((slash = strchr(*leaf, '/'))) {
        size_t n = (size_t)(slash - *leaf);
        int fd;

        memcpy(part, *leaf, n);
        part[n] = '\0';
        fd = openat(d->dir[d->depth - 1].fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
            return dest_bad_name(d, name, "which is in no directory that it sent before", err);
        if (fd < 0)
            return dest_host_error(d, "open the directory of", name, err);
        memcpy(part, name, (size_t)(slash - name));
        part[slash - name] = '\0';
        if (dest_enter_dir(d, fd, part, -1, err) < 0)
            return -1;
        *leaf = slash + 1;
    }
    return 0;
}

/* Unlinks an existing file of that name, unless it is a directory. */
static int dest_clear_way(const struct pv_dest *d, int at, const char *leaf, const char *name,
                          struct pv_err *err)
{
    if (unlinkat(at, leaf, 0) == 0 || errno == ENOENT)
        return 0;
    /* Linux says EISDIR, POSIX EPERM. */
    if (errno == EPERM || errno == EISDIR) {
        struct stat st;

        if (fstatat(at, leaf, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
            errno = EISDIR;
    }
    return dest_host_error(d, "replace", name, err);
}

static int dest_make_dir(struct pv_dest *d, int at, const char *leaf, const char *name, mode_t mode,
                         struct pv_err *err)
{
    int32_t final = (int32_t)mode;
    int fd;

    if (mkdirat(at, leaf, 0700) < 0) {
        struct stat st;

        if (errno != EEXIST || fstatat(at, leaf, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return dest_host_error(d, "make the directory", name, err);
        final = -1;
        if (!S_ISDIR(st.st_mode)) {
            final = (int32_t)mode;
            /* A file at the caller's own path is not replaced by a tree; one inside of it is. */
            errno = ENOTDIR;
            if (!*name)
                return dest_host_error(d, "make the directory", name, err);
            if (dest_clear_way(d, at, leaf, name, err) < 0)
                return -1;
            if (mkdirat(at, leaf, 0700) < 0)
                return dest_host_error(d, "make the directory", name, err);
        }
    }
    fd = openat(at, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return dest_host_error(d, "open the directory", name, err);
    return dest_enter_dir(d, fd, name, final, err);
}

static int dest_make_entry(struct pv_dest *d, int at, const char *leaf, unsigned kind, mode_t mode,
                           const char *name, const char *target, struct pv_err *err)
{
    if (kind == PV_ENTRY_DIR)
        return dest_make_dir(d, at, leaf, name, mode, err);
    if (dest_clear_way(d, at, leaf, name, err) < 0)
        return -1;
    if (kind == PV_ENTRY_LINK) {
        if (symlinkat(target, at, leaf) < 0)
            return dest_host_error(d, "make the symbolic link", name, err);
        return 0;
    }
    d->fd = openat(at, leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (d->fd < 0)
        return dest_host_error(d, "make", name, err);
    d->file_mode = mode;
    d->at = 0;
    d->sparse = false;
    memmove(d->file, name, strlen(name) + 1);
    return 0;
}

/* The destination itself; the directory that it is in is the caller's business, links and all. */
static int dest_make_top(struct pv_dest *d, unsigned kind, mode_t mode, const char *target,
                         struct pv_err *err)
{
    cleanup_free char *path = pv_xstrdup(d->path), *parent = NULL;
    cleanup_close int at = -1;
    size_t n = strlen(path);

    while (n > 1 && path[n - 1] == '/')
        path[--n] = '\0';
    parent = pv_path_dirname(path);
    at = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0) {
        int e = errno;

        return pv_err_sys(err, e, "pull: cannot open the directory '%s'", parent);
    }
    d->single = kind != PV_ENTRY_DIR;
    return dest_make_entry(d, at, strcmp(path, "/") != 0 ? pv_path_basename(path) : ".", kind, mode, "",
                           target, err);
}

static int dest_check_count(const struct pv_dest *d, struct pv_err *err)
{
    if (d->entries == d->max_entries)
        return pv_err_set(err, PV_E_GUEST,
                          "pull to '%s': the tree has more entries than max_entries, which is %" PRIu64
                          " here: raise it, or pull a part of the tree",
                          d->path, d->max_entries);
    return 0;
}

int pv_dest_entry(struct pv_dest *d, unsigned kind, uint32_t mode, const char *name, const char *target,
                  struct pv_err *err)
{
    const char *leaf;

    if (dest_finish_file(d, err) < 0 || dest_check_name(d, name, err) < 0 || dest_check_count(d, err) < 0)
        return -1;
    if (kind != PV_ENTRY_DIR && kind != PV_ENTRY_FILE && kind != PV_ENTRY_LINK)
        return dest_bad_name(d, name, "which is of no known kind", err);
    if (mode > 07777 || (kind == PV_ENTRY_LINK) != (*target != '\0'))
        return dest_bad_name(d, name, "which is malformed", err);
    mode &= d->mask;
    if (!*name) {
        if (dest_make_top(d, kind, mode, target, err) < 0)
            return -1;
    } else if (dest_enter_parent(d, name, &leaf, err) < 0 ||
               dest_make_entry(d, d->dir[d->depth - 1].fd, leaf, kind, mode, name, target, err) < 0) {
        return -1;
    }
    d->entries++;
    return 0;
}

int pv_dest_skipped(struct pv_dest *d, const char *name, struct pv_err *err)
{
    const char *leaf = strrchr(name, '/');

    if (!*name || d->single)
        return dest_bad_name(d, name, "which it can only send or fail", err);
    if (d->fd >= 0 && !strcmp(name, d->file)) {
        pv_close(&d->fd);
        if (unlinkat(d->dir[d->depth - 1].fd, leaf ? leaf + 1 : name, 0) < 0)
            return dest_host_error(d, "remove the incomplete", name, err);
    }
    if (dest_finish_file(d, err) < 0 || dest_check_name(d, name, err) < 0 || dest_check_count(d, err) < 0)
        return -1;
    d->entries++;
    return 0;
}

static int dest_no_file(struct pv_err *err)
{
    return pv_err_set(err, PV_E_PROTOCOL, "the guest sent data that belongs to no file");
}

static int dest_too_large(struct pv_dest *d, struct pv_err *err)
{
    char show[256];

    return pv_err_set(err, PV_E_PROTOCOL, "pull: the guest sent more than a file can hold for '%s'",
                      pv_dest_show(d->file, show));
}

int pv_dest_data(struct pv_dest *d, const void *data, size_t n, struct pv_err *err)
{
    char size[32];

    if (d->fd < 0)
        return dest_no_file(err);
    if (n > INT64_MAX - d->at)
        return dest_too_large(d, err);
    if (n > d->max_size - d->size)
        return pv_err_set(
            err, PV_E_GUEST,
            "pull to '%s': the files have more bytes than max_size, which is %s here: raise it, "
            "or pull a part of the tree",
            d->path, pv_format_size(d->max_size, size));
    d->size += n;
    while (n) {
        ssize_t w = pwrite(d->fd, data, n, (off_t)d->at);

        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return dest_host_error(d, "write", d->file, err);
        data = (const char *)data + w;
        n -= (size_t)w;
        d->at += (uint64_t)w;
        d->sparse = false;
    }
    return 0;
}

int pv_dest_hole(struct pv_dest *d, uint64_t n, struct pv_err *err)
{
    if (d->fd < 0)
        return dest_no_file(err);
    if (n > INT64_MAX - d->at)
        return dest_too_large(d, err);
    d->at += n;
    d->sparse = d->sparse || n;
    return 0;
}

int pv_dest_end(struct pv_dest *d, struct pv_err *err)
{
    if (d->entries == 0)
        return pv_err_set(err, PV_E_PROTOCOL, "pull to '%s': the guest sent nothing", d->path);
    if (dest_finish_file(d, err) < 0)
        return -1;
    while (d->depth)
        if (dest_leave_dir(d, err) < 0)
            return -1;
    return 0;
}
