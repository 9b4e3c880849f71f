/* SPDX-License-Identifier: MIT */
/*
 * One task per VM that stands by does what a resume does, and a little more.  Of two that are made for
 * different snapshots the older one goes when there are too many.
 */
#include "guest/standby.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guest/frozen.h"
#include "guest/internal.h"
#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "vm/vm.h"

/* Of preparing one: then it is given up. */
#define LIMIT (30 * PV_NSEC_PER_SEC)
/* The first call to the VM that was handed out just now goes before: two CPUs may be two halves of one. */
#define PAUSE (15 * PV_NSEC_PER_MSEC)
#define COMMAND_LIMIT (5 * PV_NSEC_PER_SEC)

enum { AT_MOST = 4 };

struct standby {
    struct pv_standby_pool *all;
    struct pv_snapshot *s;
    struct pv_guest_env env; /* of g, until it is handed out */
    struct pv_guest *g;
    struct pv_task *task;
    bool wanted;  /* somebody waits: nothing is done that need not be */
    bool spoiled; /* its kernel complained of something: that belongs to a test */
    bool stopped, ready;
    struct standby *next;
};

struct pv_standby_pool {
    const struct pv_guest_env *env;
    struct standby *list; /* the youngest first */
    unsigned count;
};

struct pv_standby_pool *pv_standby_pool_new(const struct pv_guest_env *env)
{
    struct pv_standby_pool *all = pv_xcalloc(1, sizeof(*all));

    all->env = env;
    return all;
}

static void drop(struct standby *b)
{
    struct standby **at = &b->all->list;

    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    pv_task_free(b->task);
    if (b->g && b->g->log_path)
        unlink(b->g->log_path);
    pv_guest_free(b->g);
    pv_snapshot_unref(b->s);
    free(b);
}

void pv_standby_pool_clear(struct pv_standby_pool *all)
{
    while (all && all->list)
        drop(all->list);
}

void pv_standby_pool_free(struct pv_standby_pool *all)
{
    pv_standby_pool_clear(all);
    free(all);
}

/* ---- its pool client and observer ---- */

static int standby_acquire(const char *vm, uint64_t memory, unsigned cpus, const char *standby, void *arg,
                           struct pv_err *err)
{
    const struct pv_guest_env *env = ((struct standby *)arg)->all->env;

    (void)standby;
    return env->pool.try_acquire ? env->pool.try_acquire(vm, memory, cpus, env->pool.arg, err) : 0;
}

static void standby_release(const char *vm, void *arg)
{
    const struct pv_guest_env *env = ((struct standby *)arg)->all->env;

    if (env->pool.release)
        env->pool.release(vm, env->pool.arg);
}

static void standby_note_finding(const struct pv_guest *g, const struct pv_finding *finding, void *arg)
{
    (void)g;
    (void)finding;
    ((struct standby *)arg)->spoiled = true;
}

static struct pv_guest_env standby_env(struct standby *b)
{
    return (struct pv_guest_env){
        .host = b->all->env->host,
        .pool = {.acquire = standby_acquire, .release = standby_release, .arg = b},
        .observer = {.finding = standby_note_finding, .arg = b},
    };
}

/* ---- making one ---- */

/*
 * A command that does nothing, by the way that every command takes.  How it ends does not matter: where the
 * guest has no /proc, or its kernel can not give numbers from the top, less is prepared.
 */
static void run_command(struct standby *b)
{
    struct pv_exec x = {.timeout_ns = COMMAND_LIMIT, .unnumbered = true};
    struct pv_exec_result r = {0};
    struct pv_err err;

    pv_strv_add(&x.argv, "/proc/self/exe"); /* the agent itself: it tells its usage */
    if (pv_agent_exec(&b->g->agent, &x, &r, &err) < 0)
        pv_debug(b->g->name, "the command that does nothing: %s", err.text);
    pv_strv_free(&x.argv);
    pv_exec_result_fini(&r);
}

static bool is_wanted(void *arg)
{
    return ((struct standby *)arg)->wanted;
}

