/* SPDX-License-Identifier: MIT */
/* One task per standby VM takes the steps of a resume.  The oldest one is dropped when there are too many. */
#include "guest/standby.h"

#include <unistd.h>

#include "guest/agent.h"
#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/instance.h"
#include "guest/lease.h"
#include "guest/machine.h"
#include "guest/resume.h"
#include "guest/saved.h"
#include "guest/vsock-device.h"
#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "vm/qmp.h"
#include "vm/vm.h"

/* For making one. */
#define STANDBY_LIMIT (30 * PV_NSEC_PER_SEC)
/* The first call to the VM that was just resumed goes first: two vCPUs may be hyperthreads of one core. */
#define STANDBY_PAUSE (15 * PV_NSEC_PER_MSEC)
#define COMMAND_LIMIT (5 * PV_NSEC_PER_SEC)
/* From an error to QEMU's end that caused it. */
#define END_LIMIT (500 * PV_NSEC_PER_MSEC)

enum { STANDBYS_MAX = 4 };

struct standby {
    struct pv_standby_pool *pool;
    struct pv_snapshot *s;
    struct pv_guest_env env; /* of g */
    struct pv_guest *g;      /* has the instance until that is adopted */
    struct pv_task *task;
    bool wanted;  /* a resume waits for it: only the necessary steps are taken */
    bool spoiled; /* its kernel reported something, which is the file's and no test's: not adopted */
    bool stopped, ready;
    bool taken; /* pv_standby_adopt works on it, maybe in a task: it is neither found nor dropped */
    bool died;  /* by itself, or its agent: kept for the next resume of the snapshot, which fails by `why` */
    struct pv_err why;
    struct standby *next;
};

struct pv_standby_pool {
    const struct pv_guest_env *env;
    struct standby *list; /* the youngest first */
    unsigned count;
};

struct pv_standby_pool *pv_standby_pool_new(const struct pv_guest_env *env)
{
    struct pv_standby_pool *pool = pv_xcalloc(1, sizeof(*pool));

    pool->env = env;
    return pool;
}

static void standby_drop(struct standby *b)
{
    struct standby **at = &b->pool->list;

    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    pv_task_free(b->task);
    if (b->g && pv_guest_log_path(b->g))
        unlink(pv_guest_log_path(b->g));
    pv_guest_free(b->g);
    pv_snapshot_unref(b->s);
    free(b);
}

void pv_standby_pool_clear(struct pv_standby_pool *pool)
{
    struct standby *next;

    for (struct standby *b = pool ? pool->list : NULL; b; b = next) {
        next = b->next;
        if (!b->taken)
            standby_drop(b);
    }
}

void pv_standby_pool_free(struct pv_standby_pool *pool)
{
    pv_standby_pool_clear(pool);
    free(pool);
}

/* ---- its pool client and observer ---- */

static int standby_acquire(const char *vm, uint64_t memory, unsigned cpus, const char *standby, void *arg,
                           struct pv_err *err)
{
    const struct pv_pool_client *pool = &((struct standby *)arg)->pool->env->pool;

    (void)standby;
    return pool->try_acquire ? pool->try_acquire(vm, memory, cpus, pool->arg, err) : 0;
}

static void standby_release(const char *vm, void *arg)
{
    const struct pv_pool_client *pool = &((struct standby *)arg)->pool->env->pool;

    if (pool->release)
        pool->release(vm, pool->arg);
}

static void standby_note_finding(const struct pv_guest *g, const struct pv_finding *finding, void *arg)
{
    struct standby *b = arg;
    const struct pv_guest_observer *o = &b->pool->env->observer;

    b->spoiled = true;
    if (o->finding)
        o->finding(g, finding, o->arg);
}

static struct pv_guest_env standby_env(struct standby *b)
{
    return (struct pv_guest_env){
        .host = b->pool->env->host,
        .pool = {.acquire = standby_acquire, .release = standby_release, .arg = b},
        .observer = {.finding = standby_note_finding, .arg = b},
    };
}

static void standby_preemptible(const struct standby *b)
{
    const struct pv_pool_client *pool = &b->pool->env->pool;

    if (pool->preemptible)
        pool->preemptible(b->g->name, pv_vm_pidfd(pv_instance_vm(b->g->instance)), pool->arg);
}

static bool standby_claim(const struct standby *b, struct pv_err *err)
{
    const struct pv_pool_client *pool = &b->pool->env->pool;

    return !pool->claim || pool->claim(b->g->name, pool->arg, err) == 0;
}

/* ---- making one ---- */

