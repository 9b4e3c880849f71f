/* SPDX-License-Identifier: MIT */
/* READ_FILE, a chunk at a time. */
#include "agent/verb.h"

#include <errno.h>
#include <fcntl.h>

#include "agent/util.h"
#include "open-file.h"

enum { READ_ROUNDS = 4 };

struct file_read {
    int fd;
    bool seeks;         /* `at` is passed to pread(2): for an offset, and for nothing that cannot seek */
    uint64_t at, bytes; /* where the next piece begins; sent so far */
    uint64_t left;      /* PV_READ_ALL: to the end */
    char path[PV_PATH_MAX];
};

AG_STATE(file_read, file_read_state)

/*
 * Reads while the output buffer has room; one call suffices for most files.  Each large piece is sent
 * before the next is read, so that all go through the same memory, which stays in the CPU's cache.  After
 * READ_ROUNDS pieces the loop gets its turn for PING and CANCEL.
 */
static void read_chunks(struct ag_session *s)
{
    struct file_read *f = file_read_state(s);

    for (int i = 0; i < READ_ROUNDS && ag_data_room(s);) {
        size_t max = f->left < PV_CHUNK ? (size_t)f->left : PV_CHUNK;
        ssize_t n = max ? ag_reply_data(s, PV_MSG_DATA, f->fd, f->seeks ? (int64_t)f->at : -1, max) : 0;

        if (n > 0) {
            f->bytes += (uint64_t)n;
            f->at += (uint64_t)n;
            if (f->left != PV_READ_ALL)
                f->left -= (uint64_t)n;
            if (n >= AG_PACKET) /* a smaller piece may share its packet with OK */
                ag_reply_send(s);
            i++;
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            ag_request_fail(s, errno, "read '%s'", f->path);
        } else {
            ag_reply_ok(s, s->id, f->bytes);
            ag_request_end(s);
        }
        return;
    }
}

static bool file_read_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    struct file_read *f = file_read_state(s);
    struct stat st;

    (void)id;
    pv_dec_str(d, f->path, sizeof(f->path));
    f->at = pv_dec_u64(d);
    f->left = pv_dec_u64(d);
    if (!pv_dec_done(d) || f->at > INT64_MAX - UINT32_MAX)
        return false;
    f->bytes = 0;
    f->seeks = f->at > 0;
    f->fd = ag_open_file(f->path, O_RDONLY, 0, &st);
    if (f->fd < 0)
        ag_request_fail(s, errno, "open '%s'", f->path);
    else if (!S_ISFIFO(st.st_mode)) /* a FIFO without a writer reads as ended: let poll wait for one */
        read_chunks(s);
    return true;
}

static void file_read_pollfds(struct ag_session *s, struct pollfd *p, bool stalled)
{
    (void)stalled;
    if (ag_data_room(s))
        p[0] = (struct pollfd){.fd = file_read_state(s)->fd, .events = POLLIN};
}

static void file_read_more(struct ag_session *s, const struct pollfd *p)
{
    if (p[0].revents)
        read_chunks(s);
}

static void file_read_cancel(struct ag_session *s)
{
    ag_request_fail(s, ECANCELED, "read '%s'", file_read_state(s)->path);
}

static void file_read_close(struct ag_session *s)
{
    ag_close(&file_read_state(s)->fd);
}

const struct ag_verb ag_verb_file_read = {
    .message = PV_MSG_READ_FILE,
    .start = file_read_start,
    .pollfds = file_read_pollfds,
    .more = file_read_more,
    .cancel = file_read_cancel,
    .close = file_read_close,
};
