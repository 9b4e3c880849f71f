/* SPDX-License-Identifier: MIT */
/*
 * The handshake of the NBD server (fixed newstyle).
 *
 *     server  u64 "NBDMAGIC", u64 "IHAVEOPT", u16 flags         client  u32 flags
 *     client  u64 "IHAVEOPT", u32 option, u32 length, data      server  u64 magic, u32 option, u32 type, u32 length
 */
#include <endian.h>
#include <stddef.h>
#include <string.h>

#include "disk/internal.h"
#include "disk/nbd.h"

static void hello_fail(struct pv_nbd_hello *c, const char *why)
{
    c->state = PV_HELLO_FAILED;
    c->why = why;
}

void pv_nbd_hello_init(struct pv_nbd_hello *c, const struct pv_disk *d, struct pv_buf *out)
{
    struct pv_nbd_greeting g = {htobe64(PV_NBD_MAGIC), htobe64(PV_NBD_OPTION_MAGIC),
                                htobe16(PV_NBD_FIXED_NEWSTYLE | PV_NBD_NO_ZEROES)};

    *c = (struct pv_nbd_hello){.d = d, .out = out};
    pv_buf_add(out, &g, sizeof(g));
}

static void option_reply(struct pv_nbd_hello *c, uint32_t type, const void *data, size_t n)
{
    struct pv_nbd_option_reply h = {htobe64(PV_NBD_REPLY_MAGIC), htobe32(c->opt), htobe32(type),
                                    htobe32((uint32_t)n)};

    pv_buf_add(c->out, &h, sizeof(h));
    if (n)
        pv_buf_add(c->out, data, n);
}

static uint16_t export_flags(const struct pv_disk *d)
{
    return (uint16_t)(PV_NBD_HAS_FLAGS | PV_NBD_SEND_FLUSH | PV_NBD_SEND_FUA | PV_NBD_SEND_TRIM |
                      PV_NBD_SEND_WRITE_ZEROES | (d->readonly ? PV_NBD_READ_ONLY : 0));
}

static void send_export_info(struct pv_nbd_hello *c)
{
    struct pv_nbd_info_export e = {htobe16(PV_NBD_INFO_EXPORT), htobe64(pv_disk_size(c->d)),
                                   htobe16(export_flags(c->d))};
    struct pv_nbd_info_block_size b = {htobe16(PV_NBD_INFO_BLOCK_SIZE), htobe32(c->d->sector), htobe32(4096),
                                       htobe32(PV_DISK_MAX_TRANSFER)};

    option_reply(c, PV_NBD_REP_INFO, &e, sizeof(e));
    option_reply(c, PV_NBD_REP_INFO, &b, sizeof(b));
}

/* INFO and GO: u32 length of a name, name, u16 number of requests, u16 each.  Any name is this disk. */
static void option_go(struct pv_nbd_hello *c, const uint8_t *p, uint32_t n)
{
    uint32_t name;
    uint16_t requests;

    if (n >= 6) {
        memcpy(&name, p, 4);
        name = be32toh(name);
        if (name <= n - 6) {
            memcpy(&requests, p + 4 + name, 2);
            if (n == 6 + name + 2 * (uint32_t)be16toh(requests)) {
                send_export_info(c);
                option_reply(c, PV_NBD_REP_ACK, NULL, 0);
                if (c->opt == PV_NBD_OPT_GO)
                    c->state = PV_HELLO_DONE;
                return;
            }
        }
    }
    option_reply(c, PV_NBD_REP_ERR_INVALID, NULL, 0);
}

static void option_export_name(struct pv_nbd_hello *c)
{
    struct pv_nbd_export e = {htobe64(pv_disk_size(c->d)), htobe16(export_flags(c->d)), {0}};

    pv_buf_add(c->out, &e, c->no_zeroes ? offsetof(struct pv_nbd_export, zeroes) : sizeof(e));
    c->state = PV_HELLO_DONE;
}

static void option_list(struct pv_nbd_hello *c, uint32_t n)
{
    uint32_t empty = 0;

    if (n) {
        option_reply(c, PV_NBD_REP_ERR_INVALID, NULL, 0);
        return;
    }
    option_reply(c, PV_NBD_REP_SERVER, &empty, sizeof(empty));
    option_reply(c, PV_NBD_REP_ACK, NULL, 0);
}

static void handle_option(struct pv_nbd_hello *c, const uint8_t *p, uint32_t n)
{
    c->state = PV_HELLO_OPTION;
    switch (c->opt) {
    case PV_NBD_OPT_EXPORT_NAME:
        option_export_name(c);
        break;
    case PV_NBD_OPT_GO:
    case PV_NBD_OPT_INFO:
        option_go(c, p, n);
        break;
    case PV_NBD_OPT_LIST:
        option_list(c, n);
        break;
    case PV_NBD_OPT_STRUCTURED_REPLY:
        option_reply(c, n ? PV_NBD_REP_ERR_INVALID : PV_NBD_REP_ACK, NULL, 0);
        c->structured |= !n;
        break;
    case PV_NBD_OPT_ABORT:
        option_reply(c, PV_NBD_REP_ACK, NULL, 0);
        hello_fail(c, "aborted by the client");
        break;
    default:
        option_reply(c, PV_NBD_REP_ERR_UNSUP, NULL, 0);
    }
}

size_t pv_nbd_hello_step(struct pv_nbd_hello *c, const uint8_t *p, size_t n)
{
    struct pv_nbd_option o;
    uint32_t flags;

    switch (c->state) {
    case PV_HELLO_FLAGS:
        if (n < sizeof(flags))
            return 0;
        memcpy(&flags, p, sizeof(flags));
        flags = be32toh(flags);
        if (flags & ~(uint32_t)(PV_NBD_FIXED_NEWSTYLE | PV_NBD_NO_ZEROES))
            hello_fail(c, "unknown client flags");
        else
            c->state = PV_HELLO_OPTION;
        c->no_zeroes = flags & PV_NBD_NO_ZEROES;
        return sizeof(flags);
    case PV_HELLO_OPTION:
        if (n < sizeof(o))
            return 0;
        memcpy(&o, p, sizeof(o));
        c->opt = be32toh(o.option);
        c->opt_len = be32toh(o.length);
        c->state = PV_HELLO_DATA;
        if (be64toh(o.magic) != PV_NBD_OPTION_MAGIC || c->opt_len > PV_NBD_OPTION_MAX)
            hello_fail(c, "bad option");
        return sizeof(o);
    case PV_HELLO_DATA:
        if (n < c->opt_len)
            return 0;
        handle_option(c, p, c->opt_len);
        return c->opt_len;
    default:
        return 0;
    }
}
