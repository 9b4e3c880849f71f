/* SPDX-License-Identifier: MIT */
/*
 * Offsets [begin, filed) are in the file, at offset % max; [filed, end) are in memory.  A full memory buffer goes
 * to the file as a whole, so that the file is written in large pieces.
 */
#include "util/spool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/log.h"
#include "util/mem.h"
#include "util/path.h"
#include "util/text.h"

enum { FIND_BLOCK = 64 * 1024, TAIL_BYTES = 4096, TAIL_LINE = 200 };

struct pv_spool {
    unsigned refs;
    size_t memory;
    uint64_t max;
    char *dir; /* NULL: no file can be made (any more) */
    int fd;    /* -1: there is no file */
    uint64_t begin, filed;
    struct pv_buf mem;
};

struct pv_spool *pv_spool_new(const char *dir, size_t memory, uint64_t max)
{
    struct pv_spool *s = pv_xcalloc(1, sizeof(*s));

    s->refs = 1;
    s->memory = memory ? memory : PV_SPOOL_MEMORY;
    s->max = max ? max : PV_SPOOL_FILE;
    s->dir = dir ? pv_xstrdup(dir) : NULL;
    s->fd = -1;
    return s;
}

struct pv_spool *pv_spool_ref(struct pv_spool *s)
{
    s->refs++;
    return s;
}

void pv_spool_unref(struct pv_spool *s)
{
    if (!s || --s->refs)
        return;
    pv_close(&s->fd);
    pv_buf_free(&s->mem);
    free(s->dir);
    free(s);
}

uint64_t pv_spool_begin(const struct pv_spool *s)
{
    return s->begin;
}

uint64_t pv_spool_end(const struct pv_spool *s)
{
    return s->filed + s->mem.len;
}

/* ---- the file ---- */

/* Calls fn for the one or two parts of the ring that hold [at, at + n).  -1 with errno. */
static int ring_each(const struct pv_spool *s, uint64_t at, char *data, size_t n, bool write)
{
    while (n) {
        uint64_t place = at % s->max;
        size_t part = n < s->max - place ? n : (size_t)(s->max - place);
        ssize_t r = write ? (pv_pwrite_all(s->fd, data, part, (off_t)place) < 0 ? -1 : (ssize_t)part)
                          : pv_pread_all(s->fd, data, part, (off_t)place);

        if (r != (ssize_t)part)
            return -1;
        at += part;
        data += part;
        n -= part;
    }
    return 0;
}

/* There is no place for a file: from now on only memory keeps bytes. */
static void spool_give_up_file(struct pv_spool *s)
{
    size_t drop = (s->mem.len + 1) / 2;

    pv_debug("spool", "no file in '%s': %s", s->dir ? s->dir : "-", strerror(errno));
    free(pv_steal(&s->dir));
    pv_close(&s->fd);
    pv_buf_consume(&s->mem, drop);
    s->begin = s->filed = s->filed + drop;
}

/* Moves all of the memory's bytes to the file, or drops the older half of them. */
static void spool_make_room(struct pv_spool *s)
{
    uint64_t end = pv_spool_end(s), keep = s->max < s->mem.len ? s->max : s->mem.len;

    if (s->fd < 0 && s->dir)
        s->fd = pv_temp_file(s->dir);
    if (s->fd < 0 || ring_each(s, end - keep, s->mem.data + s->mem.len - keep, (size_t)keep, true) < 0) {
        spool_give_up_file(s);
        return;
    }
    s->filed = end;
    s->mem.len = 0;
    if (s->filed - s->begin > s->max)
        s->begin = s->filed - s->max;
}

/* ---- producing ---- */

void pv_spool_add(struct pv_spool *s, const void *data, size_t n)
{
    const char *p = data;

    while (n) {
        size_t room = s->memory - s->mem.len, part = n < room ? n : room;

        if (!room) {
            spool_make_room(s);
            continue;
        }
        pv_buf_add(&s->mem, p, part);
        p += part;
        n -= part;
    }
}

void pv_spool_adds(struct pv_spool *s, const char *text)
{
    pv_spool_add(s, text, strlen(text));
}

