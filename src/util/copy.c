/* SPDX-License-Identifier: MIT */
#include "util/copy.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

enum { COPY_CHUNK = 1 << 20 };

/* read(2) and write(2), for pairs of file systems that copy_file_range(2) refuses. */
static int copy_by_hand(int from, int to, off_t at, off_t end)
{
    cleanup_free char *buf = pv_xmalloc(COPY_CHUNK);

    while (at < end) {
        size_t want = end - at < COPY_CHUNK ? (size_t)(end - at) : COPY_CHUNK;
        ssize_t n = pv_pread_all(from, buf, want, at);

        if (n < 0 || pv_pwrite_all(to, buf, (size_t)n, at) < 0)
            return -1;
        if (n == 0)
            return 0; /* the file became shorter; callers that need its size check it */
        at += n;
    }
    return 0;
}

static int copy_range(int from, int to, off_t at, off_t end)
{
    loff_t in = at, out = at;

    while (in < end) {
        ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(end - in), 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP ||
                      errno == EBADF || errno == ETXTBSY))
            return copy_by_hand(from, to, in, end);
        if (n < 0)
            return -1;
        if (n == 0)
            return 0;
    }
    return 0;
}

int pv_copy_sparse(int from, int to, struct pv_err *err)
{
    struct stat st;
    off_t at = 0;

    if (ioctl(to, FICLONE, from) == 0)
        return 0;
    if (fstat(from, &st) < 0 || ftruncate(to, st.st_size) < 0)
        return pv_err_sys(err, errno, "cannot copy a file");
    while (at < st.st_size) {
        off_t data = lseek(from, at, SEEK_DATA), hole;

        if (data < 0 && errno == ENXIO)
            break; /* the rest is a hole */
        hole = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);
        if (hole < 0) { /* the file system does not report holes */
            data = at;
            hole = st.st_size;
        }
        if (copy_range(from, to, data, hole) < 0)
            return pv_err_sys(err, errno, "cannot copy a file");
        at = hole;
    }
    return 0;
}
