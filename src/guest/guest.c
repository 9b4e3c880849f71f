/* SPDX-License-Identifier: MIT */
#include "guest/guest.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "guest/core.h"
#include "guest/disks.h"
#include "guest/guest-state.h"
#include "guest/held.h"
#include "guest/instance.h"
#include "guest/machine.h"
#include "guest/output.h"
#include "guest/recording.h"
#include "loop/loop.h"
#include "transport/channel.h"
#include "util/clock.h"
#include "util/log.h"
#include "vm/conlog.h"
#include "vm/core.h"
#include "vm/overlay.h"
#include "vm/vm.h"
#include "wire/proto.h"

/* A broken channel is usually the first sign of a death; how long to wait for the death itself. */
#define DEATH_GRACE PV_NSEC_PER_SEC
#define DEATH_LIMIT (2 * PV_NSEC_PER_SEC) /* from the end of the monitor to that of QEMU */
/* An agent's port is closed by the guest's kernel, which therefore lives; but it may end next. */
#define PORT_GRACE (500 * PV_NSEC_PER_MSEC)

/* ---- states ---- */

static const char *const state_names[] = {
    [PV_GUEST_CREATED] = "not booted", [PV_GUEST_BOOTING] = "booting",     [PV_GUEST_RUNNING] = "running",
    [PV_GUEST_DEAD] = "dead",          [PV_GUEST_SHUT_DOWN] = "shut down", [PV_GUEST_KILLED] = "killed",
};

const char *pv_guest_state_name(enum pv_guest_state s)
{
    return state_names[s];
}

static bool is_live(enum pv_guest_state s)
{
    return s == PV_GUEST_BOOTING || s == PV_GUEST_RUNNING;
}

static void guest_set_state(struct pv_guest *g, enum pv_guest_state to)
{
    enum {
        FINAL = 1U << PV_GUEST_DEAD | 1U << PV_GUEST_SHUT_DOWN | 1U << PV_GUEST_KILLED,
        BEGIN = 1U << PV_GUEST_BOOTING,
    };
    static const unsigned legal[] = {
        [PV_GUEST_CREATED] = BEGIN,         [PV_GUEST_BOOTING] = 1U << PV_GUEST_RUNNING | FINAL,
        [PV_GUEST_RUNNING] = FINAL | BEGIN, [PV_GUEST_DEAD] = BEGIN,
        [PV_GUEST_SHUT_DOWN] = BEGIN,       [PV_GUEST_KILLED] = BEGIN,
    };

    assert(legal[g->state] & 1U << to);
    pv_debug(g->name, "%s -> %s", state_names[g->state], state_names[to]);
    g->state = to;
    if (g->env->observer.state)
        g->env->observer.state(g, to, g->env->observer.arg);
}

void pv_guest_end_fini(struct pv_guest_end *e)
{
    free(e->reason);
    free(e->panic);
    free(e->tail);
    *e = (struct pv_guest_end){0};
}

static struct pv_conlog *log_new(const struct pv_guest_env *env, const struct pv_profile *profile,
                                 const char *name)
{
    cleanup_free char *path = NULL;
    int n = (int)strcspn(name, " "); /* "vm1" of "vm1 (default)" */

    if (env->host.log_dir)
        path = pv_xasprintf("%s/%.*s-%s.log", env->host.log_dir, n, name, profile->name);
    return pv_conlog_new(path);
}

static void guest_on_console(const void *data, size_t n, void *arg)
{
    const struct pv_guest *g = arg;

    pv_output_tell(g, g->console, PV_OUTPUT_CONSOLE, data, n);
}

struct pv_guest *pv_guest_new_named(const struct pv_guest_env *env, const struct pv_profile *profile,
                                    char *name)
{
    static unsigned count;
    struct pv_guest *g = pv_xcalloc(1, sizeof(*g));

    g->number = ++count;
    g->env = env;
    g->profile = profile;
    g->name = name;
    g->log = log_new(env, profile, name);
    g->console = pv_recording_new(env->host.log_dir);
    pv_recording_tap(g->console, guest_on_console, g);
    g->agent = (struct pv_agent){.guest = g, .name = name, .port = PV_AGENT_PORT};
    return g;
}

static unsigned last_vm_number; /* of "vm1" */

