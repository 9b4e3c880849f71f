/* SPDX-License-Identifier: MIT */
/* The life of a guest: created -> booting -> running -> dead | shut down | killed. Calls are in calls.c. */
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
    if (!g->parent && g->env->observer.state)
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
    g->port = PV_AGENT_PORT;
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

enum pv_guest_state pv_guest_state(const struct pv_guest *g)
{
    const struct pv_guest *root = pv_guest_croot(g);

    /* An end that the loop has seen and no call has met yet. */
    if (root->state == PV_GUEST_RUNNING && root->vm && pv_vm_state(root->vm) == PV_VM_ENDED)
        return root->stopping ? PV_GUEST_SHUT_DOWN : PV_GUEST_DEAD;
    if (root != g && root->generation != g->generation)
        return PV_GUEST_KILLED;
    /* A worker lives as long as its VM at most. */
    return root->state != PV_GUEST_RUNNING ? root->state : g->state;
}

struct pv_guest *pv_guest_parent(const struct pv_guest *g)
{
    return g->parent;
}

const char *pv_guest_name(const struct pv_guest *g)
{
    return g->name;
}

const char *pv_guest_log_path(const struct pv_guest *g)
{
    return pv_guest_croot(g)->log_path;
}

void pv_guest_console_tail(const struct pv_guest *g, unsigned lines, struct pv_buf *out)
{
    const struct pv_guest *root = pv_guest_croot(g);
    const char *tail = root->remains.tail, *from;

    if (root->vm)
        pv_console_tail(pv_vm_console(root->vm), lines, out);
    if (root->vm || !tail)
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
        pv_err_append(err, "\n--- console of %s (last %d lines) ---\n%s", pv_guest_croot(g)->name,
                      CONSOLE_LINES, tail.data);
    else
        pv_err_append(err, "\n--- console of %s: empty ---", pv_guest_croot(g)->name);
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
    pv_close(&g->vsock->qemu_fd);
    if (!g->vm)
        return -1;
    pv_guest_watch_findings(g);
    if (pv_is_serial(g->vsock))
        pv_vm_on_port_closed(g->vm, pv_serial_closed, g->vsock);
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
    pv_session_free(g->session);
    g->session = NULL;
    if (g->vm)
        bury(g);
    pv_machine_free(g->machine);
    g->machine = NULL;
    pv_snapshot_unref(g->base);
    g->base = NULL;
    pv_close(&g->memory_fd);
    if (g->vsock)
        g->vsock->ops->free(g->vsock);
    g->vsock = NULL;
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
    g->session->alive_arg = g;
}

void pv_guest_settle_findings(struct pv_guest *g)
{
    if (pv_guest_root(g)->vm)
        pv_vm_settle_findings(pv_guest_root(g)->vm);
}

bool pv_guest_panic_suspected(const struct pv_guest *g)
{
    const struct pv_guest *root = pv_guest_croot(g);

    return root->vm ? pv_console_panic(pv_vm_console(root->vm)) != NULL : root->remains.panic_suspected;
}

bool pv_guest_panicked(const struct pv_guest *g)
{
    const struct pv_guest *root = pv_guest_croot(g);

    return root->vm ? pv_vm_panicked(root->vm) : root->remains.panicked;
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
    const struct pv_guest *root;
    bool (*done)(void *arg);
    void *arg;
};

static bool done_or_dead(void *arg)
{
    struct wait_arg *w = arg;

    return vm_ended(w->root) || (w->done && w->done(w->arg));
}

static bool is_ended(void *arg)
{
    return vm_ended(arg);
}

int pv_guest_wait(struct pv_guest *g, bool (*done)(void *arg), void *arg, int64_t deadline,
                  struct pv_err *err)
{
    struct pv_guest *root = pv_guest_root(g);
    struct wait_arg w = {root, done, arg};
    int r = pv_loop_run(g->env->host.loop, done_or_dead, &w, deadline, err);