void pv_spool_append(struct pv_spool *s, const struct pv_spool *from)
{
    struct pv_reader r = {.spool = (struct pv_spool *)from};
    char mark[PV_SPOOL_MARK_MAX], block[4096];

    pv_spool_add(s, mark, pv_reader_skip_lost(&r, mark));
    while (pv_reader_left(&r)) {
        size_t n = pv_reader_left(&r) < sizeof(block) ? (size_t)pv_reader_left(&r) : sizeof(block);

        pv_spool_copy(from, r.pos, block, n);
        pv_spool_add(s, block, n);
        r.pos += n;
    }
}

void pv_spool_forget(struct pv_spool *s, uint64_t offset)
{
    if (offset < pv_spool_end(s)) /* only a spool that was read to its end is cheap to empty */
        return;
    s->begin = s->filed = pv_spool_end(s);
    s->mem.len = 0;
}

/* ---- reading ---- */

void pv_spool_copy(const struct pv_spool *s, uint64_t at, void *to, size_t n)
{
    char *p = to;

    assert(at >= s->begin && at + n <= pv_spool_end(s));
    if (at < s->filed) {
        size_t part = n < s->filed - at ? n : (size_t)(s->filed - at);

        if (ring_each(s, at, p, part, false) < 0) {
            pv_debug("spool", "its file cannot be read: %s", strerror(errno));
            memset(p, '?', part);
        }
        at += part;
        p += part;
        n -= part;
    }
    if (n)
        memcpy(p, s->mem.data + (at - s->filed), n);
}

uint64_t pv_spool_find(const struct pv_spool *s, uint64_t from, const void *text, size_t n)
{
    size_t cap = n > FIND_BLOCK / 2 ? 2 * n : FIND_BLOCK;
    cleanup_free char *block = NULL;
    uint64_t end = pv_spool_end(s);

    if (from < s->begin)
        from = s->begin;
    if (end < from + n)
        return 0;
    block = pv_xmalloc(cap);
    while (end - from >= n) {
        size_t got = end - from < cap ? (size_t)(end - from) : cap;
        const char *hit;

        pv_spool_copy(s, from, block, got);
        hit = memmem(block, got, text, n);
        if (hit)
            return from + (uint64_t)(hit - block) + n;
        from += got - (n - 1);
    }
    return 0;
}

void pv_spool_tail(const struct pv_spool *s, unsigned lines, struct pv_buf *out)
{
    char text[TAIL_BYTES];
    uint64_t kept = pv_spool_end(s) - s->begin;
    size_t n = kept < sizeof(text) ? (size_t)kept : sizeof(text), from;

    pv_spool_copy(s, pv_spool_end(s) - n, text, n);
    while (n && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    for (from = n; from; from--)
        if (text[from - 1] == '\n' && --lines == 0)
            break;
    while (from < n) {
        const char *nl = memchr(text + from, '\n', n - from);
        size_t len = (nl ? (size_t)(nl - text) : n) - from, end = from + len;

        if (len && text[end - 1] == '\r')
            len--;
        pv_buf_adds(out, "\n  ");
        pv_text_clean(out, text + from, pv_text_clip(text + from, len, TAIL_LINE), NULL);
        pv_buf_adds(out, len > TAIL_LINE ? "..." : "");
        from = end + 1;
    }
}

/* ---- readers ---- */

uint64_t pv_reader_left(const struct pv_reader *r)
{
    uint64_t from = r->pos > r->spool->begin ? r->pos : r->spool->begin;

    return pv_spool_end(r->spool) - from;
}

size_t pv_reader_skip_lost(struct pv_reader *r, char mark[static PV_SPOOL_MARK_MAX])
{
    uint64_t lost = r->pos < r->spool->begin ? r->spool->begin - r->pos : 0;

    if (!lost)
        return 0;
    r->pos += lost;
    return (size_t)snprintf(mark, PV_SPOOL_MARK_MAX, "\n[provium: %llu bytes are left out]\n",
                            (unsigned long long)lost);
}

void pv_reader_take(struct pv_reader *r, uint64_t upto, struct pv_buf *out)
{
    char mark[PV_SPOOL_MARK_MAX];
    size_t n;

    pv_buf_add(out, mark, pv_reader_skip_lost(r, mark));
    n = (size_t)(upto - r->pos);
    pv_spool_copy(r->spool, r->pos, pv_buf_reserve(out, n), n);
    out->len += n;
    out->data[out->len] = '\0';
    r->pos = upto;
}

void pv_reader_close(struct pv_reader *r)
{
    pv_spool_unref(r->spool);
    r->spool = NULL;
}
