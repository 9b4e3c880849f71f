/* SPDX-License-Identifier: MIT */
/*
 * The multiplexed channel of src/transport/serial.c against the real agent (`--mux`), through a relay that
 * plays QEMU and can hold bytes back.
 */
#include "tests/serial-agent/serial-test.h"

static const char *agent;

/* ---- the real agent behind a relay ---- */

struct relay {
    pid_t pid;
    struct pv_channel *v;
    int host, guest; /* sockets */
    struct pv_watch hw, gw;
    bool hold; /* the agent's bytes go to `held` */
    struct pv_buf held;
    size_t from_agent; /* bytes in all */
};

static void relay_pass(int from, int to, struct pv_buf *held, bool hold, size_t *count)
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
    relay_pass(r->host, r->guest, NULL, false, NULL);
}

static void on_guest(struct pv_watch *w, uint32_t events)
{
    struct relay *r = PV_CONTAINER_OF(w, struct relay, gw);

    (void)events;
    relay_pass(r->guest, r->host, &r->held, r->hold, &r->from_agent);
}

/* Connects a new channel to the agent: the first one, or another one, as after a resume. */
static void relay_reconnect(struct relay *r)
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
    relay_reconnect(r);
    await_channel(is_ready, r->v);
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

/* ---- frames of a connection ---- */

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

static uint32_t conn_greet(struct conn *c)
{
    struct pv_dec d = recv_frame(c, PV_MSG_READY);

    assert_int_equal(pv_dec_u32(&d), PV_WIRE_MAGIC);
    assert_int_equal(pv_dec_u32(&d), PV_WIRE_VERSION);
    return pv_dec_u32(&d);
}

static struct pv_enc request_begin(unsigned type, uint32_t id)
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

static void conn_ping(struct conn *c, uint32_t id, size_t n)
{
    static uint8_t data[512 * 1024];
    struct pv_enc e = request_begin(PV_MSG_PING, id);
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
    conn_dial(r.v, &a, PV_AGENT_PORT);
    conn_dial(r.v, &b, PV_AGENT_PORT);
    conn_dial(r.v, &none, 77);
    assert_int_not_equal(conn_greet(&a), conn_greet(&b));
    while (none.s->connecting)
        wait_event(&none);
    assert_int_equal(none.s->error, ECONNREFUSED);
    pv_stream_close(none.s);
    for (uint32_t i = 1; i < 20; i++) {
        conn_ping(&a, i, i * 20000);
        conn_ping(&b, i, i);
    }
    pv_stream_close(a.s);
    conn_ping(&b, 99, 512 * 1024);
    pv_stream_close(b.s);
    stop_agent(&r);
}

/* One session sleeps in a system call with its input full; the other one moves 64 MiB each way. */
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
    conn_dial(r.v, &a, PV_AGENT_PORT);
    conn_dial(r.v, &b, PV_AGENT_PORT);
    sleeper = conn_greet(&a);
    conn_greet(&b);
    ts[0] = 3600;
    e = request_begin(PV_MSG_SYSCALL, 1);
    pv_enc_u64(&e, 0);
    pv_enc_u32(&e, 0);
    pv_enc_u64(&e, SYS_nanosleep);
    for (int i = 0; i < 6; i++)
        pv_enc_u64(&e, 0);
    pv_enc_u32(&e, 1);
    pv_enc_u32(&e, 0);
    pv_enc_bytes(&e, ts, sizeof(ts));
    pv_enc_u32(&e, 0);
    send_frame(&a, &e);
    run_ms(50);
    for (int quiet = 0; quiet < 20; run_ms(5)) { /* until the agent reads no more */
        k = pv_stream_write(a.s, much, sizeof(much));
        n += k > 0 ? k : 0;
        quiet = k > 0 ? 0 : quiet + 1;
        assert_true(n < 64 << 20);
    }
    assert_true(n >= PV_MUX_WINDOW);
    for (uint32_t i = 1; i <= 128; i++)
        conn_ping(&b, i, 512 * 1024);
    kill((pid_t)sleeper, SIGKILL); /* else it sleeps for an hour */
    pv_stream_close(a.s);
    pv_stream_close(b.s);
    stop_agent(&r);
}

static uint32_t conn_spawn(struct conn *c, uint32_t id, uint32_t flags)
{
    struct pv_enc e = request_begin(PV_MSG_SPAWN, id);
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
    conn_dial(r.v, &a, PV_AGENT_PORT);
    conn_greet(&a);
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t port = conn_spawn(&a, 1 + i, i ? PV_SPAWN_THREAD : 0);

        conn_dial(r.v, &w[i], port);
        conn_greet(&w[i]);
        conn_ping(&w[i], 5, 100000);
        conn_dial(r.v, &again, port); /* refused: the worker has its connection */
        while (again.s->connecting)
            wait_event(&again);
        assert_int_equal(again.s->error, ECONNREFUSED);
        pv_stream_close(again.s);
    }
    pv_stream_close(a.s); /* a worker outlives the connection of its session */
    conn_ping(&w[0], 6, 10);
    pv_stream_close(w[0].s);
    pv_stream_close(w[1].s);
    stop_agent(&r);
}

