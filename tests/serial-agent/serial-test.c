/* SPDX-License-Identifier: MIT */
/*
 * Many connections over one stream: our end (src/transport/serial.c) against a guest that lies, then against
 * the real agent (`--mux`), with a relay between them that stands for QEMU and can hold bytes back.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/loop.h"
#include "transport/serial.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "wire/codec.h"
#include "wire/mux.h"
#include "wire/proto.h"

static const char *agent;
static struct pv_loop *loop;

#define SOON (10 * PV_NSEC_PER_SEC)

/* ---- a connection ---- */

struct conn {
    struct pv_stream *s;
    unsigned events;
    bool close_in_event, free_in_event;
    struct pv_vsock *v;
};

static void on_event(struct pv_stream *s, void *arg)
{
    struct conn *c = arg;

    c->events++;
    if (c->close_in_event)
        pv_stream_close(s), c->s = NULL;
    if (c->free_in_event)
        c->v->ops->free(c->v), c->v = NULL;
}

static bool had_event(void *arg)
{
    return ((struct conn *)arg)->events > 0;
}

static void wait_event(struct conn *c)
{
    assert_int_equal(pv_loop_run(loop, had_event, c, pv_deadline(SOON), NULL), 0);
    c->events = 0;
}

static void run_ms(int ms)
{
    assert_int_equal(pv_loop_run(loop, NULL, NULL, pv_deadline(ms * PV_NSEC_PER_MSEC), NULL), 1);
}

static void dial(struct pv_vsock *v, struct conn *c, unsigned port)
{
    struct pv_err err = PV_ERR_INIT;

    *c = (struct conn){.v = v};
    c->s = v->ops->connect(v, port, &err);
    if (!c->s)
        fail_msg("%s", err.text);
    c->s->on_event = on_event;
    c->s->arg = c;
}

static bool is_ready(void *arg)
{
    struct pv_vsock *v = arg;

    return v->error || v->ops->ready(v);
}

static bool is_broken(void *arg)
{
    return ((struct pv_vsock *)arg)->error != 0;
}

static bool is_quiesced(void *arg)
{
    return pv_serial_quiesced(arg) || is_broken(arg);
}

static void await(bool (*what)(void *arg), struct pv_vsock *v)
{
    assert_int_equal(pv_loop_run(loop, what, v, pv_deadline(SOON), NULL), 0);
}

/* ---- a guest that lies: we are QEMU and the guest ---- */

static struct pv_vsock *new_serial(int *fd)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_vsock *v = pv_serial_new(loop, &err);

    assert_non_null(v);
    assert_true(pv_is_serial(v));
    *fd = v->qemu_fd;
    v->qemu_fd = -1;
    return v;
}

static void take(int fd, void *buf, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t r = recv(fd, (char *)buf + done, n - done, MSG_DONTWAIT);

        if (r > 0)
            done += (size_t)r;
        else
            run_ms(1);
    }
}

static void expect(int fd, unsigned type, unsigned channel, void *payload, uint32_t n)
{
    uint8_t head[PV_MUX_HEADER];
    struct pv_mux_header h;

    take(fd, head, sizeof(head));
    assert_null(pv_mux_header(head, &h));
    assert_string_equal(pv_mux_name(h.type), pv_mux_name(type));
    assert_int_equal(h.channel, channel);
    assert_int_equal(h.length, n);
    take(fd, payload, n);
}

static void give(int fd, const void *p, size_t n)
{
    assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
}

static void say(int fd, unsigned type, unsigned channel, uint32_t n, uint32_t word)
{
    static uint8_t p[PV_MUX_HEADER + PV_MUX_MAX];

    pv_mux_put_header(p, type, (uint16_t)channel, n);
    memset(p + PV_MUX_HEADER, 'x', PV_MUX_MAX);
    pv_mux_put_u32(p + PV_MUX_HEADER, word);
    give(fd, p, PV_MUX_HEADER + n);
}

static struct pv_vsock *greeted(int *fd)
{
    struct pv_vsock *v = new_serial(fd);
    uint8_t hello[PV_MUX_HEADER + PV_MUX_NONCE + 4];

    take(*fd, hello, sizeof(hello));
    assert_false(v->ops->ready(v));
    give(*fd, hello, sizeof(hello));
    await(is_ready, v);
    assert_true(v->ops->ready(v));
    return v;
}

