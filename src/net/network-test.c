/* SPDX-License-Identifier: MIT */
/* The switch with socketpairs in place of QEMU's NICs. */
#include "util/test.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/loop.h"
#include "net/capture.h"
#include "net/fate.h"
#include "net/network.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

enum { HOSTS = 3 };

struct lab {
    struct pv_loop *loop;
    struct pv_net *net;
    struct pv_net_end *end[HOSTS];
    int fd[HOSTS];
};

static void host_connect(struct lab *l, unsigned i)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    l->fd[i] = pair[0];
    assert_int_equal(pv_net_connect(l->end[i], pair[1], NULL), 0);
}

static struct lab lab_begin(uint64_t seed)
{
    struct lab l = {.loop = pv_loop_new(NULL)};
    l.net = pv_net_new(l.loop, &(struct pv_net_opts){.name = "lan", .seed = seed});
    for (unsigned i = 0; i < HOSTS; i++) {
        l.end[i] = pv_net_attach(l.net, (const char *[]){"a", "b", "c"}[i],
                                 (uint8_t[]){2, 0, 0, 0, 0, (uint8_t)(i + 1)}, NULL, NULL, NULL);
        host_connect(&l, i);
    }
    return l;
}

static void lab_end(struct lab *l)
{
    pv_net_free(l->net);
    for (unsigned i = 0; i < HOSTS; i++)
        close(l->fd[i]);
    pv_loop_free(l->loop);
}

static void lab_run(const struct lab *l, int64_t ms)
{
    pv_loop_run(l->loop, NULL, NULL, pv_deadline(ms * PV_NSEC_PER_MSEC), NULL);
}

/* A frame with a number in it; to HOSTS: broadcast. */
static void host_send(const struct lab *l, unsigned from, unsigned to, uint32_t number)
{
    uint8_t f[64] = {2, 0, 0, 0, 0, (uint8_t)(to + 1), 2, 0, 0, 0, 0, (uint8_t)(from + 1), 0x88, 0xb5};
    if (to == HOSTS)
        memset(f, 0xff, 6);
    memcpy(f + 14, &number, sizeof number);
    while (send(l->fd[from], f, sizeof f, 0) < 0) { /* a host may allow only 10 datagrams */
        assert_int_equal(errno, EAGAIN);
        lab_run(l, 0);
    }
}

/* The number of the next frame that a host has got; -1: none. */
static int64_t host_recv(const struct lab *l, unsigned i)
{
    uint8_t f[2048];
    uint32_t number;
    ssize_t n = recv(l->fd[i], f, sizeof f, MSG_DONTWAIT);
    if (n < 0)
        return -1;
    assert_int_equal(n, 64);
    memcpy(&number, f + 14, sizeof number);
    return number;
}

static void stats_find(void *arg, const char *from, const char *to, const struct pv_net_stats *s)
{
    if (strcmp(from, "a") == 0 && strcmp(to, "b") == 0)
        *(struct pv_net_stats *)arg = *s;
}

static struct pv_net_stats a_to_b(const struct lab *l)
{
    struct pv_net_stats s = {0};
    pv_net_each(l->net, stats_find, &s);
    return s;
}

static void test_forwards(void **state)
{
    (void)state;
    struct lab l = lab_begin(1);
    host_send(&l, 0, 1, 7);
    host_send(&l, 0, HOSTS, 8);
    host_send(&l, 1, 9, 9); /* a MAC that nobody has */
    lab_run(&l, 0);
    assert_int_equal(host_recv(&l, 1), 7);
    assert_int_equal(host_recv(&l, 1), 8);
    assert_int_equal(host_recv(&l, 1), -1);
    assert_int_equal(host_recv(&l, 2), 8);
    assert_int_equal(host_recv(&l, 2), 9);
    assert_int_equal(host_recv(&l, 0), 9);
    assert_int_equal(host_recv(&l, 0), -1);
    struct pv_net_stats s = a_to_b(&l);
    assert_int_equal(s.sent, 2);
    assert_int_equal(s.delivered, 2);
    lab_end(&l);
}

