/* SPDX-License-Identifier: MIT */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pvsave/pvsave.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/path.h"

enum { CHUNK = 1 << 20 };

struct pv_pvsave_writer {
    struct archive *a;
    int fd;
    char *hidden, *path; /* the name until the commit, and the one from then on */
    uint64_t max, written;
    int64_t deadline;
    char chunk[CHUNK];
};

/* libarchive's callback: the compressed bytes. */
static la_ssize_t archive_on_write(struct archive *a, void *arg, const void *data, size_t n)
{
    struct pv_pvsave_writer *w = arg;

    if (w->written + n > w->max) {
        archive_set_error(a, EFBIG, "it would be larger than %llu MiB", (unsigned long long)(w->max >> 20));
        return -1;
    }
    if (pv_write_all(w->fd, data, n) < 0) {
        archive_set_error(a, errno, "%s", strerror(errno));
        return -1;
    }
    w->written += n;
    return (la_ssize_t)n;
}

static int writer_failed(struct pv_pvsave_writer *w, struct pv_err *err)
{
    const char *why = archive_error_string(w->a);

    return pv_err_set(err, PV_E_HOST, "cannot write '%s': %s", w->path, why ? why : "libarchive failed");
}

struct pv_pvsave_writer *pv_pvsave_begin(const char *dir, const char *name, uint64_t max, int64_t deadline,
                                         struct pv_err *err)
{
    struct pv_pvsave_writer *w;

    if (pv_mkdir_p(dir, 0777, err) < 0)
        return NULL;
    w = pv_xcalloc(1, sizeof(*w));
    w->max = max;
    w->deadline = deadline;
    w->path = pv_xasprintf("%s/%s%s", dir, name, PV_PVSAVE_SUFFIX);
    w->hidden = pv_xasprintf("%s/.%s.%d", dir, name, (int)getpid());
    /* memory of a guest: for this user only */
    w->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (w->fd < 0)
        w->fd = open(w->hidden, O_CREAT | O_TRUNC | O_NOFOLLOW | O_RDWR | O_CLOEXEC, 0600);
    if (w->fd < 0) {
        pv_err_sys(err, errno, "cannot make a file in '%s'", dir);
        pv_pvsave_writer_free(w);
        return NULL;
    }
    w->a = archive_write_new();
    if (w->a && archive_write_set_format_pax(w->a) == ARCHIVE_OK &&
        archive_write_add_filter_zstd(w->a) == ARCHIVE_OK &&
        archive_write_set_filter_option(w->a, "zstd", "compression-level", "1") == ARCHIVE_OK &&
        archive_write_set_bytes_in_last_block(w->a, 1) == ARCHIVE_OK && /* no zeros behind the zstd frame */
        archive_write_open(w->a, w, NULL, archive_on_write, NULL) == ARCHIVE_OK)
        return w;
    writer_failed(w, err);
    pv_pvsave_writer_free(w);
    return NULL;
}

static struct archive_entry *entry_make(const char *name, uint64_t size)
{
    struct archive_entry *e = archive_entry_new();

    archive_entry_set_pathname(e, name);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0600);
    archive_entry_set_size(e, (la_int64_t)size);
    return e;
}

int pv_pvsave_add_text(struct pv_pvsave_writer *w, const char *entry, const char *text, size_t n,
                       struct pv_err *err)
{
    struct archive_entry *e = entry_make(entry, n);
    bool good = archive_write_header(w->a, e) == ARCHIVE_OK &&
                (n == 0 || archive_write_data(w->a, text, n) == (la_ssize_t)n) &&
                archive_write_finish_entry(w->a) == ARCHIVE_OK;

    archive_entry_free(e);
    return good ? 0 : writer_failed(w, err);
}

