/* SPDX-License-Identifier: MIT */
/*
 * The kernel unpacks entries in the archive's order: a directory must come before its content, and an entry
 * for an existing path silently changes it or is dropped.  So the paths are sorted and each directory is
 * written once.  If two injections have the same path, an explicit path wins over the content of an injected
 * directory, and two explicit paths are refused.
 */
#include "image/suppl-files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/err.h"
#include "util/path.h"
#include "wire/proto.h"

struct item {
    char *path; /* "/etc/config", normalised; "" is the root */
    const struct pv_suppl_file *file;
    const char *host; /* its path, or a description of it for messages */
    struct stat st;
};

struct inject {
    struct pv_newc *w;
    struct item *v;
    size_t n;
    struct pv_strv dirs; /* guest directories written so far */
};

static void inject_fini(struct inject *in)
{
    for (size_t i = 0; i < in->n; i++)
        free(in->v[i].path);
    free(in->v);
    pv_strv_free(&in->dirs);
}

/* ---- guest paths ---- */

/* strcmp with '/' before every other byte: a directory's content sorts right behind it. */
static int path_cmp(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    if (*a == *b)
        return 0;
    return (*a == '/' ? 1 : (unsigned char)*a) - (*b == '/' ? 1 : (unsigned char)*b);
}

static int item_cmp(const void *a, const void *b)
{
    return path_cmp(((const struct item *)a)->path, ((const struct item *)b)->path);
}

/* True if `path` is below `dir`. */
static bool is_below(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return !strncmp(path, dir, n) && path[n] == '/';
}

/* `guest` without doubled and trailing '/' and without "."; NULL with err set.  The caller frees. */
static char *normalise_guest_path(const char *guest, struct pv_err *err)
{
    cleanup_buf struct pv_buf b = {0};

    if (guest[0] != '/') {
        pv_err_set(err, PV_E_USAGE, "guest path '%s' is not absolute: it must begin with '/'", guest);
        return NULL;
    }
    pv_buf_adds(&b, "");
    for (const char *p = guest; *p;) {
        size_t n = strcspn(++p, "/");

        if (n == 2 && !strncmp(p, "..", 2)) {
            pv_err_set(err, PV_E_USAGE, "guest path '%s' holds '..'", guest);
            return NULL;
        }
        if (n && !(n == 1 && *p == '.')) {
            pv_buf_addc(&b, '/');
            pv_buf_add(&b, p, n);
        }
        p += n;
    }
    if (b.len && (!strcmp(b.data, PV_BOOT_DIR) || is_below(b.data, PV_BOOT_DIR))) {
        pv_err_set(err, PV_E_USAGE, "guest path '%s' is Provium's own", guest);
        return NULL;
    }
    return pv_xstrdup(b.data ? b.data : "");
}

/* Opens and stats an injected host path.  A descriptor, or -1. */
static int open_host(const char *host, const char *guest, struct stat *st, struct pv_err *err)
{
    /* O_NONBLOCK: opening a fifo must not block. */
    cleanup_close int fd = open(host, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return pv_err_set_at(err, PV_E_USAGE, errno, __FILE__, __LINE__,
                             "cannot open '%s' (to be injected as '%s'): %s", host, guest, strerror(errno));
    if (fstat(fd, st) < 0)
        return pv_err_sys(err, errno, "cannot stat '%s'", host);
    if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode))
        return pv_err_set(err, PV_E_USAGE, "'%s' (to be injected as '%s') is neither a file nor a directory",
                          host, guest);
    return pv_steal_fd(&fd);
}

static int check_item(struct item *it, const struct pv_suppl_file *f, struct pv_err *err)
{
    size_t n = strlen(f->guest_path);
    cleanup_close int fd = -1;

    it->file = f;
    it->host = f->host_path ? f->host_path : "given by its content";
    it->path = normalise_guest_path(f->guest_path, err);
    if (!it->path)
        return -1;
    it->st.st_mode = S_IFREG;
    if (f->host_path && (fd = open_host(f->host_path, f->guest_path, &it->st, err)) < 0)
        return -1;
    if (f->has_owner && !S_ISREG(it->st.st_mode))
        return pv_err_set(
            err, PV_E_USAGE,
            "mode, uid and gid of guest path '%s' are for a file, but '%s' is a directory; inject it "
            "as a plain path",
            f->guest_path, f->host_path);
    if (S_ISREG(it->st.st_mode) && (f->guest_path[n - 1] == '/' || !it->path[0]))
        return pv_err_set(err, PV_E_USAGE, "guest path '%s' names a directory, but '%s' is a file",
                          f->guest_path, it->host);
    return 0;
}

