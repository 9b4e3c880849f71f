/* SPDX-License-Identifier: MIT */
/* The life of a guest: created -> booting -> running -> dead | shut down | killed. Calls are in calls.c. */
#include "guest/call.h"
#include "guest/internal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "guest/machine.h"
#include "guest/snapshot.h"
#include "loop/loop.h"
#include "transport/serial.h"
#include "transport/stream.h"
#include "util/clock.h"
#include "util/log.h"
#include "vm/console.h"
#include "vm/vm.h"

enum { CONSOLE_LINES = 20 };

#define SHUTDOWN_LIMIT (10 * PV_NSEC_PER_SEC)
/* A broken device is usually the first sign of a death; how long to wait for the death itself. */
#define DEATH_GRACE PV_NSEC_PER_SEC
/* An agent's port is closed by the guest's kernel, which therefore lives; but it may end next. */
#define PORT_GRACE (500 * PV_NSEC_PER_MSEC)

static const char *const state_names[] = {
    [PV_GUEST_CREATED] = "not booted", [PV_GUEST_BOOTING] = "booting",     [PV_GUEST_RUNNING] = "running",
    [PV_GUEST_DEAD] = "dead",          [PV_GUEST_SHUT_DOWN] = "shut down", [PV_GUEST_KILLED] = "killed",
};

const char *pv_guest_state_name(enum pv_guest_state s)
{
    return state_names[s];
}

void pv_guest_set_state(struct pv_guest *g, enum pv_guest_state to)
{
    static const unsigned legal[] = {
        [PV_GUEST_CREATED] = 1U << PV_GUEST_BOOTING,
        [PV_GUEST_BOOTING] = 1U << PV_GUEST_RUNNING | 1U << PV_GUEST_DEAD | 1U << PV_GUEST_KILLED,
        /* back to booting: by a restore */
        [PV_GUEST_RUNNING] =
            1U << PV_GUEST_DEAD | 1U << PV_GUEST_SHUT_DOWN | 1U << PV_GUEST_KILLED | 1U << PV_GUEST_BOOTING,
        [PV_GUEST_DEAD] = 1U << PV_GUEST_BOOTING,
        [PV_GUEST_SHUT_DOWN] = 1U << PV_GUEST_BOOTING,
        [PV_GUEST_KILLED] = 1U << PV_GUEST_BOOTING,
    };

    assert(legal[g->state] & 1U << to);
    pv_debug(g->name, "%s -> %s", state_names[g->state], state_names[to]);
    g->state = to;
    if (g->env->observer.state)
        g->env->observer.state(g->name, to, g->env->observer.arg);
}

struct pv_guest *pv_guest_new_named(const struct pv_guest_env *env, const struct pv_profile *profile,
                                    char *name)
{
    struct pv_guest *g = pv_xcalloc(1, sizeof(*g));

    g->env = env;
    g->profile = profile;
    g->name = name;
    g->state = PV_GUEST_CREATED;
    g->agent = (struct pv_agent){.guest = g, .name = name, .port = PV_AGENT_PORT};
    g->memory_fd = -1;
    return g;
}

struct pv_guest *pv_guest_new(const struct pv_guest_env *env, const struct pv_profile *profile)
{
    static unsigned count;

    return pv_guest_new_named(env, profile, pv_xasprintf("vm%u (%s)", ++count, profile->name));
}

void pv_guest_free(struct pv_guest *g)
{
    if (!g)
        return;
    pv_guest_teardown(g);
    free(g->remains.tail);
    free(g->name);
    free(g->log_path);
    free(g->end_reason);
    free(g);
}

struct pv_agent *pv_guest_agent(struct pv_guest *g)
{
    return &g->agent;
}

enum pv_guest_state pv_guest_state(const struct pv_guest *g)
{
    /* An end that the loop has seen and no call has met yet. */
    if (g->state == PV_GUEST_RUNNING && g->vm && pv_vm_state(g->vm) == PV_VM_ENDED)
        return g->stopping ? PV_GUEST_SHUT_DOWN : PV_GUEST_DEAD;
    return g->state;
}

const char *pv_guest_name(const struct pv_guest *g)
{
    return g->name;
}

const char *pv_guest_log_path(const struct pv_guest *g)
{
    return g->log_path;
}

void pv_guest_console_tail(const struct pv_guest *g, unsigned lines, struct pv_buf *out)
{
    const char *tail = g->remains.tail, *from;

    if (g->vm)
        pv_console_tail(pv_vm_console(g->vm), lines, out);
    if (g->vm || !tail)
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

    pv_guest_console_tail(g, CONSOLE_LINES, &tail);
    while (tail.len && tail.data[tail.len - 1] == '\n')
        tail.data[--tail.len] = '\0';
    if (tail.len)
        pv_err_append(err, "\n--- console of %s (last %d lines) ---\n%s", g->name, CONSOLE_LINES, tail.data);
    else
        pv_err_append(err, "\n--- console of %s: empty ---", g->name);
}