static void test_sizes(void **state)
{
    (void)state;
    struct lab l = lab_begin(1);
    uint8_t frame[2000];
    memset(frame, 0xff, sizeof frame);
    frame[6] = 2;
    static const size_t sizes[] = {0, 1, 13, 14, 15, 2000};
    for (size_t i = 0; i < PV_ARRAY_LEN(sizes); i++)
        assert_int_equal(send(l.fd[0], frame, sizes[i], 0), sizes[i]);
    lab_run(&l, 0);
    for (size_t i = 3; i < PV_ARRAY_LEN(sizes); i++)
        assert_int_equal(recv(l.fd[1], frame, sizeof frame, MSG_DONTWAIT), sizes[i]);
    assert_int_equal(recv(l.fd[1], frame, sizeof frame, MSG_DONTWAIT), -1);
    lab_end(&l);
}

static void test_partitions(void **state)
{
    (void)state;
    struct lab l = lab_begin(1);
    pv_net_partition(l.net, l.end[0], l.end[1]);
    host_send(&l, 0, 1, 1);
    host_send(&l, 1, 0, 2);
    lab_run(&l, 0);
    assert_int_equal(host_recv(&l, 1), -1);
    assert_int_equal(host_recv(&l, 0), 2);
    pv_net_heal(l.net, l.end[0], l.end[1]);
    host_send(&l, 0, 1, 3);
    lab_run(&l, 0);
    assert_int_equal(host_recv(&l, 1), 3);
    pv_net_partition(l.net, NULL, l.end[1]);
    pv_net_partition(l.net, l.end[0], NULL);
    host_send(&l, 0, HOSTS, 4);
    host_send(&l, 2, 1, 5);
    host_send(&l, 2, 0, 6);
    lab_run(&l, 0);
    assert_int_equal(host_recv(&l, 1), -1);
    assert_int_equal(host_recv(&l, 2), -1);
    assert_int_equal(host_recv(&l, 0), 6);
    pv_net_heal_all(l.net);
    host_send(&l, 0, HOSTS, 7);
    lab_run(&l, 0);
    assert_int_equal(host_recv(&l, 1), 7);
    assert_int_equal(host_recv(&l, 2), 7);
    assert_int_equal(a_to_b(&l).partitioned, 2);
    lab_end(&l);
}

static void test_carrier_and_reconnect(void **state)
{
    (void)state;
    struct lab l = lab_begin(1);
    pv_net_carrier(l.end[1], false);
    host_send(&l, 0, 1, 1);
    host_send(&l, 1, 0, 2);
    lab_run(&l, 0);
    assert_int_equal(host_recv(&l, 1), -1);
    assert_int_equal(host_recv(&l, 0), -1);
    pv_net_carrier(l.end[1], true);
    close(l.fd[1]); /* QEMU ends */
    lab_run(&l, 0);
    host_send(&l, 0, 1, 3);
    lab_run(&l, 0);
    host_connect(&l, 1);
    host_send(&l, 0, 1, 4);
    lab_run(&l, 0);
    assert_int_equal(host_recv(&l, 1), 4);
    assert_int_equal(a_to_b(&l).dropped, 2);
    pv_net_detach(l.end[1]);
    host_send(&l, 0, 1, 5);
    lab_run(&l, 0);
    assert_int_equal(host_recv(&l, 2), 5); /* flooded: no end has the MAC any more */
    lab_end(&l);
}

/* A full socket makes the queue fill, then frames are dropped; nothing is lost without a count, nothing overtakes. */
static void test_backpressure(void **state)
{
    (void)state;
    enum { N = 5000 };
    struct lab l = lab_begin(1);
    for (uint32_t i = 0; i < N; i++) {
        host_send(&l, 0, 1, i);
        lab_run(&l, 0);
    }
    int64_t last = -1, got = 0;
    for (int empty = 0; empty < 3;) {
        int64_t v = host_recv(&l, 1);
        if (v < 0) {
            lab_run(&l, 1);
            empty++;
            continue;
        }
        assert_true(v > last);
        last = v;
        got++;
        empty = 0;
    }
    struct pv_net_stats s = a_to_b(&l);
    assert_int_equal(s.sent, N);
    assert_int_equal(s.delivered, got);
    assert_int_equal(s.dropped, N - got);
    assert_true(got >= PV_NET_QUEUE_DEFAULT && s.dropped > 0);
    lab_end(&l);
}