static void test_greeting(void **state)
{
    static uint8_t junk[4096];
    int fd;
    struct pv_vsock *v = new_serial(&fd);
    uint8_t hello[PV_MUX_HEADER + PV_MUX_NONCE + 4];

    (void)state;
    take(fd, hello, sizeof(hello));
    memset(junk, hello[0], sizeof(junk));
    for (size_t i = 0; i < 1000000 / sizeof(junk); i++) {
        give(fd, junk, sizeof(junk));
        run_ms(0);
    }
    hello[20] ^= 1; /* an answer to somebody else */
    give(fd, hello, sizeof(hello));
    hello[20] ^= 1;
    say(fd, PV_MUX_OPENED, 1, 0, 0);
    give(fd, hello, 20); /* the beginning of ours, twice, in two pieces */
    give(fd, hello, 20);
    run_ms(5);
    assert_false(v->ops->ready(v));
    give(fd, hello + 20, sizeof(hello) - 20);
    await(is_ready, v);
    assert_int_equal(v->error, 0);
    v->ops->free(v);
    close(fd);

    v = new_serial(&fd);
    for (size_t i = 0; i < 300 && !v->error; i++) {
        give(fd, junk, sizeof(junk));
        run_ms(0);
    }
    assert_int_equal(v->error, EPROTO);
    assert_non_null(strstr(v->error_text, "no answer to the greeting"));
    v->ops->free(v);
    close(fd);
}

/* What a guest may not say when channel 1 is open, 2 waits for its answer, and 3 does not exist. */
static const struct lie {
    unsigned type, channel;
    uint32_t n, word;
    const char *why;
} lies[] = {
    {0, 0, 0, 0, "unknown type"},
    {0xff, 1, 4, 0, "unknown type"},
    {PV_MUX_DATA, 1, 0, 0, "length does not fit"},
    {PV_MUX_CREDIT, 1, 8, 0, "length does not fit"},
    {PV_MUX_DATA, 0, 4, 0, "channel does not fit"},
    {PV_MUX_QUIESCED, 1, 4, 0, "channel does not fit"},
    {PV_MUX_DATA, 257, 4, 0, "channel does not fit"},
    {PV_MUX_DATA, 3, 4, 0, "not open"},
    {PV_MUX_CLOSE, 3, 0, 0, "not open"},
    {PV_MUX_OPENED, 3, 0, 0, "not open"},
    {PV_MUX_DATA, 2, 4, 0, "not opened yet"},
    {PV_MUX_CREDIT, 2, 4, 1, "not opened yet"},
    {PV_MUX_CLOSE, 2, 0, 0, "not opened yet"},
    {PV_MUX_REFUSED, 2, 4, 0, "without a reason"},
    {PV_MUX_OPENED, 1, 0, 0, "answer to no OPEN"},
    {PV_MUX_REFUSED, 1, 4, 111, "answer to no OPEN"},
    {PV_MUX_CREDIT, 1, 4, 0, "CREDIT for more"},
    {PV_MUX_CREDIT, 1, 4, 1, "CREDIT for more"},
    {PV_MUX_CREDIT, 1, 4, UINT32_MAX, "CREDIT for more"},
    {PV_MUX_OPEN, 1, 4, 5, "only the host may send"},
    {PV_MUX_WAKE, 0, 0, 0, "only the host may send"},
    {PV_MUX_QUIESCE, 0, 8, 0, "only the host may send"},
    {PV_MUX_HELLO, 0, 20, 0, "second greeting"},
    {PV_MUX_QUIESCED, 0, 4, 0, "no QUIESCE"},
    {PV_MUX_QUIESCED, 0, 4, 1, "no QUIESCE"},
};

static struct pv_vsock *two_channels(int *fd, struct conn c[2])
{
    struct pv_vsock *v = greeted(fd);
    uint8_t port[4];

    for (unsigned i = 0; i < 2; i++) {
        dial(v, &c[i], 5 + i);
        expect(*fd, PV_MUX_OPEN, 1 + i, port, 4);
        assert_int_equal(pv_mux_u32(port), 5 + i);
        assert_true(c[i].s->connecting);
    }
    say(*fd, PV_MUX_OPENED, 1, 0, 0);
    wait_event(&c[0]);
    assert_false(c[0].s->connecting);
    return v;
}