struct pv_guest *pv_guest_new(const struct pv_guest_env *env, const struct pv_profile *profile)
{
    return pv_guest_new_named(env, profile, pv_xasprintf("vm%u (%s)", ++last_vm_number, profile->name));
}

struct pv_guest *pv_guest_new_as(const struct pv_guest_env *env, const struct pv_profile *profile,
                                 const char *name)
{
    unsigned number;
    int end = 0;

    /* Later VMs without a name of their own get other ones. */
    if (sscanf(name, "vm%9u%n", &number, &end) == 1 && !name[end] && number > last_vm_number)
        last_vm_number = number;
    return pv_guest_new_named(env, profile, pv_xasprintf("%s (%s)", name, profile->name));
}

void pv_guest_free(struct pv_guest *g)
{
    if (!g)
        return;
    while (g->held)
        g->held->close(g->held);
    pv_instance_free(g->instance);
    pv_instance_free(g->ended);
    pv_conlog_free(g->log);
    pv_recording_free(g->console);
    pv_guest_end_fini(&g->end);
    pv_guest_power_forget(g);
    pv_guest_disks_free(g);
    pv_machine_free(g->last);
    free(g->life.panic);
    free(g->name);
    free(g);
}

/* ---- its instance ---- */

static void guest_on_finding(const struct pv_finding *finding, void *arg)
{
    const struct pv_guest *g = arg;

    if (g->env->observer.finding)
        g->env->observer.finding(g, finding, g->env->observer.arg);
}

static void guest_observe(struct pv_guest *g)
{
    pv_guest_core_connect(g);
    if (g->instance && !g->unknown)
        pv_instance_observe(g->instance, guest_on_finding, g);
}

int pv_guest_operation_begin(struct pv_guest *g, const char *what, struct pv_err *err)
{
    if (g->operation)
        return pv_err_set(err, PV_E_USAGE, "cannot %s %s: another task is in its %s, which has not ended",
                          what, g->name, g->operation);
    g->operation = what;
    return 0;
}

void pv_guest_operation_end(struct pv_guest *g)
{
    g->operation = NULL;
    pv_instance_free(pv_steal(&g->ended));
}

/* Keeps the description of the machine that has ended, with what its overlays hold. */
static void guest_keep_machine(struct pv_guest *g, const struct pv_instance *i)
{
    const struct pv_machine *m = pv_instance_machine(i);

    if (!m || !pv_instance_vm(i) || g->standby)
        return;
    pv_machine_free(g->last);
    g->last = pv_machine_copy(m, NULL);
    g->last_serial = pv_instance_channel(i)->savable;
    for (size_t n = 0; g->last && n < g->last->n_disks; n++) {
        int overlay = pv_vm_overlay(pv_instance_vm(i), n);

        g->last->disks[n].plug = 0; /* a boot has it from the beginning */
        if (overlay < 0)
            continue;
        pv_close(&g->last->disks[n].top);
        g->last->disks[n].top = fcntl(overlay, F_DUPFD_CLOEXEC, 3);
    }
}

bool pv_guest_was_booted(const struct pv_guest *g)
{
    return g->last != NULL;
}

/* False: its end was wanted, or whoever starts or prepares it gets the error. */
static bool guest_death(const struct pv_guest *g, const struct pv_instance *i, struct pv_guest_death *death)
{
    const struct pv_vm *vm = pv_instance_vm(i); /* NULL: it was not even started */

    *death = (struct pv_guest_death){vm ? pv_vm_end_reason(vm) : "", g->end.tail, g->end.died};
    return g->end.failed && g->state == PV_GUEST_RUNNING && !g->standby;
}

/* Ends the instance, tells so, fills g->end but the reason.  The caller frees the result. */
static struct pv_instance *guest_end_instance(struct pv_guest *g)
{
    struct pv_instance *i = g->instance;
    struct pv_guest_death death;

    if (!i)
        return NULL;
    g->unknown = false; /* its findings have no other moment to be told */
    guest_observe(g);
    pv_instance_end(i, &g->end);
    pv_guest_power_forget(g);
    pv_guest_disks_settle(g);
    guest_keep_machine(g, i);
    pv_recording_flush(g->console);
    g->instance = NULL;
    if (g->env->observer.ended)
        g->env->observer.ended(g, g->end.panicked, guest_death(g, i, &death) ? &death : NULL,
                               g->env->observer.arg);
    return i;
}

