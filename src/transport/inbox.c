/* SPDX-License-Identifier: MIT */
#include "transport/inbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

/* How many of n bytes lie between `from` and the end of the ring. */
static uint32_t before_end(uint32_t from, size_t n)
{
    return PV_INBOX_SIZE - from < n ? PV_INBOX_SIZE - from : (uint32_t)n;
}

uint32_t pv_inbox_add(struct pv_inbox *in, uint32_t n, uint8_t **first)
{
    uint32_t tail = (in->at + in->fill) % PV_INBOX_SIZE;

    if (!in->data)
        in->data = pv_xmalloc(PV_INBOX_SIZE);
    in->fill += n;
    *first = in->data + tail;
    return before_end(tail, n);
}

ssize_t pv_inbox_read(struct pv_inbox *in, struct pv_stream *s, void *buf, size_t n)
{
    uint32_t first;

    if (in->fill == 0) {
        if (in->eof)
            return 0;
        if (!in->broken)
            return -EAGAIN;
        s->error = in->broken;
        return -in->broken;
    }
    if (n > in->fill)
        n = in->fill;
    first = before_end(in->at, n);
    memcpy(buf, in->data + in->at, first);
    memcpy((uint8_t *)buf + first, in->data, n - first);
    in->at = (uint32_t)(in->at + n) % PV_INBOX_SIZE;
    in->fill -= (uint32_t)n;
    return (ssize_t)n;
}

void pv_inbox_break(struct pv_inbox *in, struct pv_stream *s, int error)
{
    if (!in->broken)
        in->broken = error;
    /* s->error is for when nothing more comes. */
    if (s->connecting || (in->fill == 0 && !in->eof))
        s->error = in->broken;
    s->connecting = false;
}

void pv_inbox_fini(struct pv_inbox *in)
{
    free(in->data);
}
