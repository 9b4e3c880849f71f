/* SPDX-License-Identifier: MIT */
/*
 * The vsock device of src/vhost against a real kernel's driver, in a real QEMU (software emulation).
 *
 *     PROVIUM_GUEST_DIR=DIR vsock-guest-test GUEST [bench [WINDOW]]
 *
 * DIR holds vmlinuz and modules/ (a /lib/modules/VERSION tree); GUEST is the static program guest.c.  Exits
 * 77 with the reason where these or QEMU are missing.  `bench` measures instead of testing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop/loop.h"
#include "ports.h"
#include "rig.h"
#include "transport/stream.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"
#include "vhost/vhost.h"

enum { MANY = 40, STEP_S = 40 };

static void test_echo(void)
{
    static uint8_t back[300000];
    struct peer p;

    peer_dial(&p, ECHO_PORT);
    for (size_t n = 1; n < sizeof(back); n = n * 3 + 1) {
        size_t sent = 0, got = 0;

        /* Both directions at once: neither side could buffer all of it. */
        while (got < n) {
            ssize_t r;

            p.event = false;
            r = sent < n ? pv_stream_write(p.s, rig.block + sent, n - sent) : -EAGAIN;
            if (r > 0)
                sent += (size_t)r;
            pv_stream_want_write(p.s, sent < n);
            r = pv_stream_read(p.s, back + got, n - got);
            if (r > 0)
                got += (size_t)r;
            else if (r != -EAGAIN)
                rig_fail("echo of %zu bytes: %zd", n, r);
            else
                peer_wait(&p, "echo");
        }
        if (memcmp(back, rig.block, n) != 0)
            rig_fail("echo of %zu bytes came back changed", n);
    }
    pv_stream_close(p.s);
}

static void test_bulk(unsigned port)
{
    struct peer p;
    uint64_t n = RIG_BIG;

    peer_dial(&p, port);
    peer_send(&p, &n, sizeof(n));
    peer_send(&p, rig.block, n);
    peer_recv_u64(&p); /* the guest has read all bytes */
    pv_stream_close(p.s);
}

static void test_source(void)
{
    uint8_t *in = pv_xmalloc(RIG_BIG);
    struct peer p;
    uint64_t n = RIG_BIG;

    peer_dial(&p, SOURCE_PORT);
    peer_send(&p, &n, sizeof(n));
    peer_recv(&p, in, n);
    for (size_t i = 0; i < n; i++)
        if (in[i] != (uint8_t)((i % (1 << 20)) * 7))
            rig_fail("byte %zu from the guest is wrong", i);
    pv_stream_close(p.s);
    free(in);
}

static void test_half_close(void)
{
    unsigned before = rig.calls;
    struct peer p;
    char word[4];
    uint64_t n;

    peer_dial(&p, COUNT_PORT);
    peer_send(&p, rig.block, 1000000);
    pv_stream_shutdown_write(p.s);
    n = peer_recv_u64(&p);
    if (n != 1000000)
        rig_fail("the guest counted %llu bytes before the end", (unsigned long long)n);
    if (peer_read(&p, word, 1) != 0)
        rig_fail("no end after the guest closed");
    if (pv_stream_write(p.s, "x", 1) != -EPIPE)
        rig_fail("a write after shutdown_write was taken");
    pv_stream_close(p.s);

    peer_dial(&p, BYE_PORT);
    if (peer_read(&p, word, 4) != 3 || memcmp(word, "bye", 3) != 0)
        rig_fail("no \"bye\" and end");
    peer_send(&p, rig.block, 500000);
    pv_stream_close(p.s); /* closes with bytes in flight */
    rig_wait_calls(before + 1, "half-close");
    if (rig.called != 500000)
        rig_fail("the guest got %llu bytes after its own half was closed", (unsigned long long)rig.called);
}

static void test_refused(void)
{
    struct peer p;
    int error = peer_try_dial(&p, NOBODY_PORT);

    if (error != ECONNREFUSED)
        rig_fail("a port without listener gave %s", strerror(error));
}

