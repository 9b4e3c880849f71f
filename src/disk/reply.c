/* SPDX-License-Identifier: MIT */
/*
 * The NBD server's output: bytes that wait for the socket, and the replies to requests.  All numbers are big-endian.
 *
 *     simple  u32 magic, u32 error, u64 cookie, data of a read
 *     chunk   u32 magic, u16 flags, u16 type, u64 cookie, u32 length of what follows:
 *             data: u64 offset, bytes; hole: u64 offset, u32 bytes of zeroes; error: u32 error, u16 length of a text
 *
 * A client that asked for structured replies gets the reply to a read in chunks, all others are simple.
 */
#include <endian.h>
#include <errno.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include "disk/internal.h"
#include "disk/layer.h"
#include "disk/nbd.h"

enum {
    KEPT = 4 << 20,  /* most bytes of a buffer that stays */
    PUSH = 64 << 10, /* as many are sent before the turn's end */
    PIECE = 256 << 10,
    HOLE_MIN = 64 << 10, /* fewer zeroes are sent as data */
};

size_t pv_nbd_out_left(const struct pv_nbd_out *o)
{
    return o->buf.len - o->sent;
}

void pv_nbd_out_free(struct pv_nbd_out *o)
{
    pv_buf_free(&o->buf);
    o->sent = 0;
}

/* Bytes that are sent leave the buffer when they are most of it. */
static void out_compact(struct pv_nbd_out *o)
{
    if (o->sent > o->buf.len / 2) {
        pv_buf_consume(&o->buf, o->sent);
        o->sent = 0;
    }
}

/* The buffer stays for the next replies unless it is large: the kernel would have to clear new memory for each. */
void pv_nbd_out_push(struct pv_nbd_out *o, int fd)
{
    while (pv_nbd_out_left(o) && !o->failed) {
        ssize_t r = send(fd, o->buf.data + o->sent, pv_nbd_out_left(o), MSG_NOSIGNAL | MSG_DONTWAIT);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0) {
            o->failed = errno != EAGAIN;
            return;
        }
        o->sent += (size_t)r;
    }
    if (o->buf.cap > KEPT)
        pv_buf_free(&o->buf);
    o->buf.len = o->sent = 0;
}

static uint32_t nbd_errno(int e)
{
    switch (e) {
    case 0:
    case EPERM:
    case EIO:
    case ENOMEM:
    case EINVAL:
    case ENOSPC:
    case EOVERFLOW:
    case EOPNOTSUPP:
    case ESHUTDOWN:
        return (uint32_t)e; /* NBD's numbers are Linux's */
    default:
        return EIO;
    }
}

static void chunk_add(struct pv_nbd_out *o, uint64_t cookie, uint16_t type, bool last, uint32_t length)
{
    struct pv_nbd_chunk h = {htobe32(PV_NBD_CHUNK_MAGIC), htobe16(last ? PV_NBD_CHUNK_DONE : 0),
                             htobe16(type), cookie, htobe32(length)};

    pv_buf_add(&o->buf, &h, sizeof(h));
}

void pv_nbd_out_reply(struct pv_nbd_out *o, const struct pv_nbd_header *h, int errnum)
{
    out_compact(o);
    if (o->structured && h->command == PV_NBD_READ) {
        struct pv_nbd_chunk_error e = {htobe32(nbd_errno(errnum)), 0};

        chunk_add(o, h->cookie, PV_NBD_CHUNK_ERROR, true, sizeof(e));
        pv_buf_add(&o->buf, &e, sizeof(e));
    } else {
        struct pv_nbd_reply r = {htobe32(PV_NBD_SIMPLE_MAGIC), htobe32(nbd_errno(errnum)), h->cookie};

        pv_buf_add(&o->buf, &r, sizeof(r));
    }
}