static void test_latency_keeps_order(void **state)
{
    (void)state;
    struct lab l = lab_begin(3);
    pv_net_impair(l.net, NULL, NULL,
                  &(struct pv_impair){.latency = 30 * PV_NSEC_PER_MSEC, .jitter = 20 * PV_NSEC_PER_MSEC});
    for (uint32_t i = 0; i < 100; i++)
        host_send(&l, 0, 1, i);
    int64_t begin = pv_now();
    lab_run(&l, 0);
    assert_int_equal(host_recv(&l, 1), -1);
    uint32_t next = 0;
    while (next < 100 && pv_now() < begin + 20 * PV_NSEC_PER_SEC) {
        lab_run(&l, 2);
        for (int64_t v = host_recv(&l, 1); v >= 0; v = host_recv(&l, 1))
            assert_int_equal(v, next++);
        if (next)
            assert_true(pv_now() - begin >= 10 * PV_NSEC_PER_MSEC);
    }
    assert_int_equal(next, 100);
    lab_end(&l);
}

static void test_rate_and_queue(void **state)
{
    (void)state;
    struct lab l = lab_begin(3);
    /* 64 bytes are 512 bits: at 51,200 bits a second one frame in 10 ms. */
    pv_net_impair(l.net, l.end[0], l.end[1], &(struct pv_impair){.rate = 51200, .queue = 5});
    int64_t begin = pv_now();
    for (uint32_t i = 0; i < 10; i++)
        host_send(&l, 0, 1, i);
    lab_run(&l, 0);
    assert_int_equal(host_recv(&l, 1), 0); /* the burst of one frame */
    uint32_t got = 1;
    while (got < 6 && pv_now() < begin + 20 * PV_NSEC_PER_SEC) {
        lab_run(&l, 5);
        for (int64_t v = host_recv(&l, 1); v >= 0; v = host_recv(&l, 1))
            assert_int_equal(v, got++);
    }
    assert_int_equal(got, 6);
    assert_true(pv_now() - begin >= 50 * PV_NSEC_PER_MSEC);
    assert_int_equal(a_to_b(&l).dropped, 4);
    lab_end(&l);
}

/* The same seed loses the same frames whatever the timing is; another one others. */
static void test_deterministic(void **state)
{
    (void)state;
    enum { N = 2000 };
    static uint8_t got[3][N];
    memset(got, 0, sizeof got);
    for (unsigned run = 0; run < 3; run++) {
        struct lab l = lab_begin(run == 2 ? 8 : 7);
        pv_net_impair(l.net, l.end[0], NULL, &(struct pv_impair){.loss = 0.25, .duplicate = 0.1});
        for (uint32_t i = 0; i < N; i++) {
            host_send(&l, 0, 1, i);
            if (run == 0 || i % 7 == 0) {
                lab_run(&l, 0);
                for (int64_t v = host_recv(&l, 1); v >= 0; v = host_recv(&l, 1))
                    got[run][v]++;
            }
        }
        for (unsigned i = 0; i < 3; i++, lab_run(&l, 1))
            for (int64_t v = host_recv(&l, 1); v >= 0; v = host_recv(&l, 1))
                got[run][v]++;
        struct pv_net_stats s = a_to_b(&l);
        assert_int_equal(s.sent, N);
        assert_int_equal(s.delivered + s.lost, N + s.duplicated);
        assert_in_range(s.lost, N / 5, N * 3 / 10);
        lab_end(&l);
    }
    assert_memory_equal(got[0], got[1], N);
    assert_memory_not_equal(got[0], got[2], N);
}

