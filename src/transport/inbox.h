/* SPDX-License-Identifier: MIT */
/*
 * The receiving half of a pv_stream without a descriptor: bytes that the guest has sent and the owner has not
 * read, and whether more will come.  Private to the devices that make such streams.
 */
#ifndef PV_TRANSPORT_INBOX_H
#define PV_TRANSPORT_INBOX_H

#include <stdint.h>

#include "transport/stream.h"

enum { PV_INBOX_SIZE = 512 * 1024 }; /* a power of two */

struct pv_inbox {
    uint8_t *data; /* a ring of PV_INBOX_SIZE bytes, from the first ones on */
    uint32_t at, fill;
    bool eof;   /* the guest will send no more */
    int broken; /* errno that reads give once the ring is empty */
};

/*
 * Room for n more bytes (the caller has checked that there is so much) counts as filled; *first is where they
 * begin, and returned how many of them go there.  The others go to the start of the ring.
 */
uint32_t pv_inbox_add(struct pv_inbox *in, uint32_t n, uint8_t **first);
/* As pv_stream_read, of the stream s. */
ssize_t pv_inbox_read(struct pv_inbox *in, struct pv_stream *s, void *buf, size_t n);
/* The connection is over, because of `error` unless it was so before.  What came before can still be read. */
void pv_inbox_break(struct pv_inbox *in, struct pv_stream *s, int error);
void pv_inbox_fini(struct pv_inbox *in);

#endif
