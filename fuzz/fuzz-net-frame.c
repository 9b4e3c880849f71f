/* SPDX-License-Identifier: MIT */
/* A frame of a guest: its line in words, and the reply of an end of code, which is no longer than its buffer. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/answer.h"
#include "net/describe.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINE_MAX_BYTES = 300 };

static void line_check(const uint8_t *frame, size_t n)
{
    cleanup_buf struct pv_buf line = {0};

    pv_frame_describe(frame, n, &line);
    if (!line.len || line.len > LINE_MAX_BYTES)
        abort();
    for (size_t i = 0; i < line.len; i++)
        if (line.data[i] < ' ' || line.data[i] > '~')
            abort();
}

/* The first byte of the input is the room for a reply; the rest is the frame. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct pv_ip ips[] = {
        {.addr = {10, 7, 0, 1}, .n = 4}, {.addr = {0xfd, [15] = 1}, .n = 16}, {.n = 0}};
    struct pv_answerer a = {.mac = {0x52, 0x54}};
    cleanup_free uint8_t *reply = NULL;
    size_t room, n;

    if (!size)
        return 0;
    room = data[0] * (size_t)16;
    data++;
    size--;
    line_check(data, size);
    a.local = pv_ip_link_local(a.mac);
    reply = pv_xmalloc(room + 1);
    for (size_t i = 0; i < PV_ARRAY_LEN(ips); i++) {
        a.ip = ips[i];
        n = pv_answer(&a, data, size, reply, room);
        if (n > room || (n && (n < 14 || memcmp(reply + 6, a.mac, 6) != 0)))
            abort();
        if (n)
            line_check(reply, n);
    }
    return 0;
}