static void test_lies(void **state)
{
    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(lies); i++) {
        struct pv_err err = PV_ERR_INIT;
        struct conn c[2];
        int fd;
        struct pv_vsock *v = two_channels(&fd, c);
        char byte;

        say(fd, lies[i].type, lies[i].channel, lies[i].n, lies[i].word);
        await(is_broken, v);
        if (!strstr(v->error_text, lies[i].why))
            fail_msg("lie %zu: '%s' is not in '%s'", i, lies[i].why, v->error_text);
        for (int k = 0; k < 2; k++) {
            wait_event(&c[k]);
            assert_int_equal(c[k].s->error, EPROTO);
            assert_int_equal(pv_stream_read(c[k].s, &byte, 1), -EPROTO);
            assert_int_equal(pv_stream_write(c[k].s, "x", 1), -EPROTO);
        }
        assert_null(v->ops->connect(v, 5, &err));
        assert_non_null(strstr(err.text, lies[i].why));
        pv_stream_close(c[0].s); /* one before, one behind the device */
        v->ops->free(v);
        assert_int_equal(pv_stream_read(c[1].s, &byte, 1), -EPROTO);
        pv_stream_close(c[1].s);
        close(fd);
    }
}

static void test_second_byte(void **state)
{
    static const uint8_t odd[] = {PV_MUX_CLOSE, 1, 1, 0, 0, 0, 0, 0};
    struct conn c[2];
    int fd;
    struct pv_vsock *v = two_channels(&fd, c);

    (void)state;
    give(fd, odd, sizeof(odd));
    await(is_broken, v);
    assert_non_null(strstr(v->error_text, "second byte"));
    v->ops->free(v);
    pv_stream_close(c[0].s);
    pv_stream_close(c[1].s);
    close(fd);
}

/* The window, both ways; CLOSE, both ways; numbers that are used again. */
static void test_channel(void **state)
{
    static uint8_t buf[PV_MUX_WINDOW + 1];
    uint8_t word[4];
    struct conn c[2];
    int fd;
    struct pv_vsock *v = two_channels(&fd, c);

    (void)state;
    for (int i = 0; i < 4; i++)
        say(fd, PV_MUX_DATA, 1, PV_MUX_MAX, 0);
    wait_event(&c[0]);
    run_ms(1);
    assert_int_equal(pv_stream_read(c[0].s, buf, PV_MUX_GRANT - 1), PV_MUX_GRANT - 1);
    run_ms(1);
    assert_int_equal(recv(fd, buf, 1, MSG_DONTWAIT), -1); /* not worth a packet yet */
    assert_int_equal(pv_stream_read(c[0].s, buf, 1), 1);
    expect(fd, PV_MUX_CREDIT, 1, word, 4);
    assert_int_equal(pv_mux_u32(word), PV_MUX_GRANT);
    say(fd, PV_MUX_DATA, 1, PV_MUX_MAX, 0);
    say(fd, PV_MUX_CLOSE, 1, 0, 0); /* what came before can still be read */
    expect(fd, PV_MUX_CLOSE, 1, NULL, 0);
    for (size_t n = 0; n < PV_MUX_WINDOW;) {
        ssize_t r = pv_stream_read(c[0].s, buf, sizeof(buf));

        assert_true(r > 0);
        n += (size_t)r;
    }
    assert_int_equal(pv_stream_read(c[0].s, buf, 1), 0);
    assert_int_equal(pv_stream_write(c[0].s, "x", 1), -EPIPE);

    say(fd, PV_MUX_REFUSED, 2, 4, ECONNREFUSED);
    wait_event(&c[1]);
    assert_int_equal(c[1].s->error, ECONNREFUSED);
    pv_stream_close(c[1].s);
    dial(v, &c[1], 9); /* gets number 1: the guest has closed it, its owner not yet */
    expect(fd, PV_MUX_OPEN, 1, word, 4);
    pv_stream_close(c[0].s);
    c[0].s = NULL;
    /* Written before the answer, as far as the window goes. */
    memset(buf, 'y', sizeof(buf));
    for (ssize_t n = 0, r; n < PV_MUX_WINDOW; n += r) {
        static uint8_t got[PV_MUX_WINDOW];

        while ((r = pv_stream_write(c[1].s, buf, sizeof(buf))) == -EAGAIN)
            run_ms(1);
        assert_true(r > 0);
        for (ssize_t left = r; left > 0; left -= PV_MUX_MAX)
            expect(fd, PV_MUX_DATA, 1, got, (uint32_t)(left < PV_MUX_MAX ? left : PV_MUX_MAX));
    }
    assert_int_equal(pv_stream_write(c[1].s, buf, 1), -EAGAIN);
    say(fd, PV_MUX_OPENED, 1, 0, 0);
    wait_event(&c[1]);
    pv_stream_want_write(c[1].s, true);
    say(fd, PV_MUX_CREDIT, 1, 4, 3);
    wait_event(&c[1]);
    assert_int_equal(pv_stream_write(c[1].s, buf, 100), 3);
    expect(fd, PV_MUX_DATA, 1, buf, 3);
    /* Closed by us: what still comes is dropped, and its number is free with the guest's CLOSE. */
    pv_stream_close(c[1].s);
    expect(fd, PV_MUX_CLOSE, 1, NULL, 0);
    say(fd, PV_MUX_DATA, 1, 77, 0);
    dial(v, &c[0], 9);
    expect(fd, PV_MUX_OPEN, 2, word, 4);
    say(fd, PV_MUX_CLOSE, 1, 0, 0);
    run_ms(2);
    dial(v, &c[1], 9);
    expect(fd, PV_MUX_OPEN, 1, word, 4);
    assert_int_equal(v->error, 0);
    /* More than was granted. */
    say(fd, PV_MUX_OPENED, 1, 0, 0);
    for (int i = 0; i < 4; i++)
        say(fd, PV_MUX_DATA, 1, PV_MUX_MAX, 0);
    say(fd, PV_MUX_DATA, 1, 1, 0);
    await(is_broken, v);
    assert_non_null(strstr(v->error_text, "more DATA than it was granted"));
    v->ops->free(v);
    pv_stream_close(c[0].s);
    pv_stream_close(c[1].s);
    close(fd);
}