static void guest_forget_life(struct pv_guest *g)
{
    free(g->life.panic);
    g->life = (struct pv_guest_life){0};
}

void pv_guest_begin(struct pv_guest *g)
{
    bool unknown = g->unknown;

    pv_instance_free(guest_end_instance(g));
    g->unknown = unknown;
    pv_guest_end_fini(&g->end);
    g->stopping = false;
    guest_forget_life(g);
    g->generation += g->state != PV_GUEST_CREATED;
    guest_set_state(g, PV_GUEST_BOOTING);
}

void pv_guest_adopt(struct pv_guest *g, struct pv_instance *i)
{
    assert(!g->instance && g->state == PV_GUEST_BOOTING);
    g->instance = i;
    pv_instance_record(i, g->console);
    pv_instance_on_reset(i, pv_guest_on_reset, g);
    pv_instance_on_frozen(i, pv_guest_disks_on_frozen, g);
    guest_observe(g);
}

struct pv_instance *pv_guest_release(struct pv_guest *g)
{
    pv_instance_observe(g->instance, NULL, NULL);
    pv_instance_record(g->instance, NULL);
    pv_instance_on_reset(g->instance, NULL, NULL);
    pv_instance_on_frozen(g->instance, NULL, NULL);
    if (pv_instance_vm(g->instance)) /* an instance that has ended has none */
        pv_vm_on_core(pv_instance_vm(g->instance), NULL, NULL);
    return pv_steal(&g->instance);
}

void pv_guest_set_running(struct pv_guest *g)
{
    guest_set_state(g, PV_GUEST_RUNNING);
}

void pv_guest_end(struct pv_guest *g, enum pv_guest_state to, const char *reason)
{
    struct pv_instance *i;

    if (!is_live(g->state))
        return;
    pv_guest_end_fini(&g->end);
    g->end.reason = reason ? pv_xstrdup(reason) : NULL;
    i = guest_end_instance(g);
    guest_set_state(g, to);
    if (g->operation && !g->ended)
        g->ended = i;
    else
        pv_instance_free(i);
}

/* For vm.h's limit, and the time until the loop gets to it. */
#define DECIDE_LIMIT (6 * PV_NSEC_PER_SEC)

static bool panic_is_decided(void *arg)
{
    const struct pv_guest *g = arg;

    return pv_guest_state(g) != PV_GUEST_RUNNING || !pv_guest_panic_suspected(g);
}

void pv_guest_decide_panic(struct pv_guest *g, int64_t deadline)
{
    int64_t limit = pv_deadline(DECIDE_LIMIT);

    pv_loop_run(g->env->host.loop, panic_is_decided, g, deadline < limit ? deadline : limit, NULL);
    pv_guest_core_wait(g, NULL);
}

void pv_guest_before_end(struct pv_guest *g)
{
    pv_guest_core_wait(g, NULL);
    if (g->state == PV_GUEST_RUNNING && g->instance && pv_instance_panic_hint(g->instance))
        pv_guest_decide_panic(g, PV_FOREVER);
}

void pv_guest_halt(struct pv_guest *g)
{
    pv_guest_before_end(g);
    if (g->instance && pv_instance_vm(g->instance))
        pv_vm_kill(pv_instance_vm(g->instance));
}

void pv_guest_kill(struct pv_guest *g)
{
    pv_guest_before_end(g);
    pv_guest_end(g, PV_GUEST_KILLED, NULL);
}

/* ---- queries ---- */

char *pv_guest_hostname(const struct pv_guest *g, bool shared)
{
    /* the name is "vm1 (minimal)" */
    return g->profile->builtin_userland || shared ? pv_xstrndup(g->name, strcspn(g->name, " ")) : NULL;
}

struct pv_agent *pv_guest_agent(struct pv_guest *g)
{
    return &g->agent;
}

const char *pv_guest_name(const struct pv_guest *g)
{
    return g->name;
}

unsigned pv_guest_number(const struct pv_guest *g)
{
    return g->number;
}

enum pv_guest_state pv_guest_state(const struct pv_guest *g)
{
    /* An end that the loop has seen and no call has met yet. */
    if (g->state == PV_GUEST_RUNNING && g->instance && pv_instance_ended(g->instance))
        return g->stopping ? PV_GUEST_SHUT_DOWN : PV_GUEST_DEAD;
    return g->state;
}

const char *pv_guest_log_path(const struct pv_guest *g)
{
    return pv_conlog_path(g->log);
}

