/* SPDX-License-Identifier: MIT */
/* A session's parser of the agent's bytes, against an honest and a lying peer on a real socket. */
#include "util/test.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/session.h"
#include "loop/loop.h"
#include "transport/stream.h"
#include "util/clock.h"
#include "util/mem.h"

struct peer {
    struct pv_loop *loop;
    struct pv_session *s;
    int fd; /* the agent's side */
    int frames;
    size_t data;
};

static void setup(struct peer *p)
{
    int sp[2];

    *p = (struct peer){.loop = pv_loop_new(NULL)};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sp), 0);
    p->fd = sp[1];
    p->s = pv_session_new(p->loop, pv_stream_take_fd(p->loop, sp[0], false, NULL));
}

static void teardown(struct peer *p)
{
    pv_session_unref(p->s);
    pv_close(&p->fd);
    pv_loop_free(p->loop);
}

static bool session_settled(void *arg)
{
    const struct peer *p = arg;

    return p->s->state == PV_SESSION_OPEN || p->s->state == PV_SESSION_BROKEN;
}

static bool request_replied(void *arg)
{
    const struct peer *p = arg;

    return p->s->state == PV_SESSION_BROKEN || p->s->replied;
}

static void peer_run(struct peer *p, bool (*until)(void *), int want)
{
    assert_int_equal(pv_loop_run(p->loop, until, p, pv_deadline(2 * PV_NSEC_PER_SEC), NULL), want);
}

static void peer_say(struct peer *p, const void *bytes, size_t n)
{
    assert_int_equal(send(p->fd, bytes, n, MSG_NOSIGNAL), n);
}

static size_t ready_frame(uint8_t *buf, size_t cap, uint32_t magic, uint32_t version)
{
    struct pv_enc e = {.p = buf, .cap = cap};

    pv_enc_begin(&e, PV_MSG_READY);
    pv_enc_u32(&e, magic);
    pv_enc_u32(&e, version);
    pv_enc_u32(&e, 77);
    pv_enc_bytes(&e, "6.1-test", 8);
    return pv_enc_end(&e);
}

static void open_session(struct peer *p)
{
    uint8_t buf[128];

    setup(p);
    peer_say(p, buf, ready_frame(buf, sizeof(buf), PV_WIRE_MAGIC, PV_WIRE_VERSION));
    peer_run(p, session_settled, 0);
    assert_int_equal(p->s->state, PV_SESSION_OPEN);
    assert_string_equal(p->s->release, "6.1-test");
    assert_int_equal(p->s->agent_pid, 77);
}

static int count_frames(void *arg, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    struct peer *p = arg;

    (void)err;
    p->frames++;
    if (type == PV_MSG_DATA) {
        size_t n;

        pv_dec_bytes(d, &n);
        p->data += n;
        return 0;
    }
    return type == PV_MSG_OK ? 1 : -1;
}

static void send_request(struct peer *p)
{
    struct pv_enc e;

    pv_session_begin(p->s, &e, PV_MSG_READ_FILE);
    p->s->on_frame = count_frames;
    p->s->arg = p;
    pv_enc_bytes(&e, "/x", 2);
    assert_int_equal(pv_session_send(p->s, &e, NULL), 0);
}

static void data_frame(struct peer *p, enum pv_msg type, uint32_t id, size_t n)
{
    uint8_t buf[4096] = {0}, zero[2048] = {0};
    struct pv_enc e = {.p = buf, .cap = sizeof(buf)};

    pv_enc_begin(&e, type);
    pv_enc_u32(&e, id);
    if (type == PV_MSG_OK)
        pv_enc_u64(&e, n);
    else
        pv_enc_bytes(&e, zero, n);
    n = pv_enc_end(&e);
    /* In two pieces, so that the session always sees half a frame first. */
    peer_say(p, buf, n / 2);
    pv_loop_run(p->loop, NULL, NULL, pv_now(), NULL);
    peer_say(p, buf + n / 2, n - n / 2);
}

static void good_session(void **state)
{
    struct peer p;

    (void)state;
    open_session(&p);
    send_request(&p);
    data_frame(&p, PV_MSG_DATA, p.s->id, 2000);
    data_frame(&p, PV_MSG_DATA, p.s->id + 7, 2000); /* stale: dropped */
    data_frame(&p, PV_MSG_DATA, p.s->id, 0);
    data_frame(&p, PV_MSG_OK, p.s->id, 2000);
    peer_run(&p, request_replied, 0);
    assert_int_equal(p.s->state, PV_SESSION_OPEN);
    assert_int_equal(p.frames, 3);
    assert_int_equal(p.data, 2000);
    teardown(&p);
}