static void test_rest_lies(void **state)
{
    struct conn c[2];
    uint8_t q[8];
    int fd;
    struct pv_vsock *v = two_channels(&fd, c);

    (void)state;
    pv_serial_quiesce(v, false);
    expect(fd, PV_MUX_QUIESCE, 0, q, 8);
    assert_int_equal(pv_mux_u32(q), 0);
    assert_int_equal(pv_stream_write(c[0].s, "x", 1), -EAGAIN); /* held back */
    pv_serial_wake(v);
    expect(fd, PV_MUX_WAKE, 0, NULL, 0);
    pv_serial_quiesce(v, false);
    say(fd, PV_MUX_QUIESCED, 0, 4, pv_mux_u32(q + 4)); /* of the first one: late, and not an answer */
    expect(fd, PV_MUX_QUIESCE, 0, q, 8);
    run_ms(5);
    assert_int_equal(v->error, 0);
    assert_false(pv_serial_quiesced(v));
    say(fd, PV_MUX_QUIESCED, 0, 4, pv_mux_u32(q + 4));
    await(is_quiesced, v);
    assert_true(pv_serial_quiesced(v));
    say(fd, PV_MUX_DATA, 1, 5, 0);
    await(is_broken, v);
    assert_non_null(strstr(v->error_text, "at rest"));
    assert_false(pv_serial_quiesced(v));
    pv_stream_close(c[0].s);
    pv_stream_close(c[1].s);
    v->ops->free(v);
    close(fd);
}

static void test_gone(void **state)
{
    struct conn c[2];
    int fd;
    struct pv_vsock *v = two_channels(&fd, c);

    (void)state;
    c[1].close_in_event = c[0].free_in_event = true;
    close(fd); /* QEMU dies */
    while (c[0].v)
        wait_event(&c[0]);
    assert_null(c[1].s); /* the younger one is told first */
    assert_int_equal(pv_stream_write(c[0].s, "x", 1), -ECONNRESET);
    pv_stream_close(c[0].s);
    (void)v;
}