/* Broadcasts before a peer is there change nothing of what it loses later. */
static void test_late_peer(void **state)
{
    (void)state;
    static uint8_t got[2][200];
    memset(got, 0, sizeof got);
    for (unsigned run = 0; run < 2; run++) {
        struct lab l = lab_begin(7);
        pv_net_impair(l.net, NULL, NULL, &(struct pv_impair){.loss = 0.3});
        if (run)
            pv_net_connect(l.end[1], -1, NULL);
        host_send(&l, 0, HOSTS, 0);
        lab_run(&l, 0);
        if (run)
            close(l.fd[1]);
        if (run)
            host_connect(&l, 1);
        for (uint32_t i = 1; i < 200; i++) {
            host_send(&l, 0, 1, i);
            lab_run(&l, 0);
            for (int64_t v = host_recv(&l, 1); v >= 0; v = host_recv(&l, 1))
                got[run][v] = 1;
        }
        got[run][0] = 0;
        lab_end(&l);
    }
    assert_memory_equal(got[0], got[1], sizeof got[0]);
}

/* Each chance holds within 5 standard deviations, independent of the others, for many seeds and directions. */
static void test_fate(void **state)
{
    (void)state;
    enum { N = 200000 };
    static const double chances[] = {0, 0.001, 0.3, 0.5, 1};
    for (size_t c = 0; c < PV_ARRAY_LEN(chances); c++) {
        double p = chances[c];
        struct pv_impair i = {
            .latency = 1000, .jitter = 1000, .loss = p, .duplicate = p, .reorder = p, .corrupt = p};
        uint64_t count[4] = {0}, both = 0;
        double delay = 0;
        for (uint64_t n = 0; n < N; n++) {
            struct pv_fate f = pv_fate_of(n % 13, (unsigned)(n % 5), (unsigned)(n % 7), n, 100, &i);
            struct pv_fate again = pv_fate_of(n % 13, (unsigned)(n % 5), (unsigned)(n % 7), n, 100, &i);
            assert_true(f.lost == again.lost && f.delay == again.delay && f.corrupt_bit == again.corrupt_bit);
            count[0] += f.lost;
            count[1] += f.duplicated;
            count[2] += f.reordered;
            count[3] += f.corrupted;
            both += f.lost && f.duplicated;
            assert_in_range(f.delay, 0, 2000);
            assert_true(f.corrupt_bit < 86 * 8);
            delay += (double)f.delay;
        }
        double sigma = sqrt(N * p * (1 - p));
        for (unsigned k = 0; k < 4; k++)
            assert_true(fabs((double)count[k] - N * p) <= 5 * sigma);
        assert_true(fabs((double)both - N * p * p) <= 5 * sqrt(N * p * p * (1 - p * p)));
        assert_true(fabs(delay / N - 1000) < 10);
    }
    assert_false(pv_fate_of(1, 0, 1, 0, PV_ETHER_MIN, &(struct pv_impair){.corrupt = 1}).corrupted);
}

static void buffer_write(void *arg, const void *data, size_t n)
{
    pv_buf_add(arg, data, n);
}

static void kept_count(void *arg, int64_t wall_ns, const void *frame, size_t n, const char *comment)
{
    (void)frame;
    assert_true(wall_ns > 0 && n == 64);
    assert_memory_equal(comment, "provium: ", 9);
    ++*(unsigned *)arg;
}

static bool has_text(const struct pv_buf *b, const char *text)
{
    return memmem(b->data, b->len, text, strlen(text)) != NULL;
}

static void test_capture(void **state)
{
    (void)state;
    struct lab l = lab_begin(1);
    struct pv_buf out = {0}, kept = {0};
    assert_false(pv_net_kept(l.net, &kept));
    struct pv_net_capture *c = pv_net_capture_start(l.net, buffer_write, &out);
    pv_net_partition(l.net, l.end[0], l.end[1]);
    host_send(&l, 0, HOSTS, 1);
    lab_run(&l, 0);
    assert_true(has_text(&out, "provium: partitioned to b, delivered to c"));
    pv_net_impair(l.net, l.end[0], l.end[2], &(struct pv_impair){.loss = 1});
    host_send(&l, 0, 2, 2);
    lab_run(&l, 0);
    assert_true(has_text(&out, "provium: lost to c"));
    pv_net_impair(l.net, l.end[0], l.end[2], &(struct pv_impair){.corrupt = 1, .duplicate = 1});
    host_send(&l, 0, 2, 3);
    lab_run(&l, 0);
    assert_true(has_text(&out, "provium: corrupted and duplicated to c"));
    pv_net_capture_stop(c);
    assert_true(pv_net_kept(l.net, &kept));
    assert_int_equal(kept.len, out.len);
    assert_memory_equal(kept.data, out.data, out.len);
    for (uint32_t i = 0; i < 20000; i++) {
        host_send(&l, 1, 9, i);
        lab_run(&l, 0);
        host_recv(&l, 0);
        host_recv(&l, 2);
    }
    pv_buf_free(&kept);
    assert_true(pv_net_kept(l.net, &kept));
    assert_in_range(kept.len, PV_NET_KEPT / 4, PV_NET_KEPT * 2);
    unsigned count = 0;
    pv_net_kept_each(l.net, 10, kept_count, &count);
    assert_int_equal(count, 10);
    pv_buf_free(&kept);
    pv_buf_free(&out);
    lab_end(&l);
}

