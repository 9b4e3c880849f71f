/* SPDX-License-Identifier: MIT */
/* For tests: an NBD client in the loop of its server. */
#ifndef PV_DISK_CLIENT_H
#define PV_DISK_CLIENT_H

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "disk/disk.h"
#include "disk/nbd.h"
#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/test.h"

struct client {
    struct pv_loop *loop;
    struct pv_disk *d;
    int fd;
    uint64_t cookie;
};

static inline void client_turn(struct client *c)
{
    assert_int_not_equal(pv_loop_run(c->loop, NULL, NULL, pv_now() + PV_NSEC_PER_MSEC, NULL), -1);
}

/* Reads n bytes; false: the server closed, or 10 s have passed. */
static inline bool client_get(struct client *c, void *to, size_t n)
{
    int64_t deadline = pv_deadline(10 * PV_NSEC_PER_SEC);
    char *p = to;

    while (n && pv_now() < deadline) {
        ssize_t r = recv(c->fd, p, n, MSG_DONTWAIT);

        if (r == 0 || (r < 0 && errno != EAGAIN))
            return false;
        if (r < 0) {
            client_turn(c);
            continue;
        }
        p += r, n -= (size_t)r;
    }
    return n == 0;
}

static inline void client_put(struct client *c, const void *data, size_t n)
{
    const char *p = data;

    while (n) {
        ssize_t r = send(c->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (r < 0) {
            assert_int_equal(errno, EAGAIN);
            client_turn(c);
            continue;
        }
        p += r, n -= (size_t)r;
    }
}

static inline void client_connect(struct client *c, struct pv_loop *loop, struct pv_disk *d)
{
    struct pv_nbd_greeting g;

    *c = (struct client){.loop = loop, .d = d};
    c->fd = pv_disk_connect(d, NULL);
    assert_true(c->fd >= 0);
    assert_true(client_get(c, &g, sizeof(g)));
    assert_int_equal(be64toh(g.magic), PV_NBD_MAGIC);
}

/* The handshake by EXPORT_NAME. */
static inline void client_start(struct client *c, struct pv_loop *loop, struct pv_disk *d)
{
    struct pv_nbd_option o = {htobe64(PV_NBD_OPTION_MAGIC), htobe32(PV_NBD_OPT_EXPORT_NAME), 0};
    uint32_t flags = htobe32(PV_NBD_FIXED_NEWSTYLE | PV_NBD_NO_ZEROES);
    char reply[10];

    client_connect(c, loop, d);
    client_put(c, &flags, sizeof(flags));
    client_put(c, &o, sizeof(o));
    assert_true(client_get(c, reply, sizeof(reply)));
}

static inline void client_end(struct client *c)
{
    close(c->fd);
    client_turn(c);
}

/* Sends a request and returns its cookie. */
static inline uint64_t client_send(struct client *c, unsigned command, unsigned flags, uint64_t at,
                                   uint32_t len, const void *data)
{
    struct pv_nbd_header h = {htobe32(PV_NBD_REQUEST_MAGIC),
                              htobe16((uint16_t)flags),
                              htobe16((uint16_t)command),
                              ++c->cookie,
                              htobe64(at),
                              htobe32(len)};

    client_put(c, &h, sizeof(h));
    if (data)
        client_put(c, data, len);
    return c->cookie;
}

/* The next reply's error; -1: the connection ended. */
static inline int client_reply(struct client *c, uint64_t cookie, void *data, size_t n)
{
    struct pv_nbd_reply r;

    if (!client_get(c, &r, sizeof(r)))
        return -1;
    assert_int_equal(be32toh(r.magic), PV_NBD_SIMPLE_MAGIC);
    assert_int_equal(r.cookie, cookie);
    if (!r.error && data)
        assert_true(client_get(c, data, n));
    return (int)be32toh(r.error);
}

/* A request and its reply; a read gives its data to `data`. */
static inline int client_do(struct client *c, unsigned command, unsigned flags, uint64_t at, uint32_t len,
                            void *data)
{
    bool read = command == PV_NBD_READ;
    uint64_t cookie = client_send(c, command, flags, at, len, read ? NULL : data);

    return client_reply(c, cookie, read ? data : NULL, len);
}

/* True when the server has sent nothing after all its work. */
static inline bool client_waits(struct client *c)
{
    char byte;

    for (int i = 0; i < 20; i++)
        client_turn(c);
    return recv(c->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

#endif
