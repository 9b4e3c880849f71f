/* SPDX-License-Identifier: MIT */
#include "testfile/pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "guest/standby.h"
#include "childproto/lease.h"
#include "loop/loop.h"
#include "testfile/limit.h"
#include "testfile/testfile.h"
#include "util/clock.h"
#include "util/err.h"

#define LOOK (100 * PV_NSEC_PER_MSEC) /* between two requests of a builder for what others hold */

/* One wait of pool_acquire.  Its step begins with the first text: none without a wait. */
struct pool_wait {
    struct pv_testfile *tf;
    const char *track;
    uint32_t step;
};

static void pool_on_wait(const char *text, void *arg)
{
    struct pool_wait *w = arg;

    pv_standby_pool_clear(w->tf->guest_env.standby_pool); /* their leases may be all that is missing */
    pv_tf_phase(w->tf, text);
    if (w->step == PV_NO_STEP && !w->tf->builder) /* a build is a step of its asker already */
        w->step = pv_tf_step_send(w->tf, w->track, PV_STEP_WAIT, text);
}

static bool pool_has_turn(void *arg)
{
    return !((struct pv_testfile *)arg)->pool.asking;
}

struct release_wait {
    const struct pv_testfile *tf;
    uint64_t seen;
};

/* True when a lease was released, and when no other context of the file can go on to release one. */
static bool release_is_decided(void *arg)
{
    const struct release_wait *w = arg;
    const struct tf_pool *p = &w->tf->pool;

    return p->releases != w->seen || p->stalled > p->tasks;
}

/*
 * A builder beside tasks of the file that asks: they may end the VMs over which its request was refused.  It learns of
 * no release of theirs, so it asks again.
 */
static bool build_may_wait(const struct pv_testfile *tf, const struct pv_err *why)
{
    return tf->builder && tf->builder->beside && pv_now() < tf->builder->deadline &&
           (why->errnum == EBUSY || why->cls == PV_E_MISSING);
}

/*
 * One request of a file at a time, because the arbiter takes a file that waits as one that does nothing else.  A
 * refusal over what other VMs of this file hold is final only when no task can end one of them.
 */
static int pool_ask(struct pv_testfile *tf, struct pv_lease_want *want, struct pool_wait *w,
                    struct pv_err *err)
{
    static const char held_by_others[] = "waiting for memory or CPUs that other VMs of this file hold";
    struct tf_pool *p = &tf->pool;
    struct pv_err why = PV_ERR_INIT;

    for (;;) {
        struct release_wait release = {.tf = tf};
        int r = pv_loop_run(tf->loop, pool_has_turn, tf, PV_FOREVER, err);

        if (r < 0)
            return -1;
        p->asking = true;
        release.seen = p->releases;
        r = pv_lease_acquire(tf->env->lease, tf->loop, want, pool_on_wait, w, &why);
        p->asking = false;
        if (r == 0) {
            p->held++;
            return 0;
        }
        want->standby = NULL; /* its lease went with the request */
        if (build_may_wait(tf, &why)) {
            pool_on_wait(held_by_others, w);
            if (pv_loop_run(tf->loop, NULL, NULL, pv_deadline(LOOK), &why) < 0)
                break;
            continue;
        }
        if ((why.cls != PV_E_USAGE && why.cls != PV_E_MISSING) || !p->held || !p->tasks)
            break;
        pool_on_wait(held_by_others, w);
        if (pv_loop_run(tf->loop, release_is_decided, &release, PV_FOREVER, &why) < 0 ||
            p->releases == release.seen)
            break;
    }
    if (err)
        *err = why;
    return -1;
}

static int pool_acquire(const char *vm, uint64_t memory, unsigned cpus, const char *standby, void *arg,
                        struct pv_err *err)
{
    struct pv_testfile *tf = arg;
    struct pv_lease_want want = {.vm = vm, .memory = memory, .cpus = cpus, .standby = standby};
    char track[TF_NAME_MAX];
    struct pool_wait w = {.tf = tf, .track = track, .step = PV_NO_STEP};
    int r;

    snprintf(track, sizeof(track), "%.*s", (int)strcspn(vm, " "), vm);
    if (!tf->env->lease)
        return 0;
    pv_tf_limit_pause(tf);
    tf->pool.stalled++;
    r = pool_ask(tf, &want, &w, err);
    tf->pool.stalled--;
    pv_tf_limit_resume(tf);
    if (w.step == PV_NO_STEP)
        return r;
    pv_result_step_end(tf->env->result, w.step, r == 0);
    pv_tf_phase(tf, tf->timeline.doing);
    return r;
}

static int pool_try_acquire(const char *vm, uint64_t memory, unsigned cpus, void *arg, struct pv_err *err)
{
    const struct pv_testfile *tf = arg;
    struct pv_lease_want want = {.vm = vm, .memory = memory, .cpus = cpus};

    return tf->env->lease ? pv_lease_try_acquire(tf->env->lease, tf->loop, &want, err) : 0;
}

static void pool_preemptible(const char *vm, int pidfd, void *arg)
{
    const struct pv_testfile *tf = arg;

    if (tf->env->lease)
        pv_lease_preemptible(tf->env->lease, vm, pidfd);
}

static int pool_claim(const char *vm, void *arg, struct pv_err *err)
{
    const struct pv_testfile *tf = arg;

    return tf->env->lease ? pv_lease_claim(tf->env->lease, tf->loop, vm, err) : 0;
}

static void pool_release(const char *vm, void *arg)
{
    struct pv_testfile *tf = arg;

    if (!tf->env->lease)
        return;
    pv_lease_release(tf->env->lease, vm);
    tf->pool.releases++;
    if (tf->pool.held && strncmp(vm, "standby", 7) != 0)
        tf->pool.held--;
}

void pv_tf_pool_connect(struct pv_testfile *tf)
{
    tf->guest_env.pool = (struct pv_pool_client){.acquire = pool_acquire,
                                                 .release = pool_release,
                                                 .try_acquire = pool_try_acquire,
                                                 .preemptible = pool_preemptible,
                                                 .claim = pool_claim,
                                                 .arg = tf};
}