/* Two ends of code that reply to each other: calls do not nest, and a reply to a reply comes, too. */
struct echo {
    struct pv_net_end *end;
    unsigned left;
};

static void echo_deliver(void *arg, const uint8_t *frame, size_t n)
{
    struct echo *e = arg;
    uint8_t reply[64];
    assert_int_equal(n, sizeof reply);
    memcpy(reply, frame, n);
    memcpy(reply, frame + 6, 6);
    memcpy(reply + 6, pv_net_end_mac(e->end), 6);
    if (e->left && e->left--)
        pv_net_send(e->end, reply, n);
}

static void test_ends_of_code(void **state)
{
    (void)state;
    struct lab l = lab_begin(1);
    struct echo x = {.left = 100000}, y = {.left = 100000};
    x.end = pv_net_attach(l.net, "x", (uint8_t[]){2, 0, 0, 0, 0, 0x20}, echo_deliver, &x, NULL);
    y.end = pv_net_attach(l.net, "y", (uint8_t[]){2, 0, 0, 0, 0, 0x21}, echo_deliver, &y, NULL);
    uint8_t frame[64] = {2, 0, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0x20};
    pv_net_send(x.end, frame, sizeof frame);
    assert_int_equal(x.left, 0);
    assert_int_equal(y.left, 0);
    pv_net_send(x.end, frame, 13);
    lab_end(&l);
}

/* A lost frame uses up the rate, as one on a wire does: here 10 s for each. */
static void test_lost_frames_use_the_rate(void **state)
{
    (void)state;
    struct lab l = lab_begin(1);
    pv_net_impair(l.net, NULL, NULL, &(struct pv_impair){.loss = 1, .rate = 51});
    host_send(&l, 0, 1, 1);
    lab_run(&l, 0);
    assert_int_equal(a_to_b(&l).lost, 1);
    pv_net_impair(l.net, NULL, NULL, &(struct pv_impair){.rate = 51});
    host_send(&l, 0, 1, 2);
    lab_run(&l, 0);
    assert_int_equal(a_to_b(&l).sent, 2);
    assert_int_equal(host_recv(&l, 1), -1);
    lab_end(&l);
}

/* Ends that come and go for ever; the newest ones' statistics stay, and the others are still reached. */
static void count_direction(void *arg, const char *from, const char *to, const struct pv_net_stats *s)
{
    (void)from;
    (void)to;
    *(uint64_t *)arg += s->sent;
}

static void test_ends_are_forgotten(void **state)
{
    (void)state;
    struct lab l = lab_begin(1);
    struct pv_err err = PV_ERR_INIT;
    uint64_t sent = 0;
    for (unsigned i = 0; i < 3 * PV_NET_ENDS_MAX; i++) {
        struct pv_net_end *e = pv_net_attach(l.net, "e", (uint8_t[]){2, 0, 0, 1, 0, 1}, NULL, NULL, &err);
        assert_non_null(e);
        host_send(&l, 0, 1, i);
        pv_net_send(e, (uint8_t[64]){2, 0, 0, 0, 0, 1, 2, 0, 0, 1, 0, 1}, 64);
        lab_run(&l, 0);
        while (host_recv(&l, 1) != -1)
            ;
        pv_net_detach(e);
    }
    pv_net_each(l.net, count_direction, &sent);
    assert_in_range(sent, 3 * PV_NET_ENDS_MAX, 6 * PV_NET_ENDS_MAX);
    struct pv_net_end *last = NULL;
    unsigned n = 0;
    while ((last = pv_net_attach(l.net, "e", (uint8_t[]){2, 0, 0, 2, (uint8_t)(n >> 8), (uint8_t)n}, NULL,
                                 NULL, &err)))
        n++;
    assert_int_equal(n, PV_NET_ENDS_MAX - HOSTS);
    assert_non_null(strstr(err.text, "takes no more"));
    assert_null(pv_net_attach(l.net, "x", (uint8_t[]){2, 0, 0, 0, 0, 1}, NULL, NULL, &err));
    assert_string_equal(err.text, "mac 02:00:00:00:00:01 is taken on network 'lan', by 'a'");
    lab_end(&l);
}

