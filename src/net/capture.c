/* SPDX-License-Identifier: MIT */
#include "net/capture.h"

#include <stdlib.h>
#include <string.h>

#include "net/internal.h"
#include "util/clock.h"
#include "util/mem.h"

struct pv_net_capture {
    struct pv_net_capture *next;
    struct pv_net *net;
    void (*write)(void *arg, const void *data, size_t n);
    void *arg;
};

/* A kept frame; its comment, with its NUL, is behind its bytes. */
struct kept {
    struct kept *next;
    int64_t wall_ns;
    size_t n, size; /* of the frame; of all that is kept of it */
    uint8_t data[];
};

struct net_ring {
    struct kept *first, **end;
    size_t size;
    uint64_t frames; /* ever added */
};

/* ---- pcapng ---- */

static void pcapng_u16(struct pv_buf *b, uint16_t v)
{
    pv_buf_add(b, &v, sizeof v); /* in the writer's byte order, which the magic number tells */
}

static void pcapng_u32(struct pv_buf *b, uint32_t v)
{
    pv_buf_add(b, &v, sizeof v);
}

static void pcapng_bytes(struct pv_buf *b, const void *data, size_t n)
{
    pv_buf_add(b, data, n);
    while (n++ % 4)
        pv_buf_addc(b, 0);
}

static void pcapng_option(struct pv_buf *b, uint16_t code, const void *data, size_t n)
{
    pcapng_u16(b, code);
    pcapng_u16(b, (uint16_t)n);
    pcapng_bytes(b, data, n);
}

static void pcapng_block(struct pv_buf *out, uint32_t type, const struct pv_buf *body)
{
    uint32_t size = (uint32_t)body->len + 12;
    pcapng_u32(out, type);
    pcapng_u32(out, size);
    pv_buf_add(out, body->data, body->len);
    pcapng_u32(out, size);
}

/* The numbers of the format, sections 3 and 4. */
enum {
    BLOCK_SECTION = 0x0a0d0d0a,
    BLOCK_INTERFACE = 1,
    BLOCK_PACKET = 6,
    BYTE_ORDER_MAGIC = 0x1a2b3c4d,
    LINKTYPE_ETHERNET = 1,
    OPT_END = 0,
    OPT_COMMENT = 1,
    OPT_IF_NAME = 2,
    OPT_USERAPPL = 4,
    OPT_IF_TSRESOL = 9
};

void pv_pcapng_header(struct pv_buf *out, const char *network)
{
    static const char program[] = "provium";
    static const uint8_t nanoseconds = 9;
    cleanup_buf struct pv_buf section = {0}, interface = {0};
    pcapng_u32(&section, BYTE_ORDER_MAGIC);
    pcapng_u16(&section, 1);
    pcapng_u16(&section, 0);
    pcapng_u32(&section, UINT32_MAX); /* the section's length, 64 bits: not told */
    pcapng_u32(&section, UINT32_MAX);
    pcapng_option(&section, OPT_USERAPPL, program, sizeof program - 1);
    pcapng_option(&section, OPT_END, NULL, 0);
    pcapng_block(out, BLOCK_SECTION, &section);
    pcapng_u16(&interface, LINKTYPE_ETHERNET);
    pcapng_u16(&interface, 0);
    pcapng_u32(&interface, 0); /* no limit of a frame's length */
    pcapng_option(&interface, OPT_IF_NAME, network, strlen(network));
    pcapng_option(&interface, OPT_IF_TSRESOL, &nanoseconds, 1);
    pcapng_option(&interface, OPT_END, NULL, 0);
    pcapng_block(out, BLOCK_INTERFACE, &interface);
}

