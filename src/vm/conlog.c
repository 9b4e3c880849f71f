/* SPDX-License-Identifier: MIT */
/*
 * The file is: head, and once the head is full a mark, the number of bytes that are left out, the tail.  During
 * a run the tail is a ring in memory, so that the file always reads in order; between runs it is only in the
 * file.
 */
#include "vm/conlog.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/path.h"

struct pv_conlog {
    char *path;
    int fd;          /* -1: no run, or the file cannot be written to */
    bool begun;      /* the file was made */
    off_t at;        /* where the head, or the mark behind it, ends */
    size_t head_len; /* bytes of the VM in it */
    char *ring;      /* PV_CONLOG_TAIL bytes; NULL until the head is full, and between runs */
    uint64_t ringed; /* bytes that went into the ring, ever */
};

struct pv_conlog *pv_conlog_new(const char *path)
{
    struct pv_conlog *l;

    if (!path)
        return NULL;
    l = pv_xcalloc(1, sizeof(*l));
    l->path = pv_xstrdup(path);
    l->fd = -1;
    return l;
}

const char *pv_conlog_path(const struct pv_conlog *l)
{
    return l && l->begun ? l->path : NULL;
}

static void log_fail(struct pv_conlog *l)
{
    pv_debug("console", "the log %s cannot be written to and ends: %s", l->path, strerror(errno));
    pv_close(&l->fd);
}

static void head_write(struct pv_conlog *l, const void *data, size_t n)
{
    if (l->fd < 0)
        return;
    if (pv_pwrite_all(l->fd, data, n, l->at) < 0)
        log_fail(l);
    l->at += (off_t)n;
}

/* ---- the tail ---- */

static size_t ring_kept(const struct pv_conlog *l)
{
    return l->ringed < PV_CONLOG_TAIL ? (size_t)l->ringed : PV_CONLOG_TAIL;
}

/* The n-th kept byte and those behind it that lie in one piece: their number. */
static size_t ring_piece(const struct pv_conlog *l, size_t n, char **piece)
{
    size_t at = (size_t)((l->ringed - ring_kept(l) + n) % PV_CONLOG_TAIL);
    size_t room = PV_CONLOG_TAIL - at, left = ring_kept(l) - n;

    *piece = l->ring + at;
    return left < room ? left : room;
}

static void ring_add(struct pv_conlog *l, const char *data, size_t n)
{
    if (n > PV_CONLOG_TAIL) {
        l->ringed += n - PV_CONLOG_TAIL;
        data += n - PV_CONLOG_TAIL;
        n = PV_CONLOG_TAIL;
    }
    while (n) {
        size_t at = l->ringed % PV_CONLOG_TAIL, room = PV_CONLOG_TAIL - at;
        size_t part = n < room ? n : room;

        memcpy(l->ring + at, data, part);
        l->ringed += part;
        data += part;
        n -= part;
    }
}

static void ring_open(struct pv_conlog *l)
{
    static const char mark[] = "\n[provium: this log is full; what comes now is held in memory, and the last "
                               "of it is written here when the VM ends]\n";

    if (l->ring)
        return;
    if (!l->ringed)
        head_write(l, mark, sizeof(mark) - 1);
    l->ring = pv_xmalloc(PV_CONLOG_TAIL);
}

/* Reads the tail that the last run wrote.  The file keeps it until the end of this run replaces it. */
static int ring_load(struct pv_conlog *l)
{
    off_t end = lseek(l->fd, 0, SEEK_END);
    size_t kept = ring_kept(l), part;
    char *piece;

    if (!kept)
        return 0;
    if (end < l->at + (off_t)kept) {
        errno = EIO;
        return -1;
    }
    ring_open(l);
    for (size_t n = 0; n < kept; n += part) {
        part = ring_piece(l, n, &piece);
        if (pv_pread_all(l->fd, piece, part, end - (off_t)(kept - n)) != (ssize_t)part)
            return -1;
    }
    return 0;
}

static void tail_write(struct pv_conlog *l)
{
    uint64_t left_out = l->ringed - ring_kept(l);
    size_t kept = ring_kept(l), part;
    off_t at = l->at;
    char text[80], *piece;
    int n =
        left_out ? snprintf(text, sizeof(text), "[provium: %" PRIu64 " bytes are left out]\n", left_out) : 0;

    if (pv_pwrite_all(l->fd, text, (size_t)n, at) < 0) {
        log_fail(l);
        return;
    }
    at += n;
    for (size_t i = 0; i < kept; i += part, at += (off_t)part) {
        part = ring_piece(l, i, &piece);
        if (pv_pwrite_all(l->fd, piece, part, at) < 0) {
            log_fail(l);
            return;
        }
    }
    if (ftruncate(l->fd, at) < 0)
        log_fail(l);
}

/* ---- runs ---- */

static int log_open(const struct pv_conlog *l)
{
    if (l->begun)
        return open(l->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    unlink(l->path);
    return open(l->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}

int pv_conlog_begin(struct pv_conlog *l, struct pv_err *err)
{
    static const char mark[] = "\n[provium: the VM runs anew]\n";

    if (!l || l->fd >= 0)
        return 0;
    l->fd = log_open(l);
    if (l->fd < 0 || ring_load(l) < 0) {
        pv_err_sys(err, errno, "cannot open console log '%s'", l->path);
        pv_conlog_end(l);
        return -1;
    }
    if (l->head_len)
        pv_conlog_feed(l, mark, sizeof(mark) - 1);
    l->begun = true;
    return 0;
}

void pv_conlog_feed(struct pv_conlog *l, const void *data, size_t n)
{
    size_t room, part;

    if (!l || l->fd < 0)
        return;
    room = PV_CONLOG_HEAD - l->head_len;
    part = n < room ? n : room;
    head_write(l, data, part);
    l->head_len += part;
    if (n == part)
        return;
    ring_open(l);
    ring_add(l, (const char *)data + part, n - part);
}

void pv_conlog_end(struct pv_conlog *l)
{
    if (!l)
        return;
    if (l->ring && l->fd >= 0)
        tail_write(l);
    free(pv_steal(&l->ring));
    pv_close(&l->fd);
}

void pv_conlog_free(struct pv_conlog *l)
{
    if (!l)
        return;
    pv_conlog_end(l);
    free(l->path);
    free(l);
}

void pv_conlog_discard(struct pv_conlog *l)
{
    if (!l || !l->begun || l->head_len)
        return;
    pv_conlog_end(l);
    unlink(l->path);
    l->begun = false;
}

void pv_conlog_move(struct pv_conlog *from, struct pv_conlog *to)
{
    char buf[65536], *piece;
    struct pv_err err;
    size_t part;

    if (!from)
        return;
    if (pv_conlog_begin(to, &err) < 0)
        pv_debug("console", "%s", err.text);
    for (size_t at = 0; from->fd >= 0 && at < from->head_len; at += part) {
        part = from->head_len - at < sizeof(buf) ? from->head_len - at : sizeof(buf);
        if (pv_pread_all(from->fd, buf, part, (off_t)at) != (ssize_t)part)
            log_fail(from);
        else
            pv_conlog_feed(to, buf, part);
    }
    for (size_t n = 0; from->ring && n < ring_kept(from); n += part) {
        part = ring_piece(from, n, &piece);
        pv_conlog_feed(to, piece, part);
    }
    free(pv_steal(&from->ring));
    pv_close(&from->fd);
    unlink(from->path);
    from->begun = false;
}
