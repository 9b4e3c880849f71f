/* SPDX-License-Identifier: MIT */
/*
 * The last lines of a console log, read from its file by the parent of a child that is stuck or was killed.
 * Escape sequences of the guest are dropped as in vm/console.c; other control characters are left to
 * pv_text_clean.
 */
#ifndef PV_CHILD_TAIL_H
#define PV_CHILD_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_buf;

/*
 * Adds the last `lines` lines that are not empty at the end, without the last newline. Reads at most 8 KiB;
 * never blocks on anything that is not a regular file.  Returns -1 when there is no such file, else 0;
 * *age_ns (may be NULL): time since the last write to the file, at least 0.
 */
int pv_tail_of_log(const char *path, unsigned lines, struct pv_buf *out, int64_t *age_ns);

/* Appends s without terminal escape sequences; an unfinished one ends with its line. */
void pv_tail_strip(struct pv_buf *out, const char *s, size_t n);

/*
 * True when `shown`, in which vm/console.c has replaced characters that are not text by '?', and `raw`, from
 * the log, are the same lines; newlines at the end do not count.
 */
bool pv_tail_same(const char *shown, const char *raw);

#endif