void pv_pcapng_frame(struct pv_buf *out, int64_t wall_ns, const void *frame, size_t n, const char *comment)
{
    cleanup_buf struct pv_buf packet = {0};
    size_t text = strlen(comment);
    pcapng_u32(&packet, 0);
    pcapng_u32(&packet, (uint32_t)((uint64_t)wall_ns >> 32));
    pcapng_u32(&packet, (uint32_t)wall_ns);
    pcapng_u32(&packet, (uint32_t)n);
    pcapng_u32(&packet, (uint32_t)n);
    pcapng_bytes(&packet, frame, n);
    pcapng_option(&packet, OPT_COMMENT, comment, text < 60000 ? text : 60000);
    pcapng_option(&packet, OPT_END, NULL, 0);
    pcapng_block(out, BLOCK_PACKET, &packet);
}

/* ---- the newest frames ---- */

static void ring_drop_first(struct net_ring *r)
{
    struct kept *k = r->first;
    r->first = k->next;
    if (!r->first)
        r->end = &r->first;
    r->size -= k->size;
    free(k);
}

static void ring_add(struct pv_net *net, int64_t wall_ns, const uint8_t *frame, size_t n, const char *comment)
{
    struct net_ring *r = net->ring;
    if (!r) {
        r = net->ring = pv_xcalloc(1, sizeof *r);
        r->end = &r->first;
    }
    size_t text = strlen(comment) + 1;
    struct kept *k = pv_xmalloc(sizeof *k + n + text);
    *k = (struct kept){.wall_ns = wall_ns, .n = n, .size = sizeof *k + n + text};
    memcpy(k->data, frame, n);
    memcpy(k->data + n, comment, text);
    *r->end = k;
    r->end = &k->next;
    r->size += k->size;
    r->frames++;
    while (r->size > PV_NET_KEPT && r->first != k)
        ring_drop_first(r);
}

void net_ring_free(struct net_ring *r)
{
    while (r && r->first)
        ring_drop_first(r);
    free(r);
}

uint64_t pv_net_frames(const struct pv_net *net)
{
    return net->ring ? net->ring->frames : 0;
}

bool pv_net_kept(const struct pv_net *net, struct pv_buf *out)
{
    if (!net->ring)
        return false;
    pv_pcapng_header(out, net->name);
    for (const struct kept *k = net->ring->first; k; k = k->next)
        pv_pcapng_frame(out, k->wall_ns, k->data, k->n, (const char *)k->data + k->n);
    return true;
}

void pv_net_kept_each(const struct pv_net *net, unsigned max,
                      void (*fn)(void *arg, int64_t wall_ns, const void *frame, size_t n,
                                 const char *comment),
                      void *arg)
{
    unsigned count = 0;
    for (const struct kept *k = net->ring ? net->ring->first : NULL; k; k = k->next)
        count++;
    for (const struct kept *k = net->ring ? net->ring->first : NULL; k; k = k->next)
        if (count-- <= max)
            fn(arg, k->wall_ns, k->data, k->n, (const char *)k->data + k->n);
}

/* ---- captures ---- */

struct pv_net_capture *pv_net_capture_start(struct pv_net *net,
                                            void (*write)(void *arg, const void *data, size_t n), void *arg)
{
    cleanup_buf struct pv_buf header = {0};
    struct pv_net_capture *c = pv_xcalloc(1, sizeof *c);
    *c = (struct pv_net_capture){.next = net->captures, .net = net, .write = write, .arg = arg};
    net->captures = c;
    pv_pcapng_header(&header, net->name);
    write(arg, header.data, header.len);
    return c;
}

void pv_net_capture_stop(struct pv_net_capture *c)
{
    if (!c)
        return;
    struct pv_net_capture **at = &c->net->captures;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    free(c);
}

void net_captures_add(struct pv_net *net, const uint8_t *frame, size_t n, const struct pv_buf *comment)
{
    cleanup_free char *text = pv_xasprintf("provium: %s", comment->data);
    int64_t wall_ns = pv_wall_now();
    ring_add(net, wall_ns, frame, n, text);
    if (!net->captures)
        return;
    cleanup_buf struct pv_buf block = {0};
    pv_pcapng_frame(&block, wall_ns, frame, n, text);
    for (const struct pv_net_capture *c = net->captures; c; c = c->next)
        c->write(c->arg, block.data, block.len);
}