/* No byte string does more than break the device. */
static void test_random(void **state)
{
    (void)state;
    srand(7);
    for (int i = 0; i < 400; i++) {
        struct conn c[2];
        int fd;
        struct pv_vsock *v = two_channels(&fd, c);

        for (int k = 0; k < 30 && !v->error; k++) {
            static const unsigned types[] = {PV_MUX_OPENED,  PV_MUX_DATA,     PV_MUX_CREDIT, PV_MUX_CLOSE,
                                             PV_MUX_REFUSED, PV_MUX_QUIESCED, PV_MUX_DATA,   0x55};
            uint8_t drop[4096];

            say(fd, types[rand() % 8], (unsigned)rand() % 3, (uint32_t)rand() % 6, (uint32_t)rand() % 9);
            run_ms(0);
            while (recv(fd, drop, sizeof(drop), MSG_DONTWAIT) > 0)
                ;
        }
        pv_stream_close(c[0].s);
        v->ops->free(v);
        pv_stream_close(c[1].s);
        close(fd);
    }
}

/* ---- the real agent behind a relay ---- */

struct relay {
    pid_t pid;
    struct pv_vsock *v;
    int host, guest; /* sockets */
    struct pv_watch hw, gw;
    bool hold; /* what the agent says waits */
    struct pv_buf held;
    size_t from_agent; /* bytes, ever */
};

static void pass(int from, int to, struct pv_buf *held, bool hold, size_t *count)
{
    char buf[65536];
    ssize_t n = recv(from, buf, sizeof(buf), MSG_DONTWAIT);

    if (n <= 0)
        return;
    if (count)
        *count += (size_t)n;
    if (hold) {
        pv_buf_add(held, buf, (size_t)n);
        return;
    }
    for (ssize_t done = 0; done < n;) {
        ssize_t r = send(to, buf + done, (size_t)(n - done), MSG_NOSIGNAL | MSG_DONTWAIT);
        struct pollfd p = {.fd = to, .events = POLLOUT};

        if (r < 0 && errno != EAGAIN)
            return;
        if (r < 0)
            poll(&p, 1, 100);
        else
            done += r;
    }
}

static void on_host(struct pv_watch *w, uint32_t events)
{
    struct relay *r = PV_CONTAINER_OF(w, struct relay, hw);

    (void)events;
    pass(r->host, r->guest, NULL, false, NULL);
}

static void on_guest(struct pv_watch *w, uint32_t events)
{
    struct relay *r = PV_CONTAINER_OF(w, struct relay, gw);

    (void)events;
    pass(r->guest, r->host, &r->held, r->hold, &r->from_agent);
}

/* A conversation: the first, or another one with the same agent, as after a resume. */
static void converse(struct relay *r)
{
    struct pv_err err = PV_ERR_INIT;

    if (r->v) {
        r->v->ops->free(r->v);
        pv_loop_del(loop, &r->hw);
        close(r->host);
    }
    r->v = new_serial(&r->host);
    r->hw.fn = on_host;
    assert_int_equal(pv_loop_add(loop, &r->hw, r->host, EPOLLIN, &err), 0);
    r->hold = false;
    if (r->held.len) {
        assert_int_equal(send(r->host, r->held.data, r->held.len, MSG_NOSIGNAL), (ssize_t)r->held.len);
        pv_buf_free(&r->held);
    }
}

static void start_agent(struct relay *r)
{
    struct pv_err err = PV_ERR_INIT;
    int sv[2];
    char number[16];

    *r = (struct relay){.hw = {.fd = -1}, .gw = {.fd = -1, .fn = on_guest}};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
    snprintf(number, sizeof(number), "%d", sv[1]);
    r->pid = fork();
    if (r->pid == 0) {
        close(sv[0]);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(agent, agent, "--mux", number, (char *)NULL);
        _exit(127);
    }
    close(sv[1]);
    r->guest = sv[0];
    assert_int_equal(pv_loop_add(loop, &r->gw, r->guest, EPOLLIN, &err), 0);
    converse(r);
    await(is_ready, r->v);
    assert_int_equal(r->v->error, 0);
}

static void stop_agent(struct relay *r)
{
    int status;

    r->v->ops->free(r->v);
    pv_loop_del(loop, &r->hw);
    pv_loop_del(loop, &r->gw);
    close(r->host);
    close(r->guest);
    alarm(20);
    assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
    alarm(0);
    assert_int_equal(status, 0);
}

/* ---- frames over it ---- */

static void recv_bytes(struct conn *c, void *buf, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t r = pv_stream_read(c->s, (char *)buf + done, n - done);

        if (r > 0)
            done += (size_t)r;
        else if (r == -EAGAIN)
            wait_event(c);
        else
            fail_msg("read: %zd", r);
    }
}