int pv_guest_take(struct pv_guest *g, uint64_t memory, unsigned cpus, const char *standby, struct pv_err *err)
{
    if (g->taken || !g->env->pool.acquire)
        return 0;
    if (g->env->pool.acquire(g->name, memory, cpus, standby, g->env->pool.arg, err) < 0)
        return -1;
    g->taken = true;
    return 0;
}

/* Names the log of the QEMU that is about to be started. */
static void make_log(struct pv_guest *g)
{
    int n = (int)strcspn(g->name, " "); /* "vm1" of "vm1 (default)" */

    free(g->log_path);
    g->log_path = NULL;
    if (!g->env->host.log_dir)
        return;
    if (g->generation)
        g->log_path = pv_xasprintf("%s/%.*s-%s.%u.log", g->env->host.log_dir, n, g->name, g->profile->name,
                                   g->generation);
    else
        g->log_path = pv_xasprintf("%s/%.*s-%s.log", g->env->host.log_dir, n, g->name, g->profile->name);
}

int pv_guest_start_vm(struct pv_guest *g, const struct pv_vm_spec *spec, struct pv_err *err)
{
    make_log(g);
    g->vm = pv_vm_start(g->env->host.loop, spec, g->log_path, NULL, NULL, err);
    pv_close(&g->channel->qemu_fd);
    if (!g->vm)
        return -1;
    pv_guest_watch_findings(g);
    if (g->channel->kind == PV_CHANNEL_SERIAL)
        pv_vm_on_port_closed(g->vm, pv_serial_closed, g->channel);
    return 0;
}

static enum pv_err_died what_died(const struct pv_guest *g);

/* Ends QEMU: of the VM stays what is still asked of one that has ended. */
static void bury(struct pv_guest *g)
{
    cleanup_buf struct pv_buf tail = {0};

    pv_vm_kill(g->vm);
    pv_guest_console_tail(g, CONSOLE_LINES, &tail);
    free(g->remains.tail);
    g->remains.tail = tail.len ? pv_xstrdup(tail.data) : NULL;
    g->remains.died = what_died(g);
    g->remains.panicked = pv_vm_panicked(g->vm);
    g->remains.panic_suspected = pv_guest_panic_suspected(g);
    pv_vm_free(g->vm);
    g->vm = NULL;
}

void pv_guest_teardown(struct pv_guest *g)
{
    pv_agent_disconnect(&g->agent);
    if (g->vm)
        bury(g);
    pv_machine_free(g->machine);
    g->machine = NULL;
    pv_snapshot_unref(g->base);
    g->base = NULL;
    pv_close(&g->memory_fd);
    if (g->channel)
        g->channel->ops->free(g->channel);
    g->channel = NULL;
    pv_guest_plug_end(g);
    g->graced = false;
    if (g->taken && g->env->pool.release)
        g->env->pool.release(g->name, g->env->pool.arg);
    g->taken = false;
}

/* Of one that was started. */
static bool vm_ended(const struct pv_guest *g)
{
    return !g->vm || pv_vm_state(g->vm) == PV_VM_ENDED;
}

/* Notices that QEMU has ended since the last look. */
static bool notice_death(struct pv_guest *g)
{
    if (!vm_ended(g))
        return false;
    if (g->vm && (g->state == PV_GUEST_RUNNING || g->state == PV_GUEST_BOOTING)) {
        g->end_reason = pv_xstrdup(pv_vm_end_reason(g->vm));
        pv_guest_set_state(g, g->stopping ? PV_GUEST_SHUT_DOWN : PV_GUEST_DEAD);
        pv_guest_teardown(g);
    }
    return true;
}

static void on_finding(const struct pv_finding *finding, void *arg)
{
    const struct pv_guest *g = arg;

    g->env->observer.finding(g, finding, g->env->observer.arg);
}

void pv_guest_watch_findings(struct pv_guest *g)
{
    if (g->env->observer.finding)
        pv_vm_on_finding(g->vm, on_finding, g);
}

void pv_guest_moved(struct pv_guest *g)
{
    make_log(g);
    pv_vm_on_finding(g->vm, g->env->observer.finding ? on_finding : NULL, g);
}

void pv_guest_settle_findings(struct pv_guest *g)
{
    if (g->vm)
        pv_vm_settle_findings(g->vm);
}

bool pv_guest_panic_suspected(const struct pv_guest *g)
{
    return g->vm ? pv_console_panic(pv_vm_console(g->vm)) != NULL : g->remains.panic_suspected;
}

bool pv_guest_panicked(const struct pv_guest *g)
{
    return g->vm ? pv_vm_panicked(g->vm) : g->remains.panicked;
}