static void expect_broken(struct peer *p, enum pv_err_class cls, const char *text)
{
    peer_run(p, request_replied, 0);
    assert_int_equal(p->s->state, PV_SESSION_BROKEN);
    assert_int_equal(p->s->err.cls, cls);
    if (!strstr(p->s->err.text, text))
        fail_msg("'%s' is not in '%s'", text, p->s->err.text);
    teardown(p);
}

static void invalid_greetings(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *text;
    } bad[] = {
        {"garbage garbage", 15, "unknown type"},
        {"\x80\xff\xff\xff\xff", 5, "4294967295 bytes"},
        {"\x80\x00\x00\x00\x00", 5, "malformed"},
        {"\x82\x04\x00\x00\x00\x01\x00\x00\x00", 9, "instead of READY"},
        {"\x02\x00\x00\x00\x00", 5, "only the host"},
    };
    uint8_t buf[128];
    struct peer p;

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(bad); i++) {
        setup(&p);
        peer_say(&p, bad[i].bytes, bad[i].n);
        expect_broken(&p, PV_E_PROTOCOL, bad[i].text);
    }
    setup(&p);
    peer_say(&p, buf, ready_frame(buf, sizeof(buf), PV_WIRE_MAGIC, PV_WIRE_VERSION + 1));
    expect_broken(&p, PV_E_PROTOCOL, "version");
    setup(&p);
    peer_say(&p, buf, ready_frame(buf, sizeof(buf), 12345, PV_WIRE_VERSION));
    expect_broken(&p, PV_E_PROTOCOL, "malformed");
}

static void invalid_replies(void **state)
{
    struct peer p;

    (void)state;
    open_session(&p);
    send_request(&p);
    peer_say(&p, "\x80\x00\x00\x00\x00", 5);
    expect_broken(&p, PV_E_PROTOCOL, "twice");
    open_session(&p);
    send_request(&p);
    peer_say(&p, "\x84\x02\x00\x00\x00\x01\x00", 7);
    expect_broken(&p, PV_E_PROTOCOL, "without an id");
    open_session(&p);
    send_request(&p);
    data_frame(&p, PV_MSG_PONG, p.s->id, 4); /* refused by the request's on_frame */
    peer_run(&p, request_replied, 0);
    assert_int_equal(p.s->state, PV_SESSION_BROKEN);
    teardown(&p);
    open_session(&p);
    send_request(&p);
    peer_say(&p, "\x84\x10\x00", 3); /* half a frame, then the end */
    shutdown(p.fd, SHUT_WR);
    expect_broken(&p, PV_E_GUEST_DIED, "middle of a frame");
}

/* A silent peer: no reply, no growth, and no return before the deadline. */
static void silent_peer(void **state)
{
    struct peer p;

    (void)state;
    open_session(&p);
    send_request(&p);
    assert_int_equal(pv_loop_run(p.loop, request_replied, &p, pv_deadline(50 * PV_NSEC_PER_MSEC), NULL), 1);
    assert_int_equal(p.s->state, PV_SESSION_OPEN);
    teardown(&p);
}

/* Unsolicited frames are dropped, in any number. */
static void flooding_peer(void **state)
{
    struct peer p;
    uint8_t buf[64];
    struct pv_enc e = {.p = buf, .cap = sizeof(buf)};
    size_t n;

    (void)state;
    open_session(&p);
    pv_enc_begin(&e, PV_MSG_STDOUT);
    pv_enc_u32(&e, 99);
    pv_enc_bytes(&e, "flood", 5);
    n = pv_enc_end(&e);
    for (int i = 0; i < 100000; i++) {
        while (send(p.fd, buf, n, MSG_NOSIGNAL) < 0) {
            assert_int_equal(errno, EAGAIN);
            pv_loop_run(p.loop, NULL, NULL, pv_now(), NULL);
        }
    }
    send_request(&p);
    data_frame(&p, PV_MSG_OK, p.s->id, 0);
    peer_run(&p, request_replied, 0);
    assert_int_equal(p.s->state, PV_SESSION_OPEN);
    teardown(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_session),    cmocka_unit_test(invalid_greetings),
        cmocka_unit_test(invalid_replies), cmocka_unit_test(silent_peer),
        cmocka_unit_test(flooding_peer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