/* The guest closes with unread bytes: the host's writes soon fail. */
static void test_drop(void)
{
    struct peer p;
    ssize_t r;

    peer_dial(&p, DROP_PORT);
    for (;;) {
        p.event = false;
        r = pv_stream_write(p.s, rig.block, RIG_BIG);
        if (r > 0)
            continue;
        if (r != -EAGAIN)
            break;
        pv_stream_want_write(p.s, true);
        peer_wait(&p, "drop");
    }
    if (r != -EPIPE && r != -ECONNRESET)
        rig_fail("writing to a closed socket gave %zd", r);
    pv_stream_close(p.s);
}

static void test_many(void)
{
    struct peer p[MANY];
    uint8_t back[5000];

    for (int i = 0; i < MANY; i++)
        peer_dial(&p[i], ECHO_PORT);
    for (int i = 0; i < MANY; i++)
        peer_send(&p[i], rig.block + i, sizeof(back));
    for (int i = MANY - 1; i >= 0; i--) {
        peer_recv(&p[i], back, sizeof(back));
        if (memcmp(back, rig.block + i, sizeof(back)) != 0)
            rig_fail("connection %d of %d got another's bytes", i, MANY);
        pv_stream_close(p[i].s);
    }
}

/* More packets than the rings' 16-bit indices count. */
static void test_wrap(void)
{
    struct peer p;

    peer_dial(&p, ECHO_PORT);
    for (int i = 0; i < 70000; i += 100) {
        uint8_t back[100];

        for (int j = 0; j < 100; j++)
            peer_send(&p, rig.block + i + j, 1);
        peer_recv(&p, back, sizeof(back));
        if (memcmp(back, rig.block + i, sizeof(back)) != 0)
            rig_fail("echo after %d packets came back changed", i);
    }
    pv_stream_close(p.s);
}

static void test_restart(void)
{
    struct peer p, other;
    unsigned before = rig.calls;
    char c;

    peer_dial(&other, ECHO_PORT);
    peer_dial(&p, RESTART_PORT);
    for (;;) {
        ssize_t r = pv_stream_read(other.s, &c, 1);

        if (r == -ECONNRESET)
            break;
        if (r != -EAGAIN)
            rig_fail("a connection into a rebooting guest gave %zd", r);
        peer_wait(&other, "reset of the guest");
    }
    if (pv_vsock_device_ready(rig.vsock))
        rig_fail("the device of a guest in reset is ready");
    pv_stream_close(other.s);
    pv_stream_close(p.s);
    rig_wait_calls(before + 1, "after the reboot");
    test_echo();
}

static void run_step(const char *name, void (*fn)(void))
{
    int64_t start = pv_now();

    rig.limit = pv_deadline(STEP_S * PV_NSEC_PER_SEC);
    fn();
    if (rig.vsock->error)
        rig_fail("%s: the device broke: %s", name, rig.vsock->error_text);
    printf("%-12s ok  %6.0f ms\n", name, (double)(pv_now() - start) / 1e6);
    fflush(stdout);
}

static void test_sink(void)
{
    test_bulk(SINK_PORT);
}

static void test_slow(void)
{
    test_bulk(SLOW_PORT);
}

static void test_boot(void)
{
    rig_wait_calls(1, "boot");
    if (rig.called != HELLO)
        rig_fail("the guest called with %llu", (unsigned long long)rig.called);
    if (!pv_vsock_device_ready(rig.vsock))
        rig_fail("the guest called, but the device is not ready");
}

static void run_tests(void)
{
    run_step("boot", test_boot);
    run_step("echo", test_echo);
    run_step("sink", test_sink);
    run_step("slow sink", test_slow);
    run_step("source", test_source);
    run_step("half-close", test_half_close);
    run_step("refused", test_refused);
    run_step("drop", test_drop);
    run_step("many", test_many);
    run_step("wrap", test_wrap);
    run_step("restart", test_restart);
}

int main(int argc, char **argv)
{
    const char *dir = getenv("PROVIUM_GUEST_DIR");

    if (!dir)
        rig_skip("PROVIUM_GUEST_DIR does not say where vmlinuz and modules/ are");
    if (argc < 2)
        return 2;
    pv_log_init();
    rig.limit = pv_deadline(STEP_S * PV_NSEC_PER_SEC);
    rig_boot(argv[1], dir, argc > 3 ? argv[3] : NULL);
    if (argc > 2) {
        test_boot();
        rig.limit = PV_FOREVER;
        bench_run();
    } else {
        run_tests();
    }
    rig_free();
    return 0;
}