/* Tells the entry where the file has data; its length is known already. */
static int entry_add_data_ranges(struct archive_entry *e, int fd, off_t size)
{
    off_t data = 0, hole;
    bool any = false;

    while (data < size && (data = lseek(fd, data, SEEK_DATA)) >= 0) {
        hole = lseek(fd, data, SEEK_HOLE);
        if (hole < 0)
            return -1;
        archive_entry_sparse_add_entry(e, data, hole - data);
        any = true;
        data = hole;
    }
    if (data < 0 && errno != ENXIO)
        return -1;
    if (!any && size > 0) /* nothing but a hole */
        archive_entry_sparse_add_entry(e, size, 0);
    return 0;
}

/* libarchive drops the bytes that are in no range. */
static int file_write(struct pv_pvsave_writer *w, int fd, off_t size, struct pv_err *err)
{
    for (off_t at = 0; at < size;) {
        size_t n = size - at < CHUNK ? (size_t)(size - at) : CHUNK;
        off_t data = lseek(fd, at, SEEK_DATA);

        if (pv_now() >= w->deadline)
            return pv_err_set(err, PV_E_TIMEOUT, "cannot write '%s' in time", w->path);
        if (data < 0 && errno != ENXIO)
            return pv_err_sys(err, errno, "cannot read a saved file");
        if (data < 0 || data >= at + (off_t)n)
            memset(w->chunk, 0, n);
        else if (pv_pread_all(fd, w->chunk, n, at) != (ssize_t)n)
            return pv_err_set(err, PV_E_HOST, "cannot read a saved file");
        if (archive_write_data(w->a, w->chunk, n) < 0)
            return writer_failed(w, err);
        at += (off_t)n;
    }
    return 0;
}

int pv_pvsave_add_file(struct pv_pvsave_writer *w, const char *entry, int fd, struct pv_err *err)
{
    struct archive_entry *e;
    struct stat st;
    int r;

    if (fstat(fd, &st) < 0)
        return pv_err_sys(err, errno, "cannot stat a saved file");
    e = entry_make(entry, (uint64_t)st.st_size);
    r = entry_add_data_ranges(e, fd, st.st_size) < 0  ? pv_err_sys(err, errno, "cannot read a saved file")
        : archive_write_header(w->a, e) != ARCHIVE_OK ? writer_failed(w, err)
                                                      : file_write(w, fd, st.st_size, err);
    archive_entry_free(e);
    if (r == 0 && archive_write_finish_entry(w->a) != ARCHIVE_OK)
        return writer_failed(w, err);
    return r;
}

/* Gives the file its hidden name if it has none yet. */
static int file_link(const struct pv_pvsave_writer *w)
{
    char self[64];
    struct stat st;

    if (fstat(w->fd, &st) < 0)
        return -1;
    if (st.st_nlink)
        return 0;
    unlink(w->hidden);
    snprintf(self, sizeof(self), "/proc/self/fd/%d", w->fd);
    return linkat(AT_FDCWD, self, AT_FDCWD, w->hidden, AT_SYMLINK_FOLLOW);
}

char *pv_pvsave_commit(struct pv_pvsave_writer *w, struct pv_err *err)
{
    if (pv_pvsave_add_text(w, "end", "", 0, err) < 0)
        return NULL;
    if (archive_write_close(w->a) != ARCHIVE_OK) {
        writer_failed(w, err);
        return NULL;
    }
    if (fsync(w->fd) < 0 || file_link(w) < 0 || rename(w->hidden, w->path) < 0) {
        pv_err_sys(err, errno, "cannot write '%s'", w->path);
        return NULL;
    }
    free(pv_steal(&w->hidden));
    return pv_steal(&w->path);
}

void pv_pvsave_writer_free(struct pv_pvsave_writer *w)
{
    if (!w)
        return;
    w->max = UINT64_MAX; /* libarchive flushes into the file, which goes */
    archive_write_free(w->a);
    pv_close(&w->fd);
    if (w->hidden)
        unlink(w->hidden);
    free(w->hidden);
    free(w->path);
    free(w);
}
