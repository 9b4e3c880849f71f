/* SPDX-License-Identifier: MIT */
/*
 * FOLLOW: bytes as they are appended to a file.  The file is looked at every POLL_MS: inotify is not in every
 * kernel, and knows nothing of files that another machine or the kernel itself writes.
 */
#include "agent/verb.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/util.h"
#include "open-file.h"

enum { POLL_MS = 50, READ_ROUNDS = 4 };

struct follow {
    int fd;
    bool seekable;
    bool sized; /* st_size is the number of bytes, unlike in /proc */
    int64_t at;
    int64_t due;
    char path[PV_PATH_MAX];
};

AG_STATE(follow, follow_state)

static int follow_open(struct follow *f, struct stat *st)
{
    int fd = ag_open_file(f->path, O_RDONLY, 0, st);
    struct statfs fs = {0};

    if (fd < 0)
        return -1;
    fstatfs(fd, &fs);
    f->seekable = lseek(fd, 0, SEEK_CUR) >= 0;
    f->sized = S_ISREG(st->st_mode) && fs.f_type != PROC_SUPER_MAGIC && fs.f_type != SYSFS_MAGIC;
    return fd;
}

/* Sends what the file has behind f->at.  True at its end, false when there may be more. */
static bool send_appended(struct ag_session *s, struct follow *f)
{
    for (int i = 0; i < READ_ROUNDS; i++) {
        ssize_t n;

        if (!ag_data_room(s))
            return false;
        n = ag_reply_data(s, PV_MSG_DATA, f->fd, f->seekable ? f->at : -1, PV_CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            ag_request_fail(s, errno, "read '%s'", f->path);
        if (n <= 0)
            return true;
        f->at += n;
    }
    return false;
}

/* At the end of the file: begins anew if it is shorter now, or if the path is another file. */
static void look_for_change(struct follow *f)
{
    struct stat now, st;
    int fd;

    if (fstat(f->fd, &now) < 0)
        return;
    if (f->sized && now.st_size < f->at) {
        f->at = 0;
        return;
    }
    if (stat(f->path, &st) < 0 || (st.st_dev == now.st_dev && st.st_ino == now.st_ino) || now.st_size > f->at)
        return;
    fd = follow_open(f, &st);
    if (fd < 0)
        return;
    close(f->fd);
    f->fd = fd;
    f->at = 0;
}

static void follow_more(struct ag_session *s, const struct pollfd *p)
{
    struct follow *f = follow_state(s);

    (void)p;
    if (ag_now() < f->due)
        return;
    f->due = 0;
    if (!send_appended(s, f) || !s->verb)
        return;
    look_for_change(f);
    f->due = ag_now() + POLL_MS * INT64_C(1000000);
}

/* Sets f->at; -1 with errno when the offset is behind the end. */
static int follow_seek(struct follow *f, uint32_t from, uint64_t offset, const struct stat *st)
{
    f->at = from == PV_FOLLOW_END && f->sized ? st->st_size : 0;
    if (from == PV_FOLLOW_END && f->seekable && !f->sized)
        f->at = lseek(f->fd, 0, SEEK_END) > 0 ? lseek(f->fd, 0, SEEK_CUR) : 0;
    if (from != PV_FOLLOW_OFFSET)
        return 0;
    if (offset > INT64_MAX || (f->sized && (int64_t)offset > st->st_size)) {
        errno = EINVAL;
        return -1;
    }
    f->at = (int64_t)offset;
    return 0;
}

static bool follow_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    struct follow *f = follow_state(s);
    uint32_t from = pv_dec_u32(d);
    uint64_t offset = pv_dec_u64(d);
    struct stat st;
    struct pv_enc e;

    f->fd = -1;
    f->due = 0;
    pv_dec_str(d, f->path, sizeof(f->path));
    if (!pv_dec_done(d) || from > PV_FOLLOW_OFFSET)
        return false;
    f->fd = follow_open(f, &st);
    if (f->fd < 0) {
        ag_request_fail(s, errno, "open '%s'", f->path);
        return true;
    }
    if (follow_seek(f, from, offset, &st) < 0) {
        ag_request_fail(s, errno, "follow '%s' from offset %llu: it has %lld bytes", f->path,
                        (unsigned long long)offset, (long long)st.st_size);
        return true;
    }
    e = ag_frame_begin(s, PV_MSG_STARTED, 64);
    pv_enc_u32(&e, id);
    pv_enc_u32(&e, 0);
    ag_frame_end(s, &e);
    return true;
}

/* While the output buffer is full, its sending wakes the loop. */
static int64_t follow_due(struct ag_session *s)
{
    return ag_data_room(s) ? follow_state(s)->due : INT64_MAX;
}

static void follow_cancel(struct ag_session *s)
{
    ag_request_fail(s, ECANCELED, "follow '%s'", follow_state(s)->path);
}

static void follow_close(struct ag_session *s)
{
    ag_close(&follow_state(s)->fd);
}

const struct ag_verb ag_verb_follow = {
    .message = PV_MSG_FOLLOW,
    .start = follow_start,
    .due = follow_due,
    .more = follow_more,
    .cancel = follow_cancel,
    .close = follow_close,
};
