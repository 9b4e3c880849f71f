/* SPDX-License-Identifier: MIT */
/*
 * A spool: bytes that one producer appends and any number of readers read, each from its own position.  The
 * offset of a byte is its number since the spool's beginning and never changes.
 *
 * Memory is bounded.  The newest bytes are in memory; when that is full they go to an unlinked file, which
 * keeps the newest `max` bytes in a ring.  Older bytes are lost, and a reader that had not read them gets a
 * mark instead.  Without a file (no directory, disk full) the same holds for the bytes in memory.
 *
 *     struct pv_spool *s = pv_spool_new(dir, 0, 0);
 *     pv_spool_add(s, data, n);
 *     struct pv_reader r = {.spool = pv_spool_ref(s)};
 *     pv_reader_take(&r, pv_spool_end(s), &out);
 *     pv_reader_close(&r);
 *     pv_spool_unref(s);
 *
 * Nothing here waits or knows a loop; file I/O is the only system call.
 */
#ifndef PV_UTIL_SPOOL_H
#define PV_UTIL_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_buf;
struct pv_spool;

enum { PV_SPOOL_MEMORY = 1 << 20, PV_SPOOL_FILE = 64 << 20, PV_SPOOL_MARK_MAX = 64 };

/*
 * dir: where the file is made when it is needed; NULL: nowhere.  memory, max: bytes kept in memory and in the
 * file; 0: PV_SPOOL_MEMORY, PV_SPOOL_FILE.
 */
struct pv_spool *pv_spool_new(const char *dir, size_t memory, uint64_t max);
struct pv_spool *pv_spool_ref(struct pv_spool *s);
void pv_spool_unref(struct pv_spool *s); /* NULL is fine */

void pv_spool_add(struct pv_spool *s, const void *data, size_t n);
void pv_spool_adds(struct pv_spool *s, const char *text);
/* Appends all bytes that `from` keeps, behind a mark if it has lost some. */
void pv_spool_append(struct pv_spool *s, const struct pv_spool *from);
/* Forgets the bytes before `offset`, which no reader needs, as far as that is cheap; not counted as lost. */
void pv_spool_forget(struct pv_spool *s, uint64_t offset);

uint64_t pv_spool_begin(const struct pv_spool *s); /* offset of the first byte that is kept */
uint64_t pv_spool_end(const struct pv_spool *s);   /* behind the last byte */

/* Copies the bytes at [at, at + n), all of which are kept (asserted). */
void pv_spool_copy(const struct pv_spool *s, uint64_t at, void *to, size_t n);
/*
 * The offset behind the first occurrence of text[n > 0] that begins at `from` or later; 0: there is none.
 * Bytes that are lost are skipped.
 */
uint64_t pv_spool_find(const struct pv_spool *s, uint64_t from, const void *text, size_t n);
/* Adds the last `lines` lines, each cut to 200 bytes, made harmless for a terminal and indented by two. */
void pv_spool_tail(const struct pv_spool *s, unsigned lines, struct pv_buf *out);

/* A position in a spool, and a reference to it. */
struct pv_reader {
    struct pv_spool *spool; /* NULL: closed */
    uint64_t pos;
};

/* Bytes that were not read yet, without lost ones. */
uint64_t pv_reader_left(const struct pv_reader *r);
/*
 * Moves the reader to the first byte that is kept.  Writes a mark of at most PV_SPOOL_MARK_MAX bytes with the
 * number of bytes that it skips and returns its length; 0: it skips none.
 */
size_t pv_reader_skip_lost(struct pv_reader *r, char mark[static PV_SPOOL_MARK_MAX]);
/* Adds the unread bytes up to offset `upto` to out, with a mark for lost ones, and moves behind them. */
void pv_reader_take(struct pv_reader *r, uint64_t upto, struct pv_buf *out);
void pv_reader_close(struct pv_reader *r); /* closed is fine */

#endif