void pv_guest_settle_findings(struct pv_guest *g)
{
    if (!g->instance)
        return;
    guest_observe(g);
    pv_instance_settle_findings(g->instance);
}

bool pv_guest_panic_suspected(const struct pv_guest *g)
{
    return (g->instance ? pv_instance_panic_hint(g->instance) : g->end.panic) != NULL;
}

bool pv_guest_is_standby(const struct pv_guest *g)
{
    return g->standby;
}

bool pv_guest_panicked(const struct pv_guest *g)
{
    return g->instance ? pv_instance_panicked(g->instance) : g->end.panicked;
}

void pv_guest_console_tail(const struct pv_guest *g, unsigned lines, struct pv_buf *out)
{
    const char *tail = g->end.tail, *from;

    if (g->instance)
        pv_instance_console_tail(g->instance, lines, out);
    if (g->instance || !tail)
        return;
    from = tail + strlen(tail);
    for (unsigned n = 0; from > tail; from--)
        if (from[-1] == '\n' && n++ == lines) /* the first one ends the last line */
            break;
    pv_buf_adds(out, from);
}

void pv_guest_add_console(const struct pv_guest *g, struct pv_err *err)
{
    cleanup_buf struct pv_buf tail = {0};
    const struct pv_vm *vm = g->instance ? pv_instance_vm(g->instance) : NULL;

    if (vm && pv_vm_is_stopped(vm))
        pv_err_append(err,
                      "\nits QEMU, process %d, is stopped by a signal (SIGSTOP or the like): kill -CONT %d "
                      "lets it run on",
                      (int)pv_vm_pid(vm), (int)pv_vm_pid(vm));
    pv_guest_console_tail(g, PV_CONSOLE_TAIL_LINES, &tail);
    while (tail.len && tail.data[tail.len - 1] == '\n')
        tail.data[--tail.len] = '\0';
    if (tail.len)
        pv_err_console(err, "\n--- console of %s (last %d lines) ---\n%s", g->name, PV_CONSOLE_TAIL_LINES,
                       tail.data);
    else
        pv_err_append(err, "\n--- console of %s: empty ---", g->name);
}

void pv_guest_phase(const struct pv_guest *g, const char *what)
{
    if (g->env->observer.phase)
        g->env->observer.phase(g->name, what, g->env->observer.arg);
}

/* ---- waits ---- */

static bool guest_has_ended(const struct pv_guest *g)
{
    return !g->instance || pv_instance_ended(g->instance);
}

/* Ends the guest whose QEMU has ended. True when it has no running instance. */
static bool notice_end(struct pv_guest *g)
{
    cleanup_free char *reason = NULL;

    if (!guest_has_ended(g))
        return false;
    if (g->instance) {
        reason = pv_xstrdup(pv_vm_end_reason(pv_instance_vm(g->instance)));
        pv_guest_end(g, g->stopping ? PV_GUEST_SHUT_DOWN : PV_GUEST_DEAD, reason);
    }
    return true;
}

void pv_guest_notice_end(struct pv_guest *g)
{
    if (g->state == PV_GUEST_RUNNING)
        notice_end(g);
}

struct guest_wait {
    const struct pv_guest *g;
    unsigned generation; /* when the wait began: a restore ends it */
    bool (*done)(void *arg);
    void *arg;
};

static bool wait_is_over(void *arg)
{
    struct guest_wait *w = arg;

    return guest_has_ended(w->g) || w->g->generation != w->generation || (w->done && w->done(w->arg));
}

/* The channel broke: gives the machine the time to end, so that the break is not blamed instead. */
static int wait_out_grace(struct pv_guest *g, struct pv_err *err)
{
    struct guest_wait end = {.g = g, .generation = g->generation};
    const struct pv_channel *c = guest_has_ended(g) ? NULL : pv_instance_channel(g->instance);
    bool port;

    if (!c || !c->error || !pv_instance_take_grace(g->instance))
        return 0;
    port = c->kind == PV_CHANNEL_SERIAL && !pv_guest_panic_suspected(g);
    if (pv_guest_core_wait(g, NULL))
        port = false;
    return pv_loop_run(g->env->host.loop, wait_is_over, &end, pv_deadline(port ? PORT_GRACE : DEATH_GRACE),
                       err) < 0
               ? -1
               : 0;
}

