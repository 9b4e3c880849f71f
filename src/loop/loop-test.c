/* SPDX-License-Identifier: MIT */
#include "util/test.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

struct fixture {
    struct pv_loop *loop;
    struct pv_watch a, b;
    struct pv_timer t;
    int fired;
};

static struct fixture *f; /* one test at a time */

static bool fired(void *arg)
{
    return ((struct fixture *)arg)->fired > 0;
}

static void remove_other(struct pv_watch *w, uint32_t events)
{
    (void)events;
    f->fired++;
    pv_loop_del(f->loop, w == &f->a ? &f->b : &f->a);
}

static void on_timer(struct pv_timer *t)
{
    (void)t;
    f->fired++;
}

/* Two watches are due in the same round and each removes the other: exactly one callback runs. */
static void removed_in_same_round(void **state)
{
    struct fixture fx = {
        .loop = pv_loop_new(NULL), .a = {.fd = -1, .fn = remove_other}, .b = {.fd = -1, .fn = remove_other}};
    int p[2], q[2];

    (void)state;
    f = &fx;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, q), 0);
    assert_int_equal(pv_loop_add(fx.loop, &fx.a, p[0], EPOLLIN, NULL), 0);
    assert_int_equal(pv_loop_add(fx.loop, &fx.b, q[0], EPOLLIN, NULL), 0);
    assert_int_equal(write(p[1], "x", 1), 1);
    assert_int_equal(write(q[1], "x", 1), 1);
    assert_int_equal(pv_loop_run(fx.loop, fired, &fx, pv_deadline(PV_NSEC_PER_SEC), NULL), 0);
    assert_int_equal(fx.fired, 1);
    pv_loop_del(fx.loop, &fx.a);
    pv_loop_del(fx.loop, &fx.b);
    pv_loop_free(fx.loop);
    for (int i = 0; i < 2; i++) {
        close(p[i]);
        close(q[i]);
    }
}

static void deadline_and_timers(void **state)
{
    struct fixture fx = {.loop = pv_loop_new(NULL), .t = {.fn = on_timer}};
    struct pv_timer later = {.fn = on_timer};
    int64_t start = pv_now();

    (void)state;
    f = &fx;
    assert_int_equal(pv_loop_run(fx.loop, fired, &fx, pv_deadline(30 * PV_NSEC_PER_MSEC), NULL), 1);
    assert_true(pv_now() - start >= 30 * PV_NSEC_PER_MSEC);
    pv_timer_arm(fx.loop, &later, pv_deadline(PV_NSEC_PER_SEC * 100));
    pv_timer_arm(fx.loop, &fx.t, pv_deadline(PV_NSEC_PER_SEC * 100));
    pv_timer_arm(fx.loop, &fx.t, pv_deadline(20 * PV_NSEC_PER_MSEC)); /* re-armed, now first */
    assert_int_equal(pv_loop_run(fx.loop, fired, &fx, pv_deadline(5 * PV_NSEC_PER_SEC), NULL), 0);
    assert_int_equal(fx.fired, 1);
    assert_int_equal(fx.t.due, 0);
    pv_timer_cancel(fx.loop, &later);
    pv_timer_cancel(fx.loop, &later);
    pv_loop_free(fx.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(removed_in_same_round),
                                       cmocka_unit_test(deadline_and_timers)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