    if (r < 0)
        return -1;
    if (r == 0 && !vm_ended(root) && root->vsock && root->vsock->error && !root->graced) {
        /* The device broke: see whether this was the machine's end before blaming anybody else. */
        bool port = pv_is_serial(root->vsock) && !pv_guest_panic_suspected(root);

        root->graced = true;
        if (pv_loop_run(g->env->host.loop, is_ended, root, pv_deadline(port ? PORT_GRACE : DEATH_GRACE),
                        err) < 0)
            return -1;
    }
    if (notice_death(root)) {
        pv_err_set(err, PV_E_GUEST_DIED, "%s died: %s", root->name,
                   root->end_reason ? root->end_reason : "killed");
        pv_err_died(err, what_died(root));
        pv_guest_add_console(root, err);
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
    struct pv_guest *root = pv_guest_root(g);

    /* A death that nobody waited for yet: let the loop see what has come. */
    if (root->state == PV_GUEST_RUNNING && pv_loop_run(g->env->host.loop, NULL, NULL, pv_now(), err) >= 0)
        notice_death(root);
    if (root != g && root->generation != g->generation && g->state == PV_GUEST_RUNNING)
        pv_guest_kill(g); /* it was in the machine that its VM was before it was restored */
    if (root->state == PV_GUEST_RUNNING && g->state == PV_GUEST_RUNNING)
        return 0;
    if (root->state != PV_GUEST_RUNNING)
        g = root;
    if (g->state == PV_GUEST_DEAD) {
        pv_err_set(err, PV_E_GUEST_DIED, "cannot %s: %s %s%s", what, g->name,
                   g->parent ? "" : "is dead: ", g->end_reason);
        if (!g->parent)
            pv_err_died(err, what_died(g));
        if (!g->parent)
            pv_guest_add_console(g, err);
        return -1;
    }
    return pv_err_set(err, PV_E_USAGE, "cannot %s: %s is %s%s", what, g->name, state_names[g->state],
                      g->state == PV_GUEST_CREATED ? " (call vm:boot() first)" : "");
}

static bool session_settled(void *arg)
{
    const struct pv_session *s = ((struct pv_guest *)arg)->session;

    return s->state == PV_SESSION_OPEN || s->state == PV_SESSION_BROKEN;
}

static bool vsock_ready(void *arg)
{
    struct pv_vsock *v = pv_guest_root(arg)->vsock;

    return v->error || v->ops->ready(v);
}

static int vsock_broken(const struct pv_guest *g, struct pv_err *err)
{
    g = pv_guest_croot(g);
    pv_err_set(err, PV_E_PROTOCOL, "the %s of %s broke: %s",
               pv_is_serial(g->vsock) ? "agent's port" : "vsock device", g->name, g->vsock->error_text);
    pv_guest_add_console(g, err);
    return -1;
}

/* `last`: what became of the last connection that stood. */
static int connect_timeout(const struct pv_guest *g, const char *last, struct pv_err *err)
{
    struct pv_vsock *v = pv_guest_croot(g)->vsock;

    if (pv_is_serial(v) && (!v->ops->ready(v) || !*last))
        last = "nothing answers on its virtio-serial port";
    else if (!v->ops->ready(v))
        last = "the guest's vsock driver has not come up";
    else if (!*last)
        last = "the guest's vsock driver is up, but nothing listens";
    pv_err_set(err, PV_E_TIMEOUT, "the agent of %s did not answer in time on %s port %u: %s", g->name,
               pv_is_serial(v) ? "serial" : "vsock", g->port, last);
    pv_guest_add_console(g, err);
    return -1;
}

static void alive(void *arg)
{
    struct pv_vm *vm = pv_guest_root(arg)->vm;

    if (vm) /* a worker's last words may come when its VM is gone */
        pv_vm_alive_hint(vm);
}

/* One attempt. 0: open; 1: nobody listens yet, or the deadline; -1. */
static int connect_once(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    struct pv_vsock *v = pv_guest_root(g)->vsock;
    struct pv_stream *stream = v->ops->connect(v, g->port, err);
    int64_t attempt = pv_deadline(2 * PV_NSEC_PER_SEC);
    int r;

    if (!stream)
        return -1;
    pv_session_free(g->session);
    g->session = pv_session_new(g->env->host.loop, stream);
    g->session->alive = alive;
    g->session->alive_arg = g;
    r = pv_guest_wait(g, session_settled, g, attempt < deadline ? attempt : deadline, err);
    if (r < 0)
        return -1;
    if (g->session->state == PV_SESSION_OPEN)
        return 0;
    if (g->session->state == PV_SESSION_BROKEN && g->session->err.cls == PV_E_PROTOCOL) {
        if (err)
            *err = g->session->err;
        pv_guest_add_console(g, err);
        return -1;
    }
    return 1;
}

static void note_last(const struct pv_session *s, char last[static 128])
{
    if (s->state == PV_SESSION_GREETING)
        snprintf(last, 128, "it took the connection and did not greet");
    else if (s->state == PV_SESSION_BROKEN && !s->connect_errno)
        snprintf(last, 128, "%.120s", s->err.text);
}

int pv_guest_connect(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    char last[128] = "";

    if (g->session && g->session->state == PV_SESSION_OPEN)
        return 0;
    for (;;) {
        int64_t pause;
        int r = pv_guest_wait(g, vsock_ready, g, deadline, err);

        if (r < 0)
            return -1;
        if (pv_guest_root(g)->vsock->error)
            return vsock_broken(g, err);
        if (r > 0)
            return connect_timeout(g, last, err);
        r = connect_once(g, deadline, err);
        if (r <= 0)
            return r;
        note_last(g->session, last);
        if (pv_now() >= deadline)
            return connect_timeout(g, last, err);
        pv_session_free(g->session);
        g->session = NULL;
        /* The guest answered that nobody listens: between two tries it gets on with its boot. */
        pause = pv_deadline(3 * PV_NSEC_PER_MSEC);
        if (pv_guest_wait(g, NULL, NULL, pause < deadline ? pause : deadline, err) < 0)
            return -1;
    }
}

int pv_guest_shutdown(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err)
{
    int64_t limit = timeout_ns ? timeout_ns : SHUTDOWN_LIMIT, deadline = pv_guest_deadline(g, limit);
    struct pv_err asked = PV_ERR_INIT;
    bool panicked;

    if (g->parent)
        return pv_err_set(err, PV_E_USAGE, "cannot shut down %s: a worker ends with worker:kill()", g->name);
    if (g->state == PV_GUEST_CREATED)
        return pv_err_set(err, PV_E_USAGE, "cannot shut down: %s is %s", g->name, state_names[g->state]);
    if (g->state != PV_GUEST_RUNNING || pv_guest_check_running(g, "shut down", NULL) < 0)
        return 0;
    if (g->env->observer.phase)
        g->env->observer.phase(g->name, "shutting down", g->env->observer.arg);
    g->stopping = true;
    /* An agent that does not answer is no reason to fail: the machine goes down either way. */
    if (pv_guest_ask_shutdown(g, deadline, &asked) < 0)
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
