/* SPDX-License-Identifier: MIT */
/* The multiplexed channel of src/transport/serial.c against a guest that lies. */
#include "tests/serial-agent/serial-test.h"

/* ---- a guest that lies: the test plays QEMU and the guest ---- */

static void guest_recv(int fd, void *buf, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t r = recv(fd, (char *)buf + done, n - done, MSG_DONTWAIT);

        if (r > 0)
            done += (size_t)r;
        else
            run_ms(1);
    }
}

static void guest_expect(int fd, unsigned type, unsigned channel, void *payload, uint32_t n)
{
    uint8_t head[PV_MUX_HEADER];
    struct pv_mux_header h;

    guest_recv(fd, head, sizeof(head));
    assert_null(pv_mux_header(head, &h));
    assert_string_equal(pv_mux_name(h.type), pv_mux_name(type));
    assert_int_equal(h.channel, channel);
    assert_int_equal(h.length, n);
    guest_recv(fd, payload, n);
}

static void guest_send(int fd, const void *p, size_t n)
{
    assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
}

static void guest_send_packet(int fd, unsigned type, unsigned channel, uint32_t n, uint32_t word)
{
    static uint8_t p[PV_MUX_HEADER + PV_MUX_MAX];

    pv_mux_put_header(p, type, (uint16_t)channel, n);
    memset(p + PV_MUX_HEADER, 'x', PV_MUX_MAX);
    pv_mux_put_u32(p + PV_MUX_HEADER, word);
    guest_send(fd, p, PV_MUX_HEADER + n);
}

static struct pv_channel *greeted_channel(int *fd)
{
    struct pv_channel *v = new_serial(fd);
    uint8_t hello[PV_MUX_HEADER + PV_MUX_NONCE + 4];

    guest_recv(*fd, hello, sizeof(hello));
    assert_false(v->ops->ready(v));
    guest_send(*fd, hello, sizeof(hello));
    await_channel(is_ready, v);
    assert_true(v->ops->ready(v));
    return v;
}

static void test_greeting(void **state)
{
    static uint8_t junk[4096];
    int fd;
    struct pv_channel *v = new_serial(&fd);
    uint8_t hello[PV_MUX_HEADER + PV_MUX_NONCE + 4];

    (void)state;
    guest_recv(fd, hello, sizeof(hello));
    memset(junk, hello[0], sizeof(junk));
    for (size_t i = 0; i < 1000000 / sizeof(junk); i++) {
        guest_send(fd, junk, sizeof(junk));
        run_ms(0);
    }
    hello[20] ^= 1; /* a reply to another HELLO */
    guest_send(fd, hello, sizeof(hello));
    hello[20] ^= 1;
    guest_send_packet(fd, PV_MUX_OPENED, 1, 0, 0);
    guest_send(fd, hello, 20); /* the first bytes of the right reply, twice */
    guest_send(fd, hello, 20);
    run_ms(5);
    assert_false(v->ops->ready(v));
    guest_send(fd, hello + 20, sizeof(hello) - 20);
    await_channel(is_ready, v);
    assert_int_equal(v->error, 0);
    v->ops->free(v);
    close(fd);

    v = new_serial(&fd);
    for (size_t i = 0; i < 300 && !v->error; i++) {
        guest_send(fd, junk, sizeof(junk));
        run_ms(0);
    }
    assert_int_equal(v->error, EPROTO);
    assert_non_null(strstr(v->error_text, "no answer to the greeting"));
    v->ops->free(v);
    close(fd);
}

/* Illegal packets while channel 1 is open, 2 waits for its reply, and 3 does not exist. */
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

static struct pv_channel *two_channels(int *fd, struct conn c[2])
{
    struct pv_channel *v = greeted_channel(fd);
    uint8_t port[4];

    for (unsigned i = 0; i < 2; i++) {
        conn_dial(v, &c[i], 5 + i);
        guest_expect(*fd, PV_MUX_OPEN, 1 + i, port, 4);
        assert_int_equal(pv_mux_u32(port), 5 + i);
        assert_true(c[i].s->connecting);
    }
    guest_send_packet(*fd, PV_MUX_OPENED, 1, 0, 0);
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
        struct pv_channel *v = two_channels(&fd, c);
        char byte;

        guest_send_packet(fd, lies[i].type, lies[i].channel, lies[i].n, lies[i].word);
        await_channel(is_broken, v);
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
        pv_stream_close(c[0].s); /* one stream closes before the channel is freed, the other one after it */
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
    struct pv_channel *v = two_channels(&fd, c);

    (void)state;
    guest_send(fd, odd, sizeof(odd));
    await_channel(is_broken, v);
    assert_non_null(strstr(v->error_text, "second byte"));
    v->ops->free(v);
    pv_stream_close(c[0].s);
    pv_stream_close(c[1].s);
    close(fd);
}

