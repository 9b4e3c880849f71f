/* SPDX-License-Identifier: MIT */
#include "util/path.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/err.h"

char *pv_path_join(const char *dir, const char *path)
{
    size_t n = strlen(dir);

    if (path[0] == '/')
        return pv_xstrdup(path);
    return pv_xasprintf("%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", path);
}

char *pv_path_dirname(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return pv_xstrdup(".");
    if (slash == path)
        return pv_xstrdup("/");
    return pv_xstrndup(path, (size_t)(slash - path));
}

const char *pv_path_basename(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

char *pv_realpath(const char *path)
{
    char *real = realpath(path, NULL);

    if (!real && errno == ENOMEM)
        pv_out_of_memory();
    return real;
}

bool pv_path_is_below(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return !strncmp(path, dir, n) && (n == 0 || dir[n - 1] == '/' || path[n] == '/' || !path[n]);
}

int pv_mkdir_p(const char *path, unsigned mode, struct pv_err *err)
{
    cleanup_free char *p = pv_xstrdup(path);

    for (char *s = p + 1;; s++) {
        char c = *s;

        if (c != '/' && c != '\0')
            continue;
        *s = '\0';
        if (mkdir(p, mode) < 0 && errno != EEXIST)
            return pv_err_sys(err, errno, "cannot make directory '%s'", p);
        *s = c;
        if (!c)
            return 0;
    }
}

int pv_read_fd(int fd, const char *path, size_t max, struct pv_buf *buf, struct pv_err *err)
{
    size_t total = 0;

    for (;;) {
        ssize_t n = read(fd, pv_buf_reserve(buf, 65536), 65536);

        if (n < 0) {
            if (errno == EINTR)
                continue;
            return pv_err_sys(err, errno, "cannot read '%s'", path);
        }
        if (n == 0)
            break;
        buf->len += (size_t)n;
        total += (size_t)n;
        if (total > max)
            return pv_err_set(err, PV_E_USAGE, "'%s' is larger than %zu bytes", path, max);
    }
    buf->data[buf->len] = '\0';
    return 0;
}

int pv_read_file(const char *path, size_t max, struct pv_buf *buf, struct pv_err *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return pv_err_sys(err, errno, "cannot open '%s'", path);
    return pv_read_fd(fd, path, max, buf, err);
}

int pv_write_all(int fd, const void *data, size_t n)
{
    const char *p = data;

    while (n) {
        ssize_t w = write(fd, p, n);

        if (w < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

ssize_t pv_pread_all(int fd, void *data, size_t n, off_t at)
{
    size_t got = 0;

    while (got < n) {
        ssize_t r = pread(fd, (char *)data + got, n - got, at + (off_t)got);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -1;
        if (r == 0)
            break;
        got += (size_t)r;
    }
    return (ssize_t)got;
}

int pv_pwrite_all(int fd, const void *data, size_t n, off_t at)
{
    const char *p = data;

    while (n) {
        ssize_t w = pwrite(fd, p, n, at);

        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return -1;
        p += w;
        at += w;
        n -= (size_t)w;
    }
    return 0;
}

char *pv_self_dir(void)
{
    char buf[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", buf, sizeof(buf) - 1);

    if (n <= 0)
        return NULL;
    buf[n] = '\0';
    return pv_path_dirname(buf);
}

static int remove_node(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int pv_rm_rf(const char *path)
{
    if (nftw(path, remove_node, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 && errno != ENOENT)
        return -1;
    return 0;
}

void pv_env_absolute(const char *name)
{
    const char *value = getenv(name);
    cleanup_free char *cwd = value && *value && *value != '/' ? getcwd(NULL, 0) : NULL;

    if (cwd) {
        cleanup_free char *path = pv_path_join(cwd, value);

        setenv(name, path, 1);
    }
}

const char *pv_temp_dir(void)
{
    const char *dir = getenv("TMPDIR");

    return dir && *dir ? dir : "/var/tmp";
}

int pv_temp_file(const char *dir)
{
    cleanup_free char *path = NULL;
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0)
        return fd;
    path = pv_path_join(dir, "provium-XXXXXX");
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

int pv_temp_file_open(struct pv_err *err)
{
    int fd = pv_temp_file(pv_temp_dir());

    if (fd < 0) {
        pv_err_sys(err, errno, "cannot make a temporary file in '%s'", pv_temp_dir());
        pv_err_append(err, "; set TMPDIR to a directory that you can write to");
    }
    return fd;
}