static int check_items(const struct inject *in, struct pv_err *err)
{
    for (size_t i = 1; i < in->n; i++) {
        const struct item *a = &in->v[i - 1], *b = &in->v[i];

        if (!strcmp(a->path, b->path))
            return pv_err_set(err, PV_E_USAGE, "guest path '%s' is given twice ('%s' and '%s')", b->path,
                              a->host, b->host);
        /* The items are sorted: a path below a file is the file's neighbour. */
        if (S_ISREG(a->st.st_mode) && is_below(b->path, a->path))
            return pv_err_set(err, PV_E_USAGE, "guest path '%s' is below '%s', which is a file ('%s')",
                              b->path, a->path, a->host);
    }
    return 0;
}

static const struct item *find_item(const struct inject *in, const char *path)
{
    struct item key = {.path = (char *)(uintptr_t)path};

    return in->n ? bsearch(&key, in->v, in->n, sizeof(key), item_cmp) : NULL;
}

/* An injected path below `path`, or NULL. */
static const struct item *find_below(const struct inject *in, const char *path)
{
    size_t lo = 0, hi = in->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (path_cmp(in->v[mid].path, path) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < in->n && is_below(in->v[lo].path, path) ? &in->v[lo] : NULL;
}

/* ---- writing ---- */

static bool dir_written(const struct inject *in, const char *path)
{
    /* From the end, because a parent is nearly always among the last directories. */
    for (size_t i = in->dirs.n; i-- > 0;)
        if (!strcmp(in->dirs.v[i], path))
            return true;
    return false;
}

static int put_dir(struct inject *in, const char *path, unsigned mode, time_t mtime, struct pv_err *err)
{
    cleanup_free char *full = pv_xasprintf(PV_BOOT_FILES "%s", path);

    pv_strv_add(&in->dirs, path);
    return pv_newc_dir(in->w, full, mode, mtime, err);
}

/* Writes the directories above `path` that are not written yet. */
static int put_parents(struct inject *in, const char *path, struct pv_err *err)
{
    cleanup_free char *p = pv_xstrdup(path);

    if (!*p) /* the root */
        return 0;
    for (char *s = strchr(p + 1, '/'); s; s = strchr(s + 1, '/')) {
        *s = '\0';
        if (!dir_written(in, p) && put_dir(in, p, 0755, 0, err) < 0)
            return -1;
        *s = '/';
    }
    return 0;
}

static int put_tree(struct inject *in, const char *path, const char *host, int fd, const struct stat *st,
                    struct pv_err *err);

static const char *type_name(mode_t mode)
{
    return S_ISFIFO(mode) ? "a fifo" : S_ISSOCK(mode) ? "a socket" : "a device";
}

static int put_link(struct inject *in, const char *full, const char *host, int dirfd, const char *name,
                    const struct stat *st, struct pv_err *err)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);

    if (n < 0)
        return pv_err_sys(err, errno, "cannot read the link '%s'", host);
    target[n] = '\0';
    return pv_newc_symlink(in->w, full, target, st->st_mtime, err);
}

/* Writes entry `name` of the host directory dirfd as guest path `path`. */
static int put_entry(struct inject *in, const char *path, const char *host, int dirfd, const char *name,
                     struct pv_err *err)
{
    cleanup_free char *full = pv_xasprintf(PV_BOOT_FILES "%s", path);
    const struct item *own = find_item(in, path), *below;
    cleanup_close int fd = -1;
    struct stat st;

    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return pv_err_sys(err, errno, "cannot stat '%s'", host);
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode))
        return pv_err_set(err, PV_E_USAGE,
                          "'%s' is %s: only files, directories and symbolic links can be injected", host,
                          type_name(st.st_mode));
    if (own)
        return 0; /* the explicit injection of this path wins */
    below = S_ISDIR(st.st_mode) ? NULL : find_below(in, path);
    if (below)
        return pv_err_set(err, PV_E_USAGE, "guest path '%s' is below '%s', which is no directory ('%s')",
                          below->path, path, host);
    if (S_ISLNK(st.st_mode))
        return put_link(in, full, host, dirfd, name, &st, err);
    fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return pv_err_set_at(err, PV_E_USAGE, errno, __FILE__, __LINE__,
                             "cannot open '%s' (to be injected): %s", host, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return put_tree(in, path, host, fd, &st, err);
    return pv_newc_fd(in->w, full, st.st_mode, fd, host, err);
}