/* Second copies and frames in the queue of an end that is detached are accounted for, too. */
static void test_every_frame_is_counted(void **state)
{
    (void)state;
    struct lab l = lab_begin(1);
    pv_net_impair(l.net, l.end[0], NULL,
                  &(struct pv_impair){.duplicate = 1, .queue = 3, .latency = PV_NSEC_PER_SEC});
    for (uint32_t i = 0; i < 2; i++)
        host_send(&l, 0, 1, i);
    lab_run(&l, 0);
    struct pv_net_stats s = a_to_b(&l);
    assert_int_equal(s.sent, 2);
    assert_int_equal(s.duplicated, 2);
    assert_int_equal(s.dropped, 1);
    pv_net_detach(l.end[1]);
    s = a_to_b(&l);
    assert_int_equal(s.dropped, 4);
    assert_int_equal(s.delivered + s.lost + s.partitioned + s.dropped, s.sent + s.duplicated);
    lab_end(&l);
}

/* Sends frames to the end "b" while one is being forwarded to it. */
static void burst_deliver(void *arg, const uint8_t *frame, size_t n)
{
    struct echo *e = arg;
    uint8_t to_b[64] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};
    (void)frame;
    (void)n;
    while (e->left && e->left--)
        pv_net_send(e->end, to_b, sizeof to_b);
}

static void writes_count(void *arg, const void *data, size_t n)
{
    (void)data;
    (void)n;
    ++*(unsigned *)arg;
}

/* An end of code that sends more than the switch keeps while it forwards: the rest is dropped, and is seen to be. */
static void test_pending_frames_are_counted(void **state)
{
    enum { N = 5000, KEPT = 4096 };
    (void)state;
    struct lab l = lab_begin(1);
    struct echo e = {.left = N};
    unsigned writes = 0;
    pv_net_detach(l.end[0]);
    e.end = pv_net_attach(l.net, "a", (uint8_t[]){2, 0, 0, 0, 0, 1}, burst_deliver, &e, NULL);
    struct pv_net_capture *c = pv_net_capture_start(l.net, writes_count, &writes);
    unsigned header = writes;
    pv_net_send(l.end[1], (uint8_t[64]){2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}, 64);
    pv_net_detach(l.end[1]); /* what waits in its queue is dropped, too */
    pv_net_capture_stop(c);
    struct pv_net_stats s = a_to_b(&l);
    assert_int_equal(s.sent, N);
    assert_int_equal(s.delivered + s.dropped, N);
    assert_in_range(s.dropped, N - KEPT, N);
    assert_int_equal(writes - header, N + 1);
    lab_end(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forwards),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_partitions),
        cmocka_unit_test(test_carrier_and_reconnect),
        cmocka_unit_test(test_backpressure),
        cmocka_unit_test(test_latency_keeps_order),
        cmocka_unit_test(test_rate_and_queue),
        cmocka_unit_test(test_deterministic),
        cmocka_unit_test(test_late_peer),
        cmocka_unit_test(test_fate),
        cmocka_unit_test(test_capture),
        cmocka_unit_test(test_ends_of_code),
        cmocka_unit_test(test_ends_are_forgotten),
        cmocka_unit_test(test_lost_frames_use_the_rate),
        cmocka_unit_test(test_every_frame_is_counted),
        cmocka_unit_test(test_pending_frames_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
