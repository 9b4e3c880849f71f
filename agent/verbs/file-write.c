/* SPDX-License-Identifier: MIT */
/* WRITE_FILE. */
#include "agent/verb.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/util.h"
#include "open-file.h"

struct file_write {
    int fd;
    uint32_t mode;
    bool regular;
    enum { UNKNOWN, IN_PARTS, WHOLE } how; /* whether one WDATA may take several writes */
    uint64_t bytes;
    uint64_t before; /* size of the file that is added to */
    char path[PV_PATH_MAX];
};

AG_STATE(file_write, file_write_state)

static bool file_write_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    struct file_write *f = file_write_state(s);
    uint32_t mode = pv_dec_u32(d), flags = pv_dec_u32(d);
    int how = flags & PV_WRITE_APPEND ? O_APPEND : O_TRUNC;
    struct stat st;

    (void)id;
    pv_dec_str(d, f->path, sizeof(f->path));
    if (!pv_dec_done(d) || (mode != PV_MODE_KEEP && mode & ~(uint32_t)07777) ||
        flags & ~(uint32_t)PV_WRITE_APPEND)
        return false;
    f->mode = mode;
    f->bytes = 0;
    f->how = UNKNOWN;
    /* The umask is 0.  The file gets its set-id bits at the end, when its content is complete. */
    f->fd = ag_open_file(f->path, O_WRONLY | O_CREAT | how, mode == PV_MODE_KEEP ? 0644 : mode & 0777, &st);
    f->regular = f->fd >= 0 && S_ISREG(st.st_mode);
    f->before = f->regular ? (uint64_t)st.st_size : 0;
    if (f->fd < 0)
        ag_request_fail(s, errno, "open '%s'", f->path);
    return true;
}

static void file_write_finish(struct ag_session *s)
{
    struct file_write *f = file_write_state(s);
    const char *action = "chmod";
    int r = f->mode == PV_MODE_KEEP ? 0 : fchmod(f->fd, f->mode);

    if (r == 0) {
        action = "close";
        r = close(f->fd);
        f->fd = -1;
    }
    if (r < 0) {
        ag_request_fail(s, errno, "%s '%s'", action, f->path);
        return;
    }
    ag_reply_ok(s, s->id, f->bytes);
    ag_request_end(s);
}

/* Returns how many bytes were written; *e: 0: all; EAGAIN: the file takes no more now; or the error. */
static size_t write_bytes(struct file_write *f, const uint8_t *data, size_t n, int *e)
{
    size_t done = 0;

    *e = 0;
    while (done < n && !*e) {
        ssize_t r = write(f->fd, data + done, n - done);

        if (r > 0)
            done += (size_t)r;
        else if (r == 0)
            *e = EIO;
        else if (errno != EINTR)
            *e = errno;
    }
    f->bytes += done;
    return done;
}

static void write_fail(struct ag_session *s, int e)
{
    ag_request_fail(s, e, "write '%s'", file_write_state(s)->path);
}

static enum ag_step wdata_take(struct ag_session *s, struct pv_dec *d)
{
    size_t n;
    const uint8_t *data = pv_dec_bytes(d, &n);
    int e;

    if (n == 0) {
        file_write_finish(s);
        return AG_DONE;
    }
    s->in.done += write_bytes(file_write_state(s), data + s->in.done, n - s->in.done, &e);
    if (e == EAGAIN)
        return AG_WAIT;
    if (e)
        write_fail(s, e);
    return AG_DONE;
}

/* A file system that only stores data: unlike in /proc, the size of each write makes no difference. */
static bool is_on_data_fs(int fd)
{
    static const long data_fs[] = {TMPFS_MAGIC,     RAMFS_MAGIC,           EXT4_SUPER_MAGIC,
                                   XFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC};
    struct statfs st;

    if (fstatfs(fd, &st) < 0)
        return false;
    for (size_t i = 0; i < sizeof(data_fs) / sizeof(data_fs[0]); i++)
        if ((long)st.f_type == data_fs[i])
            return true;
    return false;
}

static bool wdata_in_parts(struct ag_session *s)
{
    struct file_write *f = file_write_state(s);

    if (f->how == UNKNOWN)
        f->how = f->regular && is_on_data_fs(f->fd) ? IN_PARTS : WHOLE;
    return f->how == IN_PARTS;
}

static size_t wdata_take_part(struct ag_session *s, const uint8_t *data, size_t n, bool last)
{
    struct file_write *f = file_write_state(s);
    size_t done;
    int e;

    if (!last) { /* whole pages only: the kernel would look up a page that is cut twice */
        size_t over = (f->before + f->bytes + n) % 4096;

        n = over < n ? n - over : 0;
    }
    done = write_bytes(f, data, n, &e);
    if (e)
        write_fail(s, e);
    return done;
}

static void file_write_pollfds(struct ag_session *s, struct pollfd *p, bool stalled)
{
    if (stalled)
        p[0] = (struct pollfd){.fd = file_write_state(s)->fd, .events = POLLOUT};
}

static void file_write_cancel(struct ag_session *s)
{
    ag_request_fail(s, ECANCELED, "write '%s'", file_write_state(s)->path);
}

static void file_write_close(struct ag_session *s)
{
    ag_close(&file_write_state(s)->fd);
}

const struct ag_verb ag_verb_file_write = {
    .message = PV_MSG_WRITE_FILE,
    .start = file_write_start,
    .input = {{.message = PV_MSG_WDATA,
               .valid = ag_bytes_valid,
               .take = wdata_take,
               .in_parts = wdata_in_parts,
               .take_part = wdata_take_part}},
    .pollfds = file_write_pollfds,
    .cancel = file_write_cancel,
    .close = file_write_close,
};