static int name_cmp(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All names in the directory, sorted, so that equal trees give equal archives. */
static int list_dir(int fd, const char *host, struct pv_strv *names, struct pv_err *err)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *de;
    int rc = 0;

    if (!d) {
        pv_err_sys(err, errno, "cannot read directory '%s'", host);
        pv_close(&copy);
        return -1;
    }
    for (errno = 0; (de = readdir(d)) != NULL; errno = 0)
        if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
            pv_strv_add(names, de->d_name);
    if (errno)
        rc = pv_err_sys(err, errno, "cannot read directory '%s'", host);
    closedir(d);
    if (names->n)
        qsort(names->v, names->n, sizeof(names->v[0]), name_cmp);
    return rc;
}

static int put_tree(struct inject *in, const char *path, const char *host, int fd, const struct stat *st,
                    struct pv_err *err)
{
    cleanup_strv struct pv_strv names = {0};

    if (path[0] && put_dir(in, path, st->st_mode, st->st_mtime, err) < 0)
        return -1;
    if (list_dir(fd, host, &names, err) < 0)
        return -1;
    for (size_t i = 0; i < names.n; i++) {
        cleanup_free char *guest = pv_xasprintf("%s/%s", path, names.v[i]);
        cleanup_free char *from = pv_path_join(host, names.v[i]);

        if (put_entry(in, guest, from, fd, names.v[i], err) < 0)
            return -1;
    }
    return 0;
}

/* Writes a single file, of the host's descriptor fd or, with -1, of the item's content. */
static int put_file(struct inject *in, const struct item *it, int fd, mode_t host_mode, struct pv_err *err)
{
    cleanup_free char *full = pv_xasprintf(PV_BOOT_FILES "%s", it->path);
    const struct pv_suppl_file *f = it->file;
    mode_t mode = f->has_owner && f->mode != PV_SUPPL_KEEP ? f->mode : host_mode;
    int r;

    in->w->uid = f->has_owner ? f->uid : 0;
    in->w->gid = f->has_owner ? f->gid : 0;
    r = fd < 0 ? pv_newc_bytes(in->w, full, mode, f->content, f->content_n, err)
               : pv_newc_fd(in->w, full, mode, fd, it->host, err);
    in->w->uid = in->w->gid = 0;
    return r;
}

static int put_item(struct inject *in, const struct item *it, struct pv_err *err)
{
    cleanup_close int fd = -1;
    struct stat st = {.st_mode = 0644};

    if (put_parents(in, it->path, err) < 0)
        return -1;
    if (it->file->host_path && (fd = open_host(it->host, it->path, &st, err)) < 0)
        return -1;
    if (S_ISDIR(st.st_mode))
        return put_tree(in, it->path, it->host, fd, &st, err);
    return put_file(in, it, fd, st.st_mode, err);
}

int pv_suppl_put_files(struct pv_newc *w, const struct pv_suppl_file *files, size_t n, struct pv_err *err)
{
    __attribute__((cleanup(inject_fini))) struct inject in = {.w = w};

    in.v = pv_xcalloc(n + 1, sizeof(in.v[0]));
    for (in.n = 0; in.n < n; in.n++)
        if (check_item(&in.v[in.n], &files[in.n], err) < 0) {
            in.n++; /* inject_fini frees this item's path too */
            return -1;
        }
    if (n)
        qsort(in.v, n, sizeof(in.v[0]), item_cmp);
    if (check_items(&in, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (put_item(&in, &in.v[i], err) < 0)
            return -1;
    return 0;
}