static void job_start(struct conn *c, uint32_t id, const char *cmd, uint32_t *pid)
{
    struct pv_enc e = request_begin(PV_MSG_JOB_START, id);
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

/* QUIESCE with PV_MUX_IDLE ends sessions, unconnected workers and jobs; after it the agent sends nothing. */
static void test_idle(void **state)
{
    struct relay r;
    struct conn a, b;
    uint32_t job, was;
    size_t said;

    (void)state;
    start_agent(&r);
    conn_dial(r.v, &a, PV_AGENT_PORT);
    was = conn_greet(&a);
    conn_spawn(&a, 1, 0);
    job_start(&a, 2, "sleep 1000 & sleep 1000", &job);
    assert_int_equal(kill((pid_t)job, 0), 0);
    pv_stream_close(a.s);
    r.v->ops->quiesce(r.v, true);
    await_channel(is_quiesced, r.v);
    assert_int_equal(r.v->error, 0);
    assert_int_equal(kill((pid_t)job, 0), -1);
    assert_int_equal(kill((pid_t)was, 0), -1);
    said = r.from_agent;
    conn_dial(r.v, &b, PV_AGENT_PORT); /* held back */
    run_ms(50);
    assert_int_equal(r.from_agent, said);
    assert_true(b.s->connecting);
    r.v->ops->wake(r.v);
    conn_greet(&b);
    conn_ping(&b, 1, 100000);
    pv_stream_close(b.s);
    /* A second QUIESCE, then a new channel, as in a resumed machine. */
    r.v->ops->quiesce(r.v, true);
    await_channel(is_quiesced, r.v);
    relay_reconnect(&r);
    conn_dial(r.v, &b, PV_AGENT_PORT); /* after the HELLO, before its reply */
    conn_greet(&b);
    conn_ping(&b, 2, 100000);
    pv_stream_close(b.s);
    stop_agent(&r);
}

/* Without PV_MUX_IDLE sessions survive in the machine that goes on, not in a resumed one. */
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
    conn_dial(r.v, &a, PV_AGENT_PORT);
    was = conn_greet(&a);
    r.v->ops->quiesce(r.v, false);
    await_channel(is_quiesced, r.v);
    assert_int_equal(pv_stream_write(a.s, "x", 1), -EAGAIN);
    r.v->ops->wake(r.v);
    conn_ping(&a, 1, 300000);
    /* A command's output during the quiesced time arrives after WAKE. */
    e = request_begin(PV_MSG_EXEC, 2);
    pv_enc_u32(&e, 0);
    pv_enc_u64(&e, 0);
    pv_enc_bytes(&e, "", 0);
    pv_enc_u32(&e, 3);
    pv_enc_bytes(&e, "/bin/sh", 7);
    pv_enc_bytes(&e, "-c", 2);
    pv_enc_bytes(&e, "sleep 0.2; echo late", 20);
    pv_enc_u32(&e, 0);
    send_frame(&a, &e);
    r.v->ops->quiesce(r.v, false);
    await_channel(is_quiesced, r.v);
    said = r.from_agent;
    run_ms(500);
    assert_int_equal(r.from_agent, said);
    r.v->ops->wake(r.v);
    recv_frame(&a, PV_MSG_STDOUT);
    recv_frame(&a, PV_MSG_EXIT);

    /* The reply is in flight when the machine is saved; a clone must not match it with its own request. */
    r.hold = true;
    e = request_begin(PV_MSG_PING, 7);
    pv_enc_bytes(&e, "old", 3);
    send_frame(&a, &e);
    run_ms(50);
    assert_true(r.held.len > 0);
    relay_reconnect(&r);
    assert_int_equal(pv_stream_read(a.s, &byte, 1), -ECONNRESET);
    pv_stream_close(a.s);
    conn_dial(r.v, &b, PV_AGENT_PORT);
    now = conn_greet(&b);
    assert_int_not_equal(now, was);
    conn_ping(&b, 7, 3);
    for (int i = 0; kill((pid_t)was, 0) == 0 && i < 200; i++)
        run_ms(10);
    assert_int_equal(kill((pid_t)was, 0), -1); /* the old session has ended */
    pv_stream_close(b.s);
    stop_agent(&r);
}

/* After an illegal packet of the host the agent resets its channels, and serves the next HELLO. */
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
        conn_dial(r.v, &a, PV_AGENT_PORT);
        conn_greet(&a);
        assert_int_equal(send(r.guest, bad[i], sizeof(bad[i]), MSG_NOSIGNAL), sizeof(bad[i]));
        await_channel(is_broken, r.v);
        pv_stream_close(a.s);
        relay_reconnect(&r);
        await_channel(is_ready, r.v);
        assert_int_equal(r.v->error, 0);
        conn_dial(r.v, &a, PV_AGENT_PORT);
        conn_greet(&a);
        conn_ping(&a, 1, 50000);
        pv_stream_close(a.s);
        stop_agent(&r);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sessions), cmocka_unit_test(test_stuck),    cmocka_unit_test(test_workers),
        cmocka_unit_test(test_idle),     cmocka_unit_test(test_not_idle), cmocka_unit_test(test_bad_host),
    };
    struct pv_err err = PV_ERR_INIT;

    if (argc != 2)
        return 2;
    agent = argv[1];
    signal(SIGPIPE, SIG_IGN);
    loop = pv_loop_new(&err);
    return !loop || cmocka_run_group_tests(tests, NULL, NULL);
}
