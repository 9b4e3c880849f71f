/* SPDX-License-Identifier: MIT */
#include "image/newc.h"

#include <assert.h>
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

/* The fields of a header, in their order, each eight hex digits. */
enum {
    NEWC_INO, /* 0: no hard links */
    NEWC_MODE,
    NEWC_UID,
    NEWC_GID,
    NEWC_NLINK,
    NEWC_MTIME,
    NEWC_SIZE,
    NEWC_MAJOR,
    NEWC_MINOR,
    NEWC_RMAJOR,
    NEWC_RMINOR,
    NEWC_NAMESIZE,
    NEWC_CHECK,
    NEWC_FIELDS
};

static const char zeros[4];

/* Headers with their names, and contents, are padded to a multiple of four bytes. */
static unsigned padding(size_t n)
{
    return -(unsigned)n & 3;
}

/* Writes header, name and padding of an entry.  The padding of the entry before it comes first, in the same write. */
static int put_header(struct pv_newc *w, const char *name, const uint32_t fields[static NEWC_FIELDS],
                      struct pv_err *err)
{
    cleanup_buf struct pv_buf b = {0};

    assert(!w->left);
    pv_buf_add(&b, zeros, w->pad);
    pv_buf_adds(&b, "070701");
    for (int i = 0; i < NEWC_FIELDS; i++)
        pv_buf_addf(&b, "%08" PRIx32, fields[i]);
    pv_buf_add(&b, name, strlen(name) + 1);
    pv_buf_add(&b, zeros, padding(b.len - w->pad));
    w->left = fields[NEWC_SIZE];
    w->pad = padding(w->left);
    return pv_write_all(w->out, b.data, b.len) < 0
               ? pv_err_sys(err, errno, "cannot write '%s' into the initramfs", name)
               : 0;
}

/* Content of the entry whose header was written last. */
static int put_bytes(struct pv_newc *w, const void *data, size_t n, struct pv_err *err)
{
    assert(n <= w->left);
    w->left -= (uint32_t)n;
    return pv_write_all(w->out, data, n) < 0 ? pv_err_sys(err, errno, "cannot write into the initramfs") : 0;
}

void pv_newc_init(struct pv_newc *w, int out)
{
    *w = (struct pv_newc){.out = out};
}

int pv_newc_finish(struct pv_newc *w, struct pv_err *err)
{
    return put_header(w, "TRAILER!!!", (const uint32_t[NEWC_FIELDS]){[NEWC_NLINK] = 1, [NEWC_NAMESIZE] = 11},
                      err);
}

void pv_newc_fini(struct pv_newc *w)
{
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
static uint32_t clamp_time(time_t t)
{
    return t < 0 ? 0 : t > (time_t)UINT32_MAX ? UINT32_MAX : (uint32_t)t;
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
    uint32_t size = n->target ? (uint32_t)strlen(n->target) : (uint32_t)n->size;
    const uint32_t fields[NEWC_FIELDS] = {
        [NEWC_MODE] = n->mode,
        [NEWC_UID] = w->uid,
        [NEWC_GID] = w->gid,
        [NEWC_NLINK] = 1,
        [NEWC_MTIME] = clamp_time(n->mtime),
        [NEWC_SIZE] = size,
        [NEWC_RMAJOR] = major(n->rdev),
        [NEWC_RMINOR] = minor(n->rdev),
        [NEWC_NAMESIZE] = (uint32_t)strlen(n->path), /* with its NUL, without the leading slash */
    };

    if (check_name(n->path, err) < 0 || put_header(w, n->path + 1, fields, err) < 0)
        return -1;
    record_begin(w, n);
    return n->target ? put_bytes(w, n->target, size, err) : 0;
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
    record_add(w, data, n);
    return put_bytes(w, data, n, err);
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