/* The guest's DATA uses up the window, CREDIT opens it; its CLOSE comes after the data. */
static void check_window_from_guest(int fd, struct conn *c)
{
    static uint8_t buf[PV_MUX_WINDOW + 1];
    uint8_t word[4];

    for (int i = 0; i < 4; i++)
        guest_send_packet(fd, PV_MUX_DATA, 1, PV_MUX_MAX, 0);
    wait_event(c);
    run_ms(1);
    assert_int_equal(pv_stream_read(c->s, buf, PV_MUX_GRANT - 1), PV_MUX_GRANT - 1);
    run_ms(1);
    assert_int_equal(recv(fd, buf, 1, MSG_DONTWAIT), -1); /* too little for a CREDIT packet */
    assert_int_equal(pv_stream_read(c->s, buf, 1), 1);
    guest_expect(fd, PV_MUX_CREDIT, 1, word, 4);
    assert_int_equal(pv_mux_u32(word), PV_MUX_GRANT);
    guest_send_packet(fd, PV_MUX_DATA, 1, PV_MUX_MAX, 0);
    guest_send_packet(fd, PV_MUX_CLOSE, 1, 0, 0); /* the data before it can still be read */
    guest_expect(fd, PV_MUX_CLOSE, 1, NULL, 0);
    for (size_t n = 0; n < PV_MUX_WINDOW;) {
        ssize_t r = pv_stream_read(c->s, buf, sizeof(buf));

        assert_true(r > 0);
        n += (size_t)r;
    }
    assert_int_equal(pv_stream_read(c->s, buf, 1), 0);
    assert_int_equal(pv_stream_write(c->s, "x", 1), -EPIPE);
}

/* A channel number is reused before its stream closes; DATA is sent before OPENED, up to the window. */
static void check_window_to_guest(int fd, struct pv_channel *v, struct conn *c)
{
    static uint8_t buf[PV_MUX_WINDOW + 1];
    uint8_t word[4];

    guest_send_packet(fd, PV_MUX_REFUSED, 2, 4, ECONNREFUSED);
    wait_event(&c[1]);
    assert_int_equal(c[1].s->error, ECONNREFUSED);
    pv_stream_close(c[1].s);
    conn_dial(v, &c[1], 9); /* gets number 1: the guest has closed that channel, its stream is still open */
    guest_expect(fd, PV_MUX_OPEN, 1, word, 4);
    pv_stream_close(c[0].s);
    c[0].s = NULL;
    memset(buf, 'y', sizeof(buf));
    for (ssize_t n = 0, r; n < PV_MUX_WINDOW; n += r) {
        static uint8_t got[PV_MUX_WINDOW];

        while ((r = pv_stream_write(c[1].s, buf, sizeof(buf))) == -EAGAIN)
            run_ms(1);
        assert_true(r > 0);
        for (ssize_t left = r; left > 0; left -= PV_MUX_MAX)
            guest_expect(fd, PV_MUX_DATA, 1, got, (uint32_t)(left < PV_MUX_MAX ? left : PV_MUX_MAX));
    }
    assert_int_equal(pv_stream_write(c[1].s, buf, 1), -EAGAIN);
    guest_send_packet(fd, PV_MUX_OPENED, 1, 0, 0);
    wait_event(&c[1]);
    pv_stream_want_write(c[1].s, true);
    guest_send_packet(fd, PV_MUX_CREDIT, 1, 4, 3);
    wait_event(&c[1]);
    assert_int_equal(pv_stream_write(c[1].s, buf, 100), 3);
    guest_expect(fd, PV_MUX_DATA, 1, buf, 3);
}

/* After the host's CLOSE further DATA is dropped; the guest's CLOSE frees the number. */
static void check_close_by_host(int fd, struct pv_channel *v, struct conn *c)
{
    uint8_t word[4];

    pv_stream_close(c[1].s);
    guest_expect(fd, PV_MUX_CLOSE, 1, NULL, 0);
    guest_send_packet(fd, PV_MUX_DATA, 1, 77, 0);
    conn_dial(v, &c[0], 9);
    guest_expect(fd, PV_MUX_OPEN, 2, word, 4);
    guest_send_packet(fd, PV_MUX_CLOSE, 1, 0, 0);
    run_ms(2);
    conn_dial(v, &c[1], 9);
    guest_expect(fd, PV_MUX_OPEN, 1, word, 4);
    assert_int_equal(v->error, 0);
}

