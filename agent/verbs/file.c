/* SPDX-License-Identifier: MIT */
/* READ_FILE and WRITE_FILE, a chunk at a time, so that PING and CANCEL get through in between. */
#include "agent/session.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/*
 * O_NONBLOCK: opening a FIFO without a writer, or a device, must not hold up the session; regular files do
 * not care.
 */
static int open_file(struct ag_session *s, int flags, mode_t mode)
{
    struct ag_file *f = &s->file;
    struct stat st;

    f->bytes = 0;
    f->fd = open(f->path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, mode);
    if (f->fd < 0)
        return -1;
    if (fstat(f->fd, &st) < 0 || S_ISDIR(st.st_mode)) {
        close(f->fd);
        f->fd = -1;
        errno = EISDIR;
        return -1;
    }
    f->regular = S_ISREG(st.st_mode);
    f->fifo = S_ISFIFO(st.st_mode);
    return 0;
}

void ag_read_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    pv_dec_str(d, s->file.path, sizeof(s->file.path));
    if (!pv_dec_done(d)) {
        ag_reply_error(s, id, EPROTO, "malformed READ_FILE");
        return;
    }
    if (open_file(s, O_RDONLY, 0) < 0) {
        ag_reply_error(s, id, errno, "open '%s'", s->file.path);
        return;
    }
    s->req = AG_READ;
    s->id = id;
    if (!s->file.fifo) /* no writer yet is not the end: poll tells when there has been one */
        ag_read_more(s);
}

/*
 * Takes up what there is room for; most files are done with the first call.  Each piece is sent before the
 * next one is read, so they go through the same memory, which stays in the CPU's cache; PING and CANCEL are
 * looked for after a few of them even if the host takes them all.
 */
void ag_read_more(struct ag_session *s)
{
    enum { ROUNDS = 4 };
    struct ag_file *f = &s->file;

    for (int i = 0; i < ROUNDS && ag_data_room(s);) {
        ssize_t n = ag_pump(s, PV_MSG_DATA, f->fd, -1, PV_CHUNK);

        if (n > 0) {
            f->bytes += (uint64_t)n;
            if (n >= AG_PACKET) /* else the answer may go with it */
                ag_send(s);
            i++;
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            ag_reply_error(s, s->id, errno, "read '%s'", f->path);
        else
            ag_reply_ok(s, s->id, f->bytes);
        ag_request_end(s);
        return;
    }
}

void ag_write_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    struct ag_file *f = &s->file;
    uint32_t mode = pv_dec_u32(d);

    pv_dec_str(d, f->path, sizeof(f->path));
    if (!pv_dec_done(d) || (mode != PV_MODE_KEEP && mode & ~(uint32_t)07777)) {
        ag_reply_error(s, id, EPROTO, "malformed WRITE_FILE");
        return;
    }
    f->mode = mode;
    /* The umask is 0. Set-id bits come only when the content is there. */
    if (open_file(s, O_WRONLY | O_CREAT | O_TRUNC, mode == PV_MODE_KEEP ? 0644 : mode & 0777) < 0) {
        ag_reply_error(s, id, errno, "open '%s'", f->path);
        return;
    }
    f->how = AG_UNKNOWN;
    s->req = AG_WRITE;
    s->id = id;
}

static void write_finish(struct ag_session *s)
{
    struct ag_file *f = &s->file;
    const char *what = "chmod";
    int r = f->mode == PV_MODE_KEEP ? 0 : fchmod(f->fd, f->mode);

    if (r == 0) {
        what = "close";
        r = close(f->fd);
        f->fd = -1;
    }
    if (r < 0)
        ag_reply_error(s, s->id, errno, "%s '%s'", what, f->path);
    else
        ag_reply_ok(s, s->id, f->bytes);
    ag_request_end(s);
}

/* Writes all of it: how much was taken; *e: 0, EAGAIN (it takes no more now), or what went wrong. */
static size_t put(struct ag_file *f, const uint8_t *data, size_t n, int *e)
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

static void write_failed(struct ag_session *s, int e)
{
    ag_reply_error(s, s->id, e, "write '%s'", s->file.path);
    ag_request_end(s);
}

enum ag_step ag_write_data(struct ag_session *s, const uint8_t *data, size_t n)
{
    int e;

    if (n == 0) {
        write_finish(s);
        return AG_DONE;
    }
    s->head_done += put(&s->file, data + s->head_done, n - s->head_done, &e);
    if (e == EAGAIN)
        return AG_WAIT;
    if (e)
        write_failed(s, e);
    return AG_DONE;
}

/* A file system of data, unlike /proc: in which pieces a file comes to be is nobody's business there. */
static bool on_plain_fs(int fd)
{
    static const long plain[] = {TMPFS_MAGIC,     RAMFS_MAGIC,           EXT4_SUPER_MAGIC,
                                 XFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC};
    struct statfs st;

    if (fstatfs(fd, &st) < 0)
        return false;
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        if ((long)st.f_type == plain[i])
            return true;
    return false;
}

bool ag_write_pieces(struct ag_session *s)
{
    struct ag_file *f = &s->file;

    if (f->how == AG_UNKNOWN)
        f->how = f->regular && on_plain_fs(f->fd) ? AG_PIECES : AG_WHOLE;
    return f->how == AG_PIECES;
}

size_t ag_write_some(struct ag_session *s, const uint8_t *data, size_t n, bool last)
{
    struct ag_file *f = &s->file;
    size_t done;
    int e;

    if (!last) { /* a page that is cut would be looked for twice */
        size_t over = (f->bytes + n) % 4096;

        n = over < n ? n - over : 0;
    }
    done = put(f, data, n, &e);
    if (e)
        write_failed(s, e);
    return done;
}