/*
 * A command without effect, started as every command is: the agent's own program, which prints its usage.
 * A failure does not matter: a guest without /proc, or a kernel that cannot choose a process's number, is
 * less well prepared.
 */
static void standby_run_command(struct standby *b)
{
    struct pv_exec x = {.timeout_ns = COMMAND_LIMIT, .unnumbered = true};
    struct pv_exec_result r = {0};
    struct pv_err err;

    pv_strv_add(&x.argv, "/proc/self/exe");
    if (pv_agent_exec(&b->g->agent, &x, &r, &err) < 0)
        pv_debug(b->g->name, "the command without effect: %s", err.text);
    pv_strv_free(&x.argv);
    pv_exec_result_fini(&r);
}

static bool standby_is_wanted(void *arg)
{
    return ((struct standby *)arg)->wanted;
}

static int standby_resume(struct standby *b, int64_t deadline, struct pv_err *err)
{
    struct pv_guest *g = b->g;
    struct pv_vm_lease *lease =
        pv_vm_lease_acquire(&b->env.pool, g->name, b->s->machine->memory, b->s->machine->cpus, NULL, err);

    if (!lease)
        return -1;
    pv_guest_adopt(g, pv_instance_new(b->env.host.loop, lease));
    if (pv_resume_start(g, b->s, err) < 0)
        return -1;
    standby_preemptible(b);
    if (pv_resume_load(g, b->s, deadline, err) < 0)
        return -1;
    pv_guest_set_running(g);
    return pv_guest_await_vsock(g, deadline, err) < 0 ? -1 : pv_resume_meet(g, deadline, err);
}

static int standby_make(struct standby *b, struct pv_err *err)
{
    int64_t deadline = pv_deadline(STANDBY_LIMIT);
    struct pv_guest *g = b->g;

    if (pv_loop_run(b->pool->env->host.loop, standby_is_wanted, b, pv_deadline(STANDBY_PAUSE), err) < 0 ||
        standby_resume(b, deadline, err) < 0)
        return -1;
    if (!b->wanted)
        standby_run_command(b);
    if (pv_guest_check_running(g, "keep it as a standby VM", err) < 0)
        return -1;
    if (b->wanted)
        return 0;
    if (pv_vm_stop(pv_instance_vm(g->instance), deadline, err) < 0)
        return -1;
    b->stopped = true;
    pv_guest_settle_findings(g);
    return 0;
}

static bool standby_has_ended(void *arg)
{
    const struct pv_guest *g = ((struct standby *)arg)->g;

    return !g->instance || pv_instance_ended(g->instance);
}

/*
 * A machine that ended by itself would have been the next VM, so its end fails the resume that it was made for.  SIGKILL is a
 * preemption or the host's OOM killer, and says nothing about the machine.
 */
static void standby_note_death(struct standby *b)
{
    struct pv_guest *g = b->g;

    if (b->spoiled || b->died || !standby_has_ended(b))
        return;
    if (g->instance)
        pv_guest_end(g, PV_GUEST_DEAD, pv_vm_end_reason(pv_instance_vm(g->instance)));
    if (!g->end.reason || g->end.sigkilled)
        return;
    b->why = (struct pv_err)PV_ERR_INIT;
    pv_err_set(&b->why, PV_E_GUEST_DIED, "%s, which was resumed ahead for this, died: %s", g->name,
               g->end.reason);
    pv_err_died(&b->why, g->end.died, pv_guest_number(g));
    pv_guest_add_console(g, &b->why);
    b->died = true;
}

/*
 * The same for an agent that ended or broke the protocol in a machine that lives: its QEMU replies.  err: what the
 * making failed by.
 */
static void standby_note_loss(struct standby *b, const struct pv_err *err)
{
    struct pv_guest *g = b->g;

    if (b->spoiled || b->died || standby_has_ended(b) ||
        (err->cls != PV_E_GUEST_DIED && err->cls != PV_E_PROTOCOL) || pv_guest_panic_suspected(g) ||
        pv_vm_qmp(pv_instance_vm(g->instance), "query-status", NULL, NULL, pv_deadline(COMMAND_LIMIT), NULL) <
            0)
        return;
    b->why = *err;
    pv_err_wrap(&b->why, "%s, which was resumed ahead for this, lost its agent", g->name);
    b->died = true;
    pv_guest_end(g, PV_GUEST_DEAD, "its agent was lost");
}