int pv_guest_reset_error(const struct pv_guest *g, struct pv_err *err)
{
    pv_err_set(err, PV_E_GUEST_DIED, "%s %s meanwhile, which ended this call%s%s", g->name, g->life.how,
               g->life.panic ? ": " : "", g->life.panic ? g->life.panic : "");
    pv_err_died(err, g->life.panic ? PV_DIED_PANIC : PV_DIED_AGENT, g->number);
    pv_guest_add_console(g, err);
    return -1;
}

int pv_guest_wait(struct pv_guest *g, bool (*done)(void *arg), void *arg, int64_t deadline,
                  struct pv_err *err)
{
    struct guest_wait w = {g, g->generation, done, arg};
    int r;

    guest_observe(g);
    do
        r = pv_loop_run(g->env->host.loop, wait_is_over, &w, deadline, err);
    while (r > 0 && pv_guest_core_wait(g, &deadline));
    if (r < 0)
        return -1;
    if (r == 0 && g->generation == w.generation && wait_out_grace(g, err) < 0)
        return -1;
    if (g->generation != w.generation && g->life.how)
        return pv_guest_reset_error(g, err);
    if (g->generation != w.generation)
        return pv_err_set(err, PV_E_USAGE, "%s was restored meanwhile, which ended this call", g->name);
    if (!notice_end(g))
        return r;
    if (g->state == PV_GUEST_KILLED || (g->state == PV_GUEST_SHUT_DOWN && !g->end.reason))
        return pv_err_set(err, PV_E_GUEST_DIED, "%s was %s meanwhile, which ended this call", g->name,
                          state_names[g->state]);
    pv_err_set(err, PV_E_GUEST_DIED, "%s died: %s", g->name, g->end.reason ? g->end.reason : "killed");
    pv_err_died(err, g->end.died, g->number);
    pv_guest_add_console(g, err);
    return -1;
}

int pv_guest_monitor_result(struct pv_guest *g, int rc, struct pv_err *err)
{
    struct pv_err end = PV_ERR_INIT;

    if (rc < 0 && err && err->cls == PV_E_GUEST_DIED &&
        pv_guest_wait(g, NULL, NULL, pv_guest_deadline(g, DEATH_LIMIT), &end) < 0 &&
        end.cls == PV_E_GUEST_DIED)
        *err = end;
    return rc;
}

int64_t pv_guest_deadline(const struct pv_guest *g, int64_t timeout_ns)
{
    int64_t until = g->env->until ? g->env->until : PV_FOREVER;
    int64_t deadline = timeout_ns ? pv_deadline(timeout_ns) : PV_FOREVER;

    return deadline < until ? deadline : until;
}

int pv_guest_check_time(const struct pv_guest *g, const char *what, struct pv_err *err)
{
    if (!g->env->until || pv_now() < g->env->until)
        return 0;
    return pv_err_set(err, PV_E_TIMEOUT, "cannot %s: no time is left for calls to %s", what, g->name);
}

int pv_guest_check_machine(struct pv_guest *g, const char *what, struct pv_err *err)
{
    /* An end that no call has met yet: the loop handles what has come. */
    if (g->state == PV_GUEST_RUNNING && pv_loop_run(g->env->host.loop, NULL, NULL, pv_now(), err) >= 0)
        notice_end(g);
    if (g->state == PV_GUEST_RUNNING)
        return 0;
    if (g->state == PV_GUEST_DEAD) {
        pv_err_set(err, PV_E_GUEST_DIED, "cannot %s: %s is dead: %s", what, g->name, g->end.reason);
        pv_err_died(err, g->end.died, g->number);
        pv_guest_add_console(g, err);
        return -1;
    }
    return pv_err_set(err, PV_E_USAGE, "cannot %s: %s is %s%s", what, g->name, state_names[g->state],
                      g->state == PV_GUEST_CREATED ? " (call vm:boot() first)" : "");
}

int pv_guest_check_running(struct pv_guest *g, const char *what, struct pv_err *err)
{
    if (pv_guest_check_machine(g, what, err) < 0)
        return -1;
    if (g->life.paused)
        return pv_err_set(err, PV_E_USAGE, "cannot %s: %s is paused (call vm:resume() first)", what, g->name);
    return 0;
}

const struct pv_profile *pv_guest_profile(const struct pv_guest *g)
{
    return g->profile;
}