static void send_bytes(struct conn *c, const void *buf, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t r = pv_stream_write(c->s, (const char *)buf + done, n - done);

        if (r > 0) {
            done += (size_t)r;
            continue;
        }
        assert_int_equal(r, -EAGAIN);
        pv_stream_want_write(c->s, true);
        wait_event(c);
        pv_stream_want_write(c->s, false);
    }
}

static uint8_t frame[PV_FRAME_HEADER + PV_FRAME_MAX];

static struct pv_dec recv_frame(struct conn *c, unsigned want)
{
    unsigned type;
    uint32_t n;

    recv_bytes(c, frame, PV_FRAME_HEADER);
    assert_true(pv_frame_header(frame, &type, &n));
    assert_string_equal(pv_msg_name(type), pv_msg_name(want));
    recv_bytes(c, frame + PV_FRAME_HEADER, n);
    return (struct pv_dec){.p = frame + PV_FRAME_HEADER, .n = n};
}

static uint32_t greet(struct conn *c)
{
    struct pv_dec d = recv_frame(c, PV_MSG_READY);

    assert_int_equal(pv_dec_u32(&d), PV_WIRE_MAGIC);
    assert_int_equal(pv_dec_u32(&d), PV_WIRE_VERSION);
    return pv_dec_u32(&d);
}

static struct pv_enc request(unsigned type, uint32_t id)
{
    struct pv_enc e = {.p = frame, .cap = sizeof(frame)};

    pv_enc_begin(&e, type);
    pv_enc_u32(&e, id);
    return e;
}

static void send_frame(struct conn *c, struct pv_enc *e)
{
    size_t n = pv_enc_end(e);

    assert_true(n > 0);
    send_bytes(c, frame, n);
}

static void ping(struct conn *c, uint32_t id, size_t n)
{
    static uint8_t data[512 * 1024];
    struct pv_enc e = request(PV_MSG_PING, id);
    struct pv_dec d;
    size_t got;

    memset(data, (int)id, n);
    pv_enc_bytes(&e, data, n);
    send_frame(c, &e);
    d = recv_frame(c, PV_MSG_PONG);
    assert_int_equal(pv_dec_u32(&d), id);
    assert_memory_equal(pv_dec_bytes(&d, &got), data, n);
    assert_int_equal(got, n);
}

static void test_sessions(void **state)
{
    struct relay r;
    struct conn a, b, none;

    (void)state;
    start_agent(&r);
    dial(r.v, &a, PV_AGENT_PORT);
    dial(r.v, &b, PV_AGENT_PORT);
    dial(r.v, &none, 77);
    assert_int_not_equal(greet(&a), greet(&b));
    while (none.s->connecting)
        wait_event(&none);
    assert_int_equal(none.s->error, ECONNREFUSED);
    pv_stream_close(none.s);
    for (uint32_t i = 1; i < 20; i++) {
        ping(&a, i, i * 20000);
        ping(&b, i, i);
    }
    pv_stream_close(a.s);
    ping(&b, 99, 512 * 1024);
    pv_stream_close(b.s);
    stop_agent(&r);
}

/* One session sleeps in a system call with its input full; the other moves 64 MiB each way meanwhile. */
static void test_stuck(void **state)
{
    static uint8_t much[PV_MUX_WINDOW];
    uint64_t ts[2] = {0, 0};
    struct relay r;
    struct conn a, b;
    struct pv_enc e;
    ssize_t n = 0, k;
    uint32_t sleeper;

    (void)state;
    start_agent(&r);
    dial(r.v, &a, PV_AGENT_PORT);
    dial(r.v, &b, PV_AGENT_PORT);
    sleeper = greet(&a);
    greet(&b);
    ts[0] = 3600;
    e = request(PV_MSG_SYSCALL, 1);
    pv_enc_u64(&e, 0);
    pv_enc_u64(&e, SYS_nanosleep);
    for (int i = 0; i < 6; i++)
        pv_enc_u64(&e, 0);
    pv_enc_u32(&e, 1);
    pv_enc_u32(&e, 0);
    pv_enc_bytes(&e, ts, sizeof(ts));
    pv_enc_u32(&e, 0);
    send_frame(&a, &e);
    run_ms(50);
    for (int quiet = 0; quiet < 20; run_ms(5)) { /* until nothing is taken any more */
        k = pv_stream_write(a.s, much, sizeof(much));
        n += k > 0 ? k : 0;
        quiet = k > 0 ? 0 : quiet + 1;
        assert_true(n < 64 << 20);
    }
    assert_true(n >= PV_MUX_WINDOW);
    for (uint32_t i = 1; i <= 128; i++)
        ping(&b, i, 512 * 1024);
    kill((pid_t)sleeper, SIGKILL); /* nothing else would end it within the hour */
    pv_stream_close(a.s);
    pv_stream_close(b.s);
    stop_agent(&r);
}

