/* SPDX-License-Identifier: MIT */
#include "image/newc.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"
#include "wire/proto.h"

enum {
    CHUNK = 256 << 10,
    UNSIZED_FILE_MAX = 64 << 20, /* content of a file whose st_size is 0 (/proc, /sys) */
};

static int newc_failed(struct pv_newc *w, const char *path, struct pv_err *err)
{
    const char *why = archive_error_string(w->a);

    return pv_err_set_at(err, PV_E_HOST, archive_errno(w->a), __FILE__, __LINE__,
                         "cannot write '%s' into the initramfs: %s", path, why ? why : "unknown reason");
}

static la_ssize_t write_out(struct archive *a, void *arg, const void *data, size_t n)
{
    struct pv_newc *w = arg;

    if (!w->discard && pv_write_all(w->out, data, n) < 0) {
        archive_set_error(a, errno, "%s", strerror(errno));
        return -1;
    }
    return (la_ssize_t)n;
}

int pv_newc_init(struct pv_newc *w, int out, struct pv_err *err)
{
    w->out = out;
    w->discard = false;
    w->uid = w->gid = 0;
    w->sums = (struct pv_buf){0};
    w->a = archive_write_new();
    if (!w->a)
        return pv_err_set(err, PV_E_HOST, "cannot start libarchive: out of memory");
    /* No blocking and no padding: the archive ends with its trailer. */
    if (archive_write_set_format_cpio_newc(w->a) != ARCHIVE_OK ||
        archive_write_set_bytes_per_block(w->a, 0) != ARCHIVE_OK ||
        archive_write_set_bytes_in_last_block(w->a, 1) != ARCHIVE_OK ||
        archive_write_open(w->a, w, NULL, write_out, NULL) != ARCHIVE_OK)
        return newc_failed(w, "/", err);
    return 0;
}

int pv_newc_finish(struct pv_newc *w, struct pv_err *err)
{
    return archive_write_close(w->a) == ARCHIVE_OK ? 0 : newc_failed(w, "TRAILER!!!", err);
}

void pv_newc_fini(struct pv_newc *w)
{
    /* Not archive_write_fail: libarchive 3.6 leaks its buffers then. */
    w->discard = true;
    if (w->a)
        archive_write_free(w->a);
    w->a = NULL;
    pv_buf_free(&w->sums);
}

/* The kernel drops entries with longer names silently (init/initramfs.c), so here they are an error. */
static int check_name(const char *path, struct pv_err *err)
{
    if (strlen(path) >= PATH_MAX)
        return pv_err_set(err, PV_E_USAGE, "guest path is longer than %d bytes: '%.200s...'", PATH_MAX - 1,
                          path);
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");

        if (n > NAME_MAX)
            return pv_err_set(err, PV_E_USAGE, "guest path has a name of more than %d bytes: '%.200s...'",
                              NAME_MAX, p);
        p += n + (p[n] == '/');
    }
    return 0;
}

/* newc's mtime has 32 bits. */
static time_t clamp_time(time_t t)
{
    return t < 0 ? 0 : t > (time_t)UINT32_MAX ? (time_t)UINT32_MAX : t;
}

struct node {
    const char *path;
    unsigned mode; /* with the type */
    time_t mtime;
    uint64_t size;
    const char *target;
    dev_t rdev;
};

/* Begins the record of an entry; record_add fills in its digest. */
static void record_begin(struct pv_newc *w, const struct node *n)
{
    char type = S_ISDIR(n->mode) ? PV_SUMS_DIR : S_ISLNK(n->mode) ? PV_SUMS_LINK : PV_SUMS_FILE;

    if (!S_ISDIR(n->mode) && !S_ISLNK(n->mode) && !S_ISREG(n->mode))
        return;
    pv_wire_sum_init(&w->sum);
    if (n->target)
        pv_wire_sum_add(&w->sum, n->target, strlen(n->target));
    w->record = w->sums.len;
    pv_buf_addf(&w->sums, PV_SUMS_FORMAT "%s", type, n->target ? (uint64_t)strlen(n->target) : n->size,
                pv_wire_sum_end(&w->sum), n->path);
    pv_buf_addc(&w->sums, '\0');
}

static void record_add(struct pv_newc *w, const void *data, size_t n)
{
    char digest[17];

    pv_wire_sum_add(&w->sum, data, n);
    snprintf(digest, sizeof(digest), "%016" PRIx64, pv_wire_sum_end(&w->sum));
    memcpy(w->sums.data + w->record + PV_SUMS_PATH - 16, digest, 16);
}

static int put_node(struct pv_newc *w, const struct node *n, struct pv_err *err)
{
    struct archive_entry *e;
    int rc;

    if (check_name(n->path, err) < 0)
        return -1;
    e = archive_entry_new();
    if (!e)
        return pv_err_set(err, PV_E_HOST, "cannot write into the initramfs: out of memory");
    archive_entry_set_pathname(e, n->path + 1);
    archive_entry_set_mode(e, (mode_t)n->mode);
    archive_entry_set_uid(e, w->uid);
    archive_entry_set_gid(e, w->gid);
    archive_entry_set_mtime(e, clamp_time(n->mtime), 0);
    archive_entry_set_size(e, (la_int64_t)n->size);
    archive_entry_set_nlink(e, 1);
    if (n->target)
        archive_entry_set_symlink(e, n->target);
    if (S_ISCHR(n->mode))
        archive_entry_set_rdev(e, n->rdev);
    rc = archive_write_header(w->a, e);
    archive_entry_free(e);
    record_begin(w, n);
    return rc == ARCHIVE_OK ? 0 : newc_failed(w, n->path, err);
}

