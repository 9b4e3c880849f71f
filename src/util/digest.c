/* SPDX-License-Identifier: MIT */
#include "util/digest.h"

#include <assert.h>
#include <blake2.h>
#include <stdint.h>

#include "util/mem.h"
#include "util/path.h"

enum { READ_CHUNK = 1 << 20 };

void pv_hex(const void *bytes, size_t n, char *text)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = bytes;

    for (size_t i = 0; i < n; i++) {
        text[2 * i] = digits[p[i] >> 4];
        text[2 * i + 1] = digits[p[i] & 15];
    }
    text[2 * n] = '\0';
}

void pv_digest(const void *data, size_t n, char text[static PV_DIGEST_TEXT])
{
    uint8_t sum[PV_DIGEST_BYTES];
    int r = blake2b(sum, data, NULL, sizeof(sum), n, 0);

    assert(r == 0); /* blake2b refuses only digest sizes that it does not have */
    pv_hex(sum, sizeof(sum), text);
}

int pv_digest_fd(int fd, char text[static PV_DIGEST_TEXT])
{
    cleanup_free char *buf = pv_xmalloc(READ_CHUNK);
    uint8_t sum[PV_DIGEST_BYTES];
    blake2b_state state;
    off_t at = 0;
    ssize_t n;

    blake2b_init(&state, sizeof(sum));
    while ((n = pv_pread_all(fd, buf, READ_CHUNK, at)) > 0) {
        blake2b_update(&state, (uint8_t *)buf, (size_t)n);
        at += n;
    }
    if (n < 0)
        return -1;
    blake2b_final(&state, sum, sizeof(sum));
    pv_hex(sum, sizeof(sum), text);
    return 0;
}