static uint32_t spawn(struct conn *c, uint32_t id, uint32_t flags)
{
    struct pv_enc e = request(PV_MSG_SPAWN, id);
    struct pv_dec d;

    pv_enc_u32(&e, flags);
    send_frame(c, &e);
    d = recv_frame(c, PV_MSG_WORKER);
    assert_int_equal(pv_dec_u32(&d), id);
    return pv_dec_u32(&d);
}

static void test_workers(void **state)
{
    struct relay r;
    struct conn a, w[2], again;

    (void)state;
    start_agent(&r);
    dial(r.v, &a, PV_AGENT_PORT);
    greet(&a);
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t port = spawn(&a, 1 + i, i ? PV_SPAWN_THREAD : 0);

        dial(r.v, &w[i], port);
        greet(&w[i]);
        ping(&w[i], 5, 100000);
        dial(r.v, &again, port); /* taken */
        while (again.s->connecting)
            wait_event(&again);
        assert_int_equal(again.s->error, ECONNREFUSED);
        pv_stream_close(again.s);
    }
    pv_stream_close(a.s); /* they outlive their session's connection */
    ping(&w[0], 6, 10);
    pv_stream_close(w[0].s);
    pv_stream_close(w[1].s);
    stop_agent(&r);
}

static void job_start(struct conn *c, uint32_t id, const char *cmd, uint32_t *pid)
{
    struct pv_enc e = request(PV_MSG_JOB_START, id);
    const char *const words[] = {"/bin/sh", "-c", cmd};
    struct pv_dec d;

    pv_enc_bytes(&e, "/", 1);
    pv_enc_u32(&e, 3);
    for (int i = 0; i < 3; i++)
        pv_enc_bytes(&e, words[i], strlen(words[i]));
    pv_enc_u32(&e, 0);
    send_frame(c, &e);
    d = recv_frame(c, PV_MSG_JOB);
    pv_dec_u32(&d);
    pv_dec_u32(&d);
    *pid = pv_dec_u32(&d);
}

/* With PV_MUX_IDLE nothing is left: no session, no worker that nobody met, no job. Then all is quiet. */
static void test_idle(void **state)
{
    struct relay r;
    struct conn a, b;
    uint32_t job, was;
    size_t said;

    (void)state;
    start_agent(&r);
    dial(r.v, &a, PV_AGENT_PORT);
    was = greet(&a);
    spawn(&a, 1, 0);
    job_start(&a, 2, "sleep 1000 & sleep 1000", &job);
    assert_int_equal(kill((pid_t)job, 0), 0);
    pv_stream_close(a.s);
    pv_serial_quiesce(r.v, true);
    await(is_quiesced, r.v);
    assert_int_equal(r.v->error, 0);
    assert_int_equal(kill((pid_t)job, 0), -1);
    assert_int_equal(kill((pid_t)was, 0), -1);
    said = r.from_agent;
    dial(r.v, &b, PV_AGENT_PORT); /* held back */
    run_ms(50);
    assert_int_equal(r.from_agent, said);
    assert_true(b.s->connecting);
    pv_serial_wake(r.v);
    greet(&b);
    ping(&b, 1, 100000);
    pv_stream_close(b.s);
    /* Again, and as a machine that is resumed sees it: another conversation. */
    pv_serial_quiesce(r.v, true);
    await(is_quiesced, r.v);
    converse(&r);
    dial(r.v, &b, PV_AGENT_PORT); /* behind the HELLO, before its answer */
    greet(&b);
    ping(&b, 2, 100000);
    pv_stream_close(b.s);
    stop_agent(&r);
}

