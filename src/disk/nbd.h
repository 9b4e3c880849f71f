/* SPDX-License-Identifier: MIT */
/* Messages and numbers of the NBD protocol, as far as Provium uses them; numbers are big-endian on the wire. */
#ifndef PV_DISK_NBD_H
#define PV_DISK_NBD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/mem.h"

struct pv_disk;
struct pv_err;

#define PV_NBD_MAGIC UINT64_C(0x4e42444d41474943)
#define PV_NBD_OPTION_MAGIC UINT64_C(0x49484156454f5054)
#define PV_NBD_REPLY_MAGIC UINT64_C(0x0003e889045565a9)
#define PV_NBD_REQUEST_MAGIC 0x25609513u
#define PV_NBD_SIMPLE_MAGIC 0x67446698u
#define PV_NBD_CHUNK_MAGIC 0x668e33efu
#define PV_NBD_REP_ERR(n) (0x80000000u | (n))

enum {
    PV_NBD_FIXED_NEWSTYLE = 1, /* flags of the handshake */
    PV_NBD_NO_ZEROES = 2,

    PV_NBD_OPT_EXPORT_NAME = 1,
    PV_NBD_OPT_ABORT = 2,
    PV_NBD_OPT_LIST = 3,
    PV_NBD_OPT_INFO = 6,
    PV_NBD_OPT_GO = 7,
    PV_NBD_OPT_STRUCTURED_REPLY = 8,
    PV_NBD_OPTION_MAX = 8192, /* most bytes of an option's data */

    PV_NBD_REP_ACK = 1,
    PV_NBD_REP_SERVER = 2,
    PV_NBD_REP_INFO = 3,

    PV_NBD_INFO_EXPORT = 0,
    PV_NBD_INFO_BLOCK_SIZE = 3,

    PV_NBD_HAS_FLAGS = 1, /* flags of the export */
    PV_NBD_READ_ONLY = 2,
    PV_NBD_SEND_FLUSH = 4,
    PV_NBD_SEND_FUA = 8,
    PV_NBD_SEND_TRIM = 32,
    PV_NBD_SEND_WRITE_ZEROES = 64,

    PV_NBD_READ = 0,
    PV_NBD_WRITE = 1,
    PV_NBD_DISC = 2,
    PV_NBD_FLUSH = 3,
    PV_NBD_TRIM = 4,
    PV_NBD_WRITE_ZEROES = 6,

    PV_NBD_FLAG_FUA = 1, /* flags of a request */
    PV_NBD_FLAG_NO_HOLE = 2,

    PV_NBD_CHUNK_DONE = 1, /* flag of a reply's last chunk */

    PV_NBD_CHUNK_DATA = 1,
    PV_NBD_CHUNK_HOLE = 2,
    PV_NBD_CHUNK_ERROR = 32769,
};
#define PV_NBD_REP_ERR_UNSUP PV_NBD_REP_ERR(1u)
#define PV_NBD_REP_ERR_INVALID PV_NBD_REP_ERR(3u)

struct pv_nbd_greeting {
    uint64_t magic, option_magic;
    uint16_t flags;
} __attribute__((packed));

struct pv_nbd_option {
    uint64_t magic;
    uint32_t option, length;
} __attribute__((packed));

struct pv_nbd_option_reply {
    uint64_t magic;
    uint32_t option, type, length;
} __attribute__((packed));

struct pv_nbd_info_export {
    uint16_t info;
    uint64_t size;
    uint16_t flags;
} __attribute__((packed));

struct pv_nbd_info_block_size {
    uint16_t info;
    uint32_t minimum, preferred, maximum;
} __attribute__((packed));

struct pv_nbd_export {
    uint64_t size;
    uint16_t flags;
    uint8_t zeroes[124];
} __attribute__((packed));

struct pv_nbd_header {
    uint32_t magic;
    uint16_t flags, command;
    uint64_t cookie, offset;
    uint32_t length;
} __attribute__((packed));

struct pv_nbd_reply {
    uint32_t magic, error;
    uint64_t cookie;
} __attribute__((packed));

struct pv_nbd_chunk {
    uint32_t magic;
    uint16_t flags, type;
    uint64_t cookie;
    uint32_t length;
} __attribute__((packed));

struct pv_nbd_chunk_error {
    uint32_t error;
    uint16_t text;
} __attribute__((packed));

enum pv_nbd_hello_state { PV_HELLO_FLAGS, PV_HELLO_OPTION, PV_HELLO_DATA, PV_HELLO_DONE, PV_HELLO_FAILED };

struct pv_nbd_hello {
    const struct pv_disk *d;
    struct pv_buf *out; /* borrowed: gets what the server sends */
    enum pv_nbd_hello_state state;
    bool no_zeroes, structured;
    uint32_t opt, opt_len;
    const char *why; /* static text, once failed */
};

/* Adds the greeting to out. */
void pv_nbd_hello_init(struct pv_nbd_hello *c, const struct pv_disk *d, struct pv_buf *out);
/* Handles one message of the client at p: the bytes it has; 0 without a new state: more bytes are needed. */
size_t pv_nbd_hello_step(struct pv_nbd_hello *c, const uint8_t *p, size_t n);

/* The output of a connection: bytes that the socket has not taken yet.  Zero-initialised is empty. */
struct pv_nbd_out {
    struct pv_buf buf;
    size_t sent;
    bool structured; /* the client takes a read's reply in chunks */
    bool failed;     /* the socket takes no more */
};

size_t pv_nbd_out_left(const struct pv_nbd_out *o);
void pv_nbd_out_free(struct pv_nbd_out *o);
/* Sends as much as the socket takes. */
void pv_nbd_out_push(struct pv_nbd_out *o, int fd);
/* Adds the reply to a request that is no read, or that failed. */
void pv_nbd_out_reply(struct pv_nbd_out *o, const struct pv_nbd_header *h, int errnum);
/* Reads, and adds the reply; sends when that is much. */
void pv_nbd_out_read(struct pv_nbd_out *o, struct pv_disk *d, const struct pv_nbd_header *h, int fd);

/* Serves the disk on fd, which it takes also when it fails. */
int pv_nbd_open(struct pv_disk *d, int fd, struct pv_err *err);

#endif