static void standby_task(void *arg)
{
    struct standby *b = arg;
    int64_t start = pv_now();
    struct pv_err err;

    if (standby_make(b, &err) < 0) {
        pv_debug(b->g->name, "no standby VM: %s", err.text);
        /* The monitor's end comes before QEMU's. */
        if (err.cls != PV_E_TIMEOUT &&
            pv_loop_run(b->pool->env->host.loop, standby_has_ended, b, pv_deadline(END_LIMIT), NULL) >= 0) {
            standby_note_death(b);
            standby_note_loss(b, &err);
        }
        return;
    }
    b->ready = true;
    pv_debug(b->g->name, "ready after %.1f ms", (double)(pv_now() - start) / 1e6);
}

static bool standby_is_made(void *arg)
{
    return pv_task_done(((struct standby *)arg)->task);
}

/* It can not be adopted any more. */
static bool standby_is_over(const struct standby *b)
{
    if (b->spoiled)
        return true;
    if (!b->task || !pv_task_done(b->task)) /* its task notices an end by itself */
        return false;
    return !b->ready || !b->g->instance || pv_instance_ended(b->g->instance);
}

static struct standby *standby_find(struct pv_standby_pool *pool, const struct pv_snapshot *s)
{
    struct standby *next;

    for (struct standby *b = pool ? pool->list : NULL; b; b = next) {
        next = b->next;
        if (b->taken)
            continue;
        if (standby_is_over(b) && !b->died && pv_task_done(b->task))
            standby_note_death(b);
        if (b->died ? b->s == s : b->s == s && !standby_is_over(b))
            return b;
        if (!b->died && standby_is_over(b))
            standby_drop(b);
    }
    return NULL;
}

void pv_standby_prepare(struct pv_standby_pool *pool, struct pv_snapshot *s)
{
    struct standby *b, *oldest = NULL;
    size_t n = 0;

    if (!pool || standby_find(pool, s) || pv_machine_is_served(s->machine))
        return;
    for (b = pool->list; b; b = b->next) {
        if (b->taken)
            continue;
        oldest = b;
        n++;
    }
    if (n == STANDBYS_MAX)
        standby_drop(oldest);
    b = pv_xcalloc(1, sizeof(*b));
    *b = (struct standby){.pool = pool, .s = pv_snapshot_ref(s), .next = pool->list};
    pool->list = b;
    b->env = standby_env(b);
    b->g = pv_guest_new_named(&b->env, s->machine->profile,
                              pv_xasprintf("standby%u (%s)", ++pool->count, pv_snapshot_profile(s)));
    b->g->standby = true;
    pv_guest_begin(b->g);
    b->task = pv_task_start(pool->env->host.loop, standby_task, b, NULL);
    if (!b->task)
        standby_drop(b);
}

/* ---- adopting it ---- */

const char *pv_standby_name(struct pv_standby_pool *pool, const struct pv_snapshot *s)
{
    const struct standby *b = standby_find(pool, s);

    return b && !b->died ? b->g->name : NULL;
}

int pv_standby_check(struct pv_standby_pool *pool, const struct pv_snapshot *s, struct pv_err *err)
{
    struct standby *b = standby_find(pool, s);

    if (!b || !b->died)
        return 0;
    if (err)
        *err = b->why;
    standby_drop(b);
    return -1;
}

bool pv_standby_ready(struct pv_standby_pool *pool, const struct pv_snapshot *s)
{
    const struct standby *b = standby_find(pool, s);

    return b && !b->died && b->ready;
}

/* Waits until it is made, has the pool let it live, and lets it run. */
static bool standby_start(struct standby *b, int64_t deadline, struct pv_err *err)
{
    if (pv_loop_run(b->pool->env->host.loop, standby_is_made, b, deadline, err) != 0 || standby_is_over(b) ||
        !standby_claim(b, err))
        return false;
    if (b->stopped && pv_vm_cont(pv_instance_vm(b->g->instance), deadline, err) < 0)
        return false;
    return !standby_is_over(b);
}

struct pv_instance *pv_standby_adopt(struct pv_standby_pool *pool, const struct pv_snapshot *s,
                                     struct pv_conlog *log, int64_t deadline)
{
    struct standby *b = standby_find(pool, s);
    struct pv_err err = PV_ERR_INIT;
    struct pv_instance *i = NULL;

    if (!b || b->died)
        return NULL;
    b->wanted = b->taken = true;
    if (standby_start(b, deadline, &err)) {
        i = pv_guest_release(b->g);
        pv_vm_move_log(pv_instance_vm(i), log);
        pv_instance_own_recording(i, pv_steal(&b->g->console));
        pv_vm_lease_release(pv_instance_take_lease(i)); /* its client is freed with the standby VM */
    } else {
        pv_debug(b->g->name, "is not adopted: %s", err.text);
        b->taken = false;
        standby_note_death(b);
        if (b->died)
            return NULL;
    }
    standby_drop(b);
    return i;
}