/* Without it sessions live on: in the machine that goes on, not in one that is resumed. */
static void test_not_idle(void **state)
{
    struct relay r;
    struct conn a, b;
    uint32_t was, now;
    char byte;
    size_t said;
    struct pv_enc e;

    (void)state;
    start_agent(&r);
    dial(r.v, &a, PV_AGENT_PORT);
    was = greet(&a);
    pv_serial_quiesce(r.v, false);
    await(is_quiesced, r.v);
    assert_int_equal(pv_stream_write(a.s, "x", 1), -EAGAIN);
    pv_serial_wake(r.v);
    ping(&a, 1, 300000);
    /* A job that says something while the agent is at rest is heard after it. */
    e = request(PV_MSG_EXEC, 2);
    pv_enc_u32(&e, 0);
    pv_enc_u64(&e, 0);
    pv_enc_bytes(&e, "", 0);
    pv_enc_u32(&e, 3);
    pv_enc_bytes(&e, "/bin/sh", 7);
    pv_enc_bytes(&e, "-c", 2);
    pv_enc_bytes(&e, "sleep 0.2; echo late", 20);
    pv_enc_u32(&e, 0);
    send_frame(&a, &e);
    pv_serial_quiesce(r.v, false);
    await(is_quiesced, r.v);
    said = r.from_agent;
    run_ms(500);
    assert_int_equal(r.from_agent, said);
    pv_serial_wake(r.v);
    recv_frame(&a, PV_MSG_STDOUT);
    recv_frame(&a, PV_MSG_EXIT);

    /* What it says now is on its way when the machine is saved; no clone may take it for an answer. */
    r.hold = true;
    e = request(PV_MSG_PING, 7);
    pv_enc_bytes(&e, "old", 3);
    send_frame(&a, &e);
    run_ms(50);
    assert_true(r.held.len > 0);
    converse(&r);
    assert_int_equal(pv_stream_read(a.s, &byte, 1), -ECONNRESET);
    pv_stream_close(a.s);
    dial(r.v, &b, PV_AGENT_PORT);
    now = greet(&b);
    assert_int_not_equal(now, was);
    ping(&b, 7, 3);
    for (int i = 0; kill((pid_t)was, 0) == 0 && i < 200; i++)
        run_ms(10);
    assert_int_equal(kill((pid_t)was, 0), -1); /* the old session has ended */
    pv_stream_close(b.s);
    stop_agent(&r);
}

/* A host that talks nonsense: the agent forgets all, and HELLO helps. */
static void test_bad_host(void **state)
{
    static const uint8_t bad[][12] = {
        {0x55, 0, 0, 0, 0, 0, 0, 0},
        {PV_MUX_OPENED, 0, 1, 0, 0, 0, 0, 0},
        {PV_MUX_DATA, 0, 1, 0, 0, 0, 2, 0},
        {PV_MUX_OPEN, 0, 1, 0, 4, 0, 0, 0, 3, 20, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(bad); i++) {
        struct relay r;
        struct conn a;

        start_agent(&r);
        dial(r.v, &a, PV_AGENT_PORT);
        greet(&a);
        assert_int_equal(send(r.guest, bad[i], sizeof(bad[i]), MSG_NOSIGNAL), sizeof(bad[i]));
        await(is_broken, r.v);
        pv_stream_close(a.s);
        converse(&r);
        await(is_ready, r.v);
        assert_int_equal(r.v->error, 0);
        dial(r.v, &a, PV_AGENT_PORT);
        greet(&a);
        ping(&a, 1, 50000);
        pv_stream_close(a.s);
        stop_agent(&r);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greeting), cmocka_unit_test(test_lies),      cmocka_unit_test(test_second_byte),
        cmocka_unit_test(test_channel),  cmocka_unit_test(test_rest_lies), cmocka_unit_test(test_gone),
        cmocka_unit_test(test_random),   cmocka_unit_test(test_sessions),  cmocka_unit_test(test_stuck),
        cmocka_unit_test(test_workers),  cmocka_unit_test(test_idle),      cmocka_unit_test(test_not_idle),
        cmocka_unit_test(test_bad_host),
    };
    struct pv_err err = PV_ERR_INIT;

    if (argc != 2)
        return 2;
    agent = argv[1];
    signal(SIGPIPE, SIG_IGN);
    loop = pv_loop_new(&err);
    return !loop || cmocka_run_group_tests(tests, NULL, NULL);
}