static void test_channel(void **state)
{
    struct conn c[2];
    int fd;
    struct pv_channel *v = two_channels(&fd, c);

    (void)state;
    check_window_from_guest(fd, &c[0]);
    check_window_to_guest(fd, v, c);
    check_close_by_host(fd, v, c);
    /* The guest sends more than its window. */
    guest_send_packet(fd, PV_MUX_OPENED, 1, 0, 0);
    for (int i = 0; i < 4; i++)
        guest_send_packet(fd, PV_MUX_DATA, 1, PV_MUX_MAX, 0);
    guest_send_packet(fd, PV_MUX_DATA, 1, 1, 0);
    await_channel(is_broken, v);
    assert_non_null(strstr(v->error_text, "more DATA than it was granted"));
    v->ops->free(v);
    pv_stream_close(c[0].s);
    pv_stream_close(c[1].s);
    close(fd);
}

/* A guest that sends and never reads: what waits for it has a bound. */
static void test_never_reads(void **state)
{
    struct conn c = {0};
    unsigned n = 0;
    int fd;
    struct pv_channel *v = greeted_channel(&fd);

    (void)state;
    for (; n < 200000 && !v->error; n++) {
        conn_dial(v, &c, 9);
        if (!v->error)
            guest_send_packet(fd, PV_MUX_REFUSED, 1, 4, ECONNREFUSED);
        wait_event(&c);
        pv_stream_close(c.s);
    }
    assert_int_equal(v->error, EPROTO);
    assert_non_null(strstr(v->error_text, "sends and does not read"));
    v->ops->free(v);
    close(fd);
}

static void test_rest_lies(void **state)
{
    struct conn c[2];
    uint8_t q[8];
    int fd;
    struct pv_channel *v = two_channels(&fd, c);

    (void)state;
    v->ops->quiesce(v, false);
    guest_expect(fd, PV_MUX_QUIESCE, 0, q, 8);
    assert_int_equal(pv_mux_u32(q), 0);
    assert_int_equal(pv_stream_write(c[0].s, "x", 1), -EAGAIN); /* held back */
    v->ops->wake(v);
    guest_expect(fd, PV_MUX_WAKE, 0, NULL, 0);
    v->ops->quiesce(v, false);
    guest_send_packet(fd, PV_MUX_QUIESCED, 0, 4,
                      pv_mux_u32(q + 4)); /* the late reply to the first QUIESCE is ignored */
    guest_expect(fd, PV_MUX_QUIESCE, 0, q, 8);
    run_ms(5);
    assert_int_equal(v->error, 0);
    assert_false(v->ops->quiesced(v));
    guest_send_packet(fd, PV_MUX_QUIESCED, 0, 4, pv_mux_u32(q + 4));
    await_channel(is_quiesced, v);
    assert_true(v->ops->quiesced(v));
    guest_send_packet(fd, PV_MUX_DATA, 1, 5, 0);
    await_channel(is_broken, v);
    assert_non_null(strstr(v->error_text, "at rest"));
    assert_false(v->ops->quiesced(v));
    pv_stream_close(c[0].s);
    pv_stream_close(c[1].s);
    v->ops->free(v);
    close(fd);
}

static void test_gone(void **state)
{
    struct conn c[2];
    int fd;
    struct pv_channel *v = two_channels(&fd, c);

    (void)state;
    c[1].close_in_event = c[0].free_in_event = true;
    close(fd); /* QEMU dies */
    while (c[0].v)
        wait_event(&c[0]);
    assert_null(c[1].s); /* the younger stream gets its event first */
    assert_int_equal(pv_stream_write(c[0].s, "x", 1), -ECONNRESET);
    pv_stream_close(c[0].s);
    (void)v;
}

/* Random bytes only break the channel. */
static void test_random(void **state)
{
    (void)state;
    srand(7);
    for (int i = 0; i < 400; i++) {
        struct conn c[2];
        int fd;
        struct pv_channel *v = two_channels(&fd, c);

        for (int k = 0; k < 30 && !v->error; k++) {
            static const unsigned types[] = {PV_MUX_OPENED,  PV_MUX_DATA,     PV_MUX_CREDIT, PV_MUX_CLOSE,
                                             PV_MUX_REFUSED, PV_MUX_QUIESCED, PV_MUX_DATA,   0x55};
            uint8_t drop[4096];

            guest_send_packet(fd, types[rand() % 8], (unsigned)rand() % 3, (uint32_t)rand() % 6,
                              (uint32_t)rand() % 9);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greeting),    cmocka_unit_test(test_lies),
        cmocka_unit_test(test_second_byte), cmocka_unit_test(test_channel),
        cmocka_unit_test(test_rest_lies),   cmocka_unit_test(test_gone),
        cmocka_unit_test(test_never_reads), cmocka_unit_test(test_random),
    };
    struct pv_err err = PV_ERR_INIT;

    signal(SIGPIPE, SIG_IGN);
    loop = pv_loop_new(&err);
    return !loop || cmocka_run_group_tests(tests, NULL, NULL);
}