/* Of a VM that ended: by a panic, or else. */
static enum pv_err_died what_died(const struct pv_guest *g)
{
    if (!g->vm)
        return g->remains.died;
    if (pv_vm_state(g->vm) != PV_VM_ENDED)
        return PV_DIED_AGENT; /* it did not boot */
    if (pv_console_fatal(pv_vm_console(g->vm)))
        return PV_DIED_AGENT;
    return pv_vm_panicked(g->vm) ? PV_DIED_PANIC : PV_DIED_QEMU;
}

struct wait_arg {
    const struct pv_guest *g;
    bool (*done)(void *arg);
    void *arg;
};

static bool done_or_dead(void *arg)
{
    struct wait_arg *w = arg;

    return vm_ended(w->g) || (w->done && w->done(w->arg));
}

static bool is_ended(void *arg)
{
    return vm_ended(arg);
}

int pv_guest_wait(struct pv_guest *g, bool (*done)(void *arg), void *arg, int64_t deadline,
                  struct pv_err *err)
{
    struct wait_arg w = {g, done, arg};
    int r = pv_loop_run(g->env->host.loop, done_or_dead, &w, deadline, err);

    if (r < 0)
        return -1;
    if (r == 0 && !vm_ended(g) && g->channel && g->channel->error && !g->graced) {
        /* The device broke: see whether this was the machine's end before blaming anybody else. */
        bool port = g->channel->kind == PV_CHANNEL_SERIAL && !pv_guest_panic_suspected(g);

        g->graced = true;
        if (pv_loop_run(g->env->host.loop, is_ended, g, pv_deadline(port ? PORT_GRACE : DEATH_GRACE), err) <
            0)
            return -1;
    }
    if (notice_death(g)) {
        pv_err_set(err, PV_E_GUEST_DIED, "%s died: %s", g->name, g->end_reason ? g->end_reason : "killed");
        pv_err_died(err, what_died(g));
        pv_guest_add_console(g, err);
        return -1;
    }
    return r;
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

int pv_guest_check_running(struct pv_guest *g, const char *what, struct pv_err *err)
{
    /* A death that nobody waited for yet: let the loop see what has come. */
    if (g->state == PV_GUEST_RUNNING && pv_loop_run(g->env->host.loop, NULL, NULL, pv_now(), err) >= 0)
        notice_death(g);
    if (g->state == PV_GUEST_RUNNING)
        return 0;
    if (g->state == PV_GUEST_DEAD) {
        pv_err_set(err, PV_E_GUEST_DIED, "cannot %s: %s is dead: %s", what, g->name, g->end_reason);
        pv_err_died(err, what_died(g));
        pv_guest_add_console(g, err);
        return -1;
    }
    return pv_err_set(err, PV_E_USAGE, "cannot %s: %s is %s%s", what, g->name, state_names[g->state],
                      g->state == PV_GUEST_CREATED ? " (call vm:boot() first)" : "");
}

int pv_guest_shutdown(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err)
{
    int64_t limit = timeout_ns ? timeout_ns : SHUTDOWN_LIMIT, deadline = pv_guest_deadline(g, limit);
    struct pv_err asked = PV_ERR_INIT;
    bool panicked;

    if (g->state == PV_GUEST_CREATED)
        return pv_err_set(err, PV_E_USAGE, "cannot shut down: %s is %s", g->name, state_names[g->state]);
    if (g->state != PV_GUEST_RUNNING || pv_guest_check_running(g, "shut down", NULL) < 0)
        return 0;
    if (g->env->observer.phase)
        g->env->observer.phase(g->name, "shutting down", g->env->observer.arg);
    g->stopping = true;
    /* An agent that does not answer is no reason to fail: the machine goes down either way. */
    if (pv_agent_ask_shutdown(&g->agent, deadline, &asked) < 0)
        pv_debug(g->name, "shutdown: %s", asked.text);
    if (pv_loop_run(g->env->host.loop, is_ended, g, deadline, err) < 0)
        return -1;
    if (!vm_ended(g) && g->env->observer.notice && deadline != g->env->until) {
        cleanup_free char *line =
            pv_xasprintf("%s did not power off within %.3g s and was killed", g->name, (double)limit / 1e9);

        g->env->observer.notice(line, g->env->observer.arg);
    }
    panicked = pv_guest_panic_suspected(g);
    if (g->state == PV_GUEST_RUNNING)
        pv_guest_set_state(g, PV_GUEST_SHUT_DOWN);
    pv_guest_teardown(g);
    if (panicked) {
        pv_err_set(err, PV_E_GUEST_DIED, "%s panicked while it shut down: %s", g->name,
                   pv_console_panic(pv_vm_console(g->vm)));
        pv_err_died(err, PV_DIED_PANIC);
        pv_guest_add_console(g, err);
        return -1;
    }
    return 0;
}

void pv_guest_kill(struct pv_guest *g)
{
    pv_guest_teardown(g);
    if (g->state == PV_GUEST_RUNNING || g->state == PV_GUEST_BOOTING)
        pv_guest_set_state(g, PV_GUEST_KILLED);
}