int pv_newc_dir(struct pv_newc *w, const char *path, unsigned mode, time_t mtime, struct pv_err *err)
{
    struct node n = {.path = path, .mode = S_IFDIR | (mode & 07777), .mtime = mtime};

    return put_node(w, &n, err);
}

int pv_newc_symlink(struct pv_newc *w, const char *path, const char *target, time_t mtime, struct pv_err *err)
{
    struct node n = {.path = path, .mode = S_IFLNK | 0777, .mtime = mtime, .target = target};

    return put_node(w, &n, err);
}

int pv_newc_chardev(struct pv_newc *w, const char *path, unsigned mode, unsigned major, unsigned minor,
                    struct pv_err *err)
{
    struct node n = {.path = path, .mode = S_IFCHR | (mode & 07777), .rdev = makedev(major, minor)};

    return put_node(w, &n, err);
}

int pv_newc_file(struct pv_newc *w, const char *path, unsigned mode, time_t mtime, uint64_t size,
                 struct pv_err *err)
{
    struct node n = {.path = path, .mode = S_IFREG | (mode & 07777), .mtime = mtime, .size = size};

    if (size > UINT32_MAX)
        return pv_err_set(err, PV_E_USAGE,
                          "'%s' has %llu bytes; an initramfs holds files below 4 GiB (give it as a disk)",
                          path, (unsigned long long)size);
    return put_node(w, &n, err);
}

int pv_newc_data(struct pv_newc *w, const void *data, size_t n, struct pv_err *err)
{
    const char *p = data;

    record_add(w, data, n);
    while (n) {
        la_ssize_t done = archive_write_data(w->a, p, n);

        if (done <= 0)
            return newc_failed(w, "data", err);
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

int pv_newc_bytes(struct pv_newc *w, const char *path, unsigned mode, const void *data, size_t n,
                  struct pv_err *err)
{
    return pv_newc_file(w, path, mode, 0, n, err) < 0 ? -1 : pv_newc_data(w, data, n, err);
}

int pv_newc_sums(struct pv_newc *w, const struct pv_newc *next, struct pv_err *err)
{
    cleanup_buf struct pv_buf sums = w->sums;

    w->sums = (struct pv_buf){0};
    if (next)
        pv_buf_add(&sums, next->sums.data, next->sums.len);
    return pv_newc_bytes(w, PV_BOOT_SUMS, 0644, sums.data, sums.len, err);
}

static ssize_t read_some(int fd, void *buf, size_t n)
{
    ssize_t got;

    do
        got = read(fd, buf, n);
    while (got < 0 && errno == EINTR);
    return got;
}

/* A regular file with st_size 0: files of /proc and /sys have content nevertheless. */
static int put_unsized(struct pv_newc *w, const char *path, unsigned mode, const struct stat *st, int fd,
                       const char *host, struct pv_err *err)
{
    cleanup_buf struct pv_buf b = {0};

    for (;;) {
        ssize_t n = read_some(fd, pv_buf_reserve(&b, CHUNK), CHUNK);

        if (n < 0)
            return pv_err_sys(err, errno, "cannot read '%s'", host);
        if (n == 0)
            break;
        b.len += (size_t)n;
        if (b.len > UNSIZED_FILE_MAX)
            return pv_err_set(err, PV_E_USAGE, "'%s' says that it is empty and has no end", host);
    }
    if (pv_newc_file(w, path, mode, st->st_mtime, b.len, err) < 0)
        return -1;
    return pv_newc_data(w, b.data, b.len, err);
}

int pv_newc_fd(struct pv_newc *w, const char *path, unsigned mode, int fd, const char *host,
               struct pv_err *err)
{
    cleanup_free char *buf = NULL;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return pv_err_sys(err, errno, "cannot stat '%s'", host);
    if (!st.st_size)
        return put_unsized(w, path, mode, &st, fd, host, err);
    if (pv_newc_file(w, path, mode, st.st_mtime, (uint64_t)st.st_size, err) < 0)
        return -1;
    buf = pv_xmalloc(CHUNK);
    for (uint64_t left = (uint64_t)st.st_size; left;) {
        ssize_t n = read_some(fd, buf, left < CHUNK ? (size_t)left : CHUNK);

        if (n < 0)
            return pv_err_sys(err, errno, "cannot read '%s'", host);
        if (n == 0)
            return pv_err_set(err, PV_E_USAGE, "'%s' became shorter while it was read", host);
        if (pv_newc_data(w, buf, (size_t)n, err) < 0)
            return -1;
        left -= (uint64_t)n;
    }
    return 0;
}
