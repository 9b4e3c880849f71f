/* SPDX-License-Identifier: MIT */
/*
 * Tasks: a request's round trip in a task against a plain one, and boots at once against one after the other; and a
 * reboot against a boot.
 */
#include <stdio.h>

#include "bench.h"
#include "guest/life.h"
#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

enum { TRIPS = 500, BOOTS = 4, ROUNDS = 3 };

static const int64_t limit = 60 * PV_NSEC_PER_SEC;

/* What one task does, and how it ended. */
struct work {
    struct pv_guest *g;
    int r;
    struct pv_err err;
};

static void ping_once(void *arg)
{
    struct work *w = arg;

    w->r = pv_agent_ping(pv_guest_agent(w->g), "x", 1, limit, &w->err);
}

static void boot_once(void *arg)
{
    struct work *w = arg;
    struct pv_boot_opts o = {.memory = UINT64_C(256) << 20, .cpus = 1, .timeout_ns = 10 * limit};

    w->r = pv_guest_boot(w->g, &o, &w->err);
}

static bool task_is_done(void *arg)
{
    return pv_task_done(arg);
}

/* Runs fn in a task for each of the works, all at once. */
static void run_tasks(struct pv_loop *loop, void (*fn)(void *arg), struct work *works, size_t n)
{
    struct pv_task *tasks[BOOTS];

    for (size_t i = 0; i < n; i++) {
        tasks[i] = pv_task_start(loop, fn, &works[i], &works[i].err);
        must(tasks[i] ? 0 : -1, &works[i].err);
    }
    for (size_t i = 0; i < n; i++) {
        pv_loop_run(loop, task_is_done, tasks[i], PV_FOREVER, NULL);
        pv_task_free(tasks[i]);
        must(works[i].r, &works[i].err);
    }
}

static void bench_trips(struct pv_guest_env *env, struct pv_guest *g)
{
    static double plain[TRIPS], tasks[TRIPS];
    struct work w = {.g = g};
    double p, t;

    for (size_t i = 0; i < TRIPS; i++) {
        int64_t start = pv_now();

        env->tasks = false;
        ping_once(&w);
        must(w.r, &w.err);
        plain[i] = ms_since(start);
        start = pv_now();
        env->tasks = true;
        run_tasks(env->host.loop, ping_once, &w, 1);
        tasks[i] = ms_since(start);
    }
    env->tasks = false;
    p = quantile(plain, TRIPS, 0.5);
    t = quantile(tasks, TRIPS, 0.5);
    printf("tasks: round trip %.3f ms, in a task %.3f ms: %.2f (at most 1.1)\n", p, t, t / p);
}

/* Boots all of them, at once or one after the other; milliseconds. */
static double boot_all(const struct pv_guest_env *env, const struct pv_profile *p, bool at_once)
{
    struct work works[BOOTS] = {0};
    int64_t start;
    double ms;

    for (size_t i = 0; i < BOOTS; i++)
        works[i].g = pv_guest_new(env, p);
    start = pv_now();
    if (at_once)
        run_tasks(env->host.loop, boot_once, works, BOOTS);
    for (size_t i = 0; !at_once && i < BOOTS; i++) {
        boot_once(&works[i]);
        must(works[i].r, &works[i].err);
    }
    ms = ms_since(start);
    for (size_t i = 0; i < BOOTS; i++)
        pv_guest_free(works[i].g);
    return ms;
}

/* From the request to the agent's first reply, each. */
static void bench_reboot(const struct pv_guest_env *env, const struct pv_profile *p)
{
    double boot[ROUNDS], reboot[ROUNDS], a, b;

    for (size_t i = 0; i < ROUNDS; i++) {
        struct work w = {.g = pv_guest_new(env, p)};
        int64_t start = pv_now();

        boot_once(&w);
        must(w.r, &w.err);
        ping_once(&w);
        must(w.r, &w.err);
        boot[i] = ms_since(start);
        start = pv_now();
        must(pv_guest_reboot(w.g, 10 * limit, &w.err), &w.err);
        ping_once(&w);
        must(w.r, &w.err);
        reboot[i] = ms_since(start);
        pv_guest_free(w.g);
    }
    a = quantile(boot, ROUNDS, 0.5);
    b = quantile(reboot, ROUNDS, 0.5);
    printf("tasks: boot %.0f ms, reboot %.0f ms: %.2f\n", a, b, b / a);
}

void bench_tasks(struct pv_guest_env *env, const struct pv_profile *p)
{
    struct work w = {.g = pv_guest_new(env, p)};
    double at_once[ROUNDS], in_turn[ROUNDS], a, b;

    boot_once(&w);
    must(w.r, &w.err);
    bench_trips(env, w.g);
    pv_guest_free(w.g);
    bench_reboot(env, p);
    for (size_t i = 0; i < ROUNDS; i++) {
        in_turn[i] = boot_all(env, p, false);
        at_once[i] = boot_all(env, p, true);
    }
    a = quantile(at_once, ROUNDS, 0.5);
    b = quantile(in_turn, ROUNDS, 0.5);
    printf("tasks: %d boots one after the other %.0f ms, at once %.0f ms: %.2f\n", BOOTS, b, a, a / b);
}
