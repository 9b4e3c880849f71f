/* SPDX-License-Identifier: MIT */
/*
 * Makes text of tests and guests harmless for a terminal: printable UTF-8 and tabs stay, everything else
 * (control bytes, escapes, C1, bidi controls, bytes that are no UTF-8) is shown as \xNN or \u{NNNN}.
 */
#ifndef PV_UTIL_TEXT_H
#define PV_UTIL_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct pv_buf;

/*
 * Adds s cleaned.  indent NULL: one line, a newline is shown as \n.  Otherwise newlines stay and each is
 * followed by `indent`; newlines at the end, and the \r of \r\n, are dropped.
 */
void pv_text_clean(struct pv_buf *out, const char *s, size_t n, const char *indent);

/* Length of the valid UTF-8 sequence at s, of at most n > 0 bytes, and its code point; 0 when there is none.
 */
size_t pv_text_utf8(const unsigned char *s, size_t n, uint32_t *cp);

/* The largest length <= max that does not cut a UTF-8 sequence of s[0..n) in two. */
size_t pv_text_clip(const char *s, size_t n, size_t max);

/*
 * Adds s cleaned to one line of at most `cols` columns, the last of them an ellipsis when it was cut. Returns
 * the columns used, which may be counted too many, never too few.
 */
unsigned pv_text_fit(struct pv_buf *out, const char *s, size_t n, unsigned cols);

/* Adds s as one word of a POSIX shell, quoted where that is needed. */
void pv_text_shell(struct pv_buf *out, const char *s);

#endif
