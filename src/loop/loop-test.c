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

static bool has_fired(void *arg)
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

/* Two watches have events in the same round and each removes the other: exactly one callback runs. */
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
    assert_int_equal(pv_loop_run(fx.loop, has_fired, &fx, pv_deadline(PV_NSEC_PER_SEC), NULL), 0);
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
    assert_int_equal(pv_loop_run(fx.loop, has_fired, &fx, pv_deadline(30 * PV_NSEC_PER_MSEC), NULL), 1);
    assert_true(pv_now() - start >= 30 * PV_NSEC_PER_MSEC);
    pv_timer_arm(fx.loop, &later, pv_deadline(PV_NSEC_PER_SEC * 100));
    pv_timer_arm(fx.loop, &fx.t, pv_deadline(PV_NSEC_PER_SEC * 100));
    pv_timer_arm(fx.loop, &fx.t, pv_deadline(20 * PV_NSEC_PER_MSEC)); /* re-armed, now first */
    assert_int_equal(pv_loop_run(fx.loop, has_fired, &fx, pv_deadline(5 * PV_NSEC_PER_SEC), NULL), 0);
    assert_int_equal(fx.fired, 1);
    assert_int_equal(fx.t.due, 0);
    pv_timer_cancel(fx.loop, &later);
    pv_timer_cancel(fx.loop, &later);
    pv_loop_free(fx.loop);
}

/* ---- tasks ---- */

struct work {
    struct fixture *fx;
    int64_t nap;
    int result; /* of the last wait */
    int steps;
};

static bool two_steps(void *arg)
{
    return ((struct work *)arg)->steps >= 2;
}

/* Waits for an event, then for w->nap. */
static void wait_twice(void *arg)
{
    struct work *w = arg;

    w->steps = 1;
    w->result = pv_loop_run(w->fx->loop, has_fired, w->fx, PV_FOREVER, NULL);
    if (w->result < 0)
        return;
    w->steps = 2;
    w->result = pv_loop_run(w->fx->loop, NULL, NULL, pv_deadline(w->nap), NULL);
    w->steps = 3;
}

static void tasks_wait_beside_others(void **state)
{
    struct fixture fx = {.loop = pv_loop_new(NULL), .t = {.fn = on_timer}};
    struct work one = {.fx = &fx, .nap = 20 * PV_NSEC_PER_MSEC}, two = {.fx = &fx};
    struct pv_task *a, *b;
    int64_t start = pv_now();

    (void)state;
    f = &fx;
    a = pv_task_start(fx.loop, wait_twice, &one, NULL);
    b = pv_task_start(fx.loop, wait_twice, &two, NULL);
    assert_int_equal(one.steps, 1); /* pv_task_start runs the task */
    assert_int_equal(pv_loop_run(fx.loop, NULL, NULL, pv_deadline(5 * PV_NSEC_PER_MSEC), NULL), 1);
    assert_int_equal(one.steps, 1);
    pv_timer_arm(fx.loop, &fx.t, pv_deadline(5 * PV_NSEC_PER_MSEC));
    assert_int_equal(pv_loop_run(fx.loop, two_steps, &one, pv_deadline(5 * PV_NSEC_PER_SEC), NULL), 0);
    assert_false(pv_task_done(a));
    /* The task's deadline wakes the loop. */
    while (!pv_task_done(a))
        assert_int_equal(pv_loop_run(fx.loop, NULL, NULL, pv_deadline(PV_NSEC_PER_MSEC), NULL), 1);
    assert_true(pv_now() - start >= 25 * PV_NSEC_PER_MSEC);
    assert_int_equal(one.result, 1);
    assert_true(pv_task_done(b));
    assert_int_equal(two.steps, 3);
    pv_task_free(a);
    pv_task_free(b);
    pv_loop_free(fx.loop);
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

/* Goes on waiting after a wait failed. */
static void ignore_failures(void *arg)
{
    struct work *w = arg;

    for (w->steps = 0; w->steps < 100; w->steps++)
        w->result = pv_loop_run(w->fx->loop, never, NULL, pv_deadline(PV_NSEC_PER_SEC * 1000), NULL);
}

static void cancelled_task_ends(void **state)
{
    struct fixture fx = {.loop = pv_loop_new(NULL)};
    struct work w = {.fx = &fx};
    struct pv_task *t;

    (void)state;
    t = pv_task_start(fx.loop, ignore_failures, &w, NULL);
    assert_int_equal(w.steps, 0);
    pv_task_free(t);
    assert_int_equal(w.steps, 100); /* every wait failed and the function returned */
    assert_int_equal(w.result, -1);
    assert_int_equal(pv_loop_run(fx.loop, NULL, NULL, pv_now(), NULL), 1);
    pv_task_free(NULL);
    pv_loop_free(fx.loop);
}

static void use_deep_stack(void *arg)
{
    struct work *w = arg;
    volatile char room[256 * 1024];

    memset((char *)room, 1, sizeof(room));
    pv_loop_run(w->fx->loop, NULL, NULL, pv_now(), NULL);
    w->steps += room[sizeof(room) - 1];
}

static void many_tasks_with_deep_stacks(void **state)
{
    struct fixture fx = {.loop = pv_loop_new(NULL)};
    struct work w = {.fx = &fx};

    (void)state;
    for (int i = 0; i < 50; i++) {
        struct pv_task *t = pv_task_start(fx.loop, use_deep_stack, &w, NULL);

        assert_int_equal(pv_loop_run(fx.loop, NULL, NULL, pv_now(), NULL), 1);
        assert_true(pv_task_done(t));
        pv_task_free(t);
    }
    assert_int_equal(w.steps, 50);
    pv_loop_free(fx.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(removed_in_same_round),       cmocka_unit_test(deadline_and_timers),
        cmocka_unit_test(tasks_wait_beside_others),    cmocka_unit_test(cancelled_task_ends),
        cmocka_unit_test(many_tasks_with_deep_stacks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
