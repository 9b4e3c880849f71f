/* SPDX-License-Identifier: MIT */
/* BLAKE2b-256 of buffers and open files, as hex text. */
#ifndef PV_UTIL_DIGEST_H
#define PV_UTIL_DIGEST_H

#include <stddef.h>

enum {
    PV_DIGEST_BYTES = 32,                     /* BLAKE2b-256 */
    PV_DIGEST_TEXT = 2 * PV_DIGEST_BYTES + 1, /* its lower-case hex, terminated */
};

/* Lower-case hex of n bytes; text gets 2 * n + 1 bytes. */
void pv_hex(const void *bytes, size_t n, char *text);

/* Digest of n bytes in memory. */
void pv_digest(const void *data, size_t n, char text[static PV_DIGEST_TEXT]);

/* Digest of the file from offset 0 to its end; the descriptor's offset stays.  Blocks.  -1 with errno. */
int pv_digest_fd(int fd, char text[static PV_DIGEST_TEXT]);

#endif