static int make(struct standby *b, struct pv_err *err)
{
    int64_t deadline = pv_deadline(LIMIT);
    struct pv_guest *g = b->g;

    if (pv_loop_run(b->all->env->host.loop, is_wanted, b, pv_deadline(PAUSE), err) < 0)
        return -1;
    if (pv_guest_take(g, b->s->machine->memory, b->s->machine->cpus, NULL, err) < 0 ||
        pv_resume_start(g, b->s, err) < 0)
        return -1;
    if (b->all->env->pool.preemptible)
        b->all->env->pool.preemptible(g->name, pv_vm_pidfd(g->vm), b->all->env->pool.arg);
    if (pv_resume_load(g, b->s, deadline, err) < 0)
        return -1;
    pv_guest_set_state(g, PV_GUEST_RUNNING);
    if (pv_guest_plug_wait(g, deadline, err) < 0 || pv_resume_meet(g, deadline, err) < 0)
        return -1;
    if (!b->wanted)
        run_command(b);
    if (pv_guest_check_running(g, "keep it standing by", err) < 0)
        return -1;
    if (b->wanted)
        return 0;
    if (pv_vm_stop(g->vm, deadline, err) < 0)
        return -1;
    b->stopped = true;
    pv_vm_settle_findings(g->vm);
    return 0;
}

static void task(void *arg)
{
    struct standby *b = arg;
    int64_t start = pv_now();
    struct pv_err err;

    if (make(b, &err) < 0) {
        pv_debug(b->g->name, "does not stand by: %s", err.text);
        return;
    }
    b->ready = true;
    pv_debug(b->g->name, "stands by after %.1f ms", (double)(pv_now() - start) / 1e6);
}

static bool made(void *arg)
{
    return pv_task_done(((struct standby *)arg)->task);
}

/* It can not be of use any more. */
static bool is_over(const struct standby *b)
{
    if (b->spoiled)
        return true;
    if (!b->task || !pv_task_done(b->task)) /* a task that goes on finds out by itself */
        return false;
    return !b->ready || !b->g->vm || pv_vm_state(b->g->vm) == PV_VM_ENDED;
}

static struct standby *find(struct pv_standby_pool *all, const struct pv_snapshot *s)
{
    struct standby *next;

    for (struct standby *b = all ? all->list : NULL; b; b = next) {
        next = b->next;
        if (is_over(b))
            drop(b);
        else if (b->s == s)
            return b;
    }
    return NULL;
}

void pv_standby_prepare(struct pv_standby_pool *all, struct pv_snapshot *s)
{
    struct standby *b, *oldest = NULL;
    size_t n = 0;

    if (!all || find(all, s))
        return;
    for (b = all->list; b; b = b->next, n++)
        oldest = b;
    if (n == AT_MOST)
        drop(oldest);
    b = pv_xcalloc(1, sizeof(*b));
    *b = (struct standby){.all = all, .s = pv_snapshot_ref(s), .next = all->list};
    all->list = b;
    b->env = standby_env(b);
    b->g = pv_guest_new_named(&b->env, s->machine->profile,
                              pv_xasprintf("standby%u (%s)", ++all->count, s->machine->profile->name));
    pv_guest_set_state(b->g, PV_GUEST_BOOTING);
    b->task = pv_task_start(all->env->host.loop, task, b, NULL);
    if (!b->task)
        drop(b);
}

/* ---- handing it out ---- */

const char *pv_standby_name(struct pv_standby_pool *all, const struct pv_snapshot *s)
{
    const struct standby *b = find(all, s);

    return b ? b->g->name : NULL;
}

bool pv_standby_ready(struct pv_standby_pool *all, const struct pv_snapshot *s)
{
    const struct standby *b = find(all, s);

    return b && b->ready;
}

/* All that belongs to the QEMU. */
static void move(struct pv_guest *from, struct pv_guest *to)
{
    to->vm = from->vm;
    to->channel = from->channel;
    to->agent.session = from->agent.session;
    to->agent.session->alive_arg = &to->agent;
    from->vm = NULL;
    from->channel = NULL;
    from->agent.session = NULL;
    to->memory_fd = pv_steal_fd(&from->memory_fd);
    pv_guest_plug_move(from, to);
    pv_guest_moved(to);
    if (from->log_path && to->log_path && rename(from->log_path, to->log_path) < 0)
        pv_debug(to->name, "its console's log stays %s", from->log_path);
    free(from->log_path);
    from->log_path = NULL;
}

bool pv_standby_take(struct pv_standby_pool *all, const struct pv_snapshot *s, struct pv_guest *g,
                     int64_t deadline)
{
    struct standby *b = find(all, s);
    struct pv_err err = PV_ERR_INIT;
    bool ok;

    if (!b)
        return false;
    b->wanted = true;
    ok = pv_loop_run(all->env->host.loop, made, b, deadline, &err) == 0 && !is_over(b) &&
         (!all->env->pool.claim || all->env->pool.claim(b->g->name, all->env->pool.arg, &err) == 0) &&
         (!b->stopped || pv_vm_cont(b->g->vm, deadline, &err) == 0) && !is_over(b);
    if (ok)
        move(b->g, g);
    else
        pv_debug(b->g->name, "is not taken: %s", err.text);
    drop(b);
    return ok;
}
