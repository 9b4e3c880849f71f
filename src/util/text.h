/* SPDX-License-Identifier: MIT */
/*
 * Makes text of tests and guests harmless for a terminal: printable UTF-8 and tabs stay; control bytes,
 * escapes, C1, bidi controls and invalid UTF-8 become \xNN or \u{NNNN}.  All of it is pure.
 */
#ifndef PV_UTIL_TEXT_H
#define PV_UTIL_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct pv_buf;

/*
 * Adds s cleaned.  indent == NULL: one line, a newline becomes \n.  Else newlines stay, each followed by
 * `indent`; trailing newlines and the \r of \r\n are dropped.
 */
void pv_text_clean(struct pv_buf *out, const char *s, size_t n, const char *indent);

/* The length of the UTF-8 sequence at s, within n > 0 bytes, and its code point; 0: it is invalid. */
size_t pv_text_utf8(const unsigned char *s, size_t n, uint32_t *cp);

/* The largest length <= max that does not cut a UTF-8 sequence of s[0..n) in two. */
size_t pv_text_clip(const char *s, size_t n, size_t max);

/*
 * Adds s cleaned to one line of at most `cols` columns; a truncated line ends with an ellipsis.  Returns the
 * columns used, an upper bound.
 */
unsigned pv_text_fit(struct pv_buf *out, const char *s, size_t n, unsigned cols);

/* Adds s as one word of a POSIX shell, quoted if necessary. */
void pv_text_shell(struct pv_buf *out, const char *s);

#endif