/* Reads to where the bytes are sent from. */
static int bytes_add(struct pv_nbd_out *o, struct pv_disk *d, uint64_t at, size_t n)
{
    if (n && pv_cache_read(d, at, pv_buf_reserve(&o->buf, n), n) < 0)
        return -1;
    o->buf.len += n;
    return 0;
}

/* The end of the piece at `at`: of zeroes, or of bytes of any kind. */
static uint64_t piece_end(const struct pv_layer *l, uint64_t at, uint64_t end, bool *zeroes)
{
    uint64_t start = end, stop, piece = end - at < PIECE ? end : at + PIECE;

    *zeroes = false;
    if (end - at < HOLE_MIN)
        return piece;
    if (!pv_layer_data(l, at, &start, &stop) || start > end)
        start = end;
    *zeroes = start >= at + HOLE_MIN;
    return *zeroes ? start : piece;
}

/*
 * Sends the chunk's header and lets the kernel take pages of the disk's file into the socket: as many bytes as it took,
 * -1: nothing was sent, for the bytes are few or not of one file.  Bytes that the guest overwrites before QEMU has read them are new ones: a disk promises no more of requests
 * that overlap.
 */
static ssize_t pages_send(struct pv_nbd_out *o, const struct pv_disk *d, uint64_t at, size_t n, int fd)
{
    int file = n < PUSH ? -1 : pv_layer_fd(d->store, at, n);
    off_t offset = (off_t)at; /* sendfile moves it on */
    size_t left = n;

    if (file < 0)
        return -1;
    pv_nbd_out_push(o, fd);
    while (left && !pv_nbd_out_left(o) && !o->failed) {
        ssize_t r = sendfile(fd, file, &offset, left);

        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            break;
        left -= (size_t)r;
    }
    return (ssize_t)(n - left);
}

static int read_chunks(struct pv_nbd_out *o, struct pv_disk *d, const struct pv_nbd_header *h, int fd)
{
    uint64_t at = h->offset, end = at + h->length, next;

    for (; at < end; at = next) {
        uint64_t offset = htobe64(at);
        size_t header = o->buf.len;
        uint32_t n;
        bool zeroes;

        next = piece_end(d->store, at, end, &zeroes);
        n = (uint32_t)(next - at);
        chunk_add(o, h->cookie, zeroes ? PV_NBD_CHUNK_HOLE : PV_NBD_CHUNK_DATA, next == end,
                  (uint32_t)sizeof(offset) + (zeroes ? (uint32_t)sizeof(n) : n));
        pv_buf_add(&o->buf, &offset, sizeof(offset));
        if (zeroes) {
            n = htobe32(n);
            pv_buf_add(&o->buf, &n, sizeof(n));
        } else {
            ssize_t sent = pages_send(o, d, at, n, fd);
            uint64_t from = at + (uint64_t)(sent < 0 ? 0 : sent);

            if (bytes_add(o, d, from, next - from) < 0) {
                o->failed = sent >= 0;
                o->buf.len = o->failed ? o->buf.len : header;
                return -1;
            }
        }
        if (pv_nbd_out_left(o) >= PUSH)
            pv_nbd_out_push(o, fd);
    }
    return 0;
}

static int read_whole(struct pv_nbd_out *o, struct pv_disk *d, const struct pv_nbd_header *h)
{
    size_t header;

    pv_nbd_out_reply(o, h, 0);
    header = o->buf.len - sizeof(struct pv_nbd_reply);
    if (bytes_add(o, d, h->offset, h->length) < 0) {
        o->buf.len = header;
        return -1;
    }
    return 0;
}

void pv_nbd_out_read(struct pv_nbd_out *o, struct pv_disk *d, const struct pv_nbd_header *h, int fd)
{
    out_compact(o);
    if ((o->structured ? read_chunks(o, d, h, fd) : read_whole(o, d, h)) < 0)
        pv_nbd_out_reply(o, h, errno == ENOSPC ? ENOSPC : EIO);
    if (pv_nbd_out_left(o) >= PUSH)
        pv_nbd_out_push(o, fd);
}
