/* SPDX-License-Identifier: MIT */
/*
 * Resuming: QEMU is started on the snapshot's memory, loads the devices, and the agent is met anew.  The
 * guest learns what it could not know: the time, and randomness that no other clone has.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "guest/call.h"
#include "guest/frozen.h"
#include "guest/internal.h"
#include "guest/machine.h"
#include "guest/standby.h"
#include "loop/loop.h"
#include "transport/serial.h"
#include "util/clock.h"
#include "util/copy.h"
#include "util/err.h"
#include "util/log.h"
#include "vm/migrate.h"
#include "vm/qmp.h"
#include "vm/spec.h"
#include "vm/vm.h"

#define DEFAULT_TIMEOUT (30 * PV_NSEC_PER_SEC)
#define CLOCK_OFF_MAX (100 * PV_NSEC_PER_MSEC)

enum { ENTROPY = 64, CLOCK_TRIES = 5 };

/* A description of its own, because the offset is part of it and several QEMUs may read at once. */
static int reopen(int fd, struct pv_err *err)
{
    char path[64];
    int r;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    r = open(path, O_RDONLY | O_CLOEXEC);
    return r >= 0 ? r : pv_err_sys(err, errno, "cannot open the saved state");
}

int pv_resume_start(struct pv_guest *g, const struct pv_snapshot *s, struct pv_err *err)
{
    struct pv_vm_spec spec = {
        .name = g->name,
        .initrd_fd = -1,
        .memory = {.kind = PV_VM_MEMORY_PRIVATE, .fd = s->memory}, /* unless it is copied */
        .state = {.savable = true, .incoming = true}};
    cleanup_close int state = reopen(s->state, err);
    struct pv_machine_arrays arrays = {0};
    int r;

    if (state < 0)
        return -1;
    g->channel = pv_serial_new(g->env->host.loop, err);
    if (!g->channel)
        return -1;
    spec.state.load_fd = state;
    spec.channel.kind = g->channel->kind;
    spec.channel.fd = g->channel->qemu_fd;
    pv_machine_to_spec(s->machine, &spec, &arrays);
    r = s->machine->hotplug_port ? pv_guest_make_memory(g, s->machine, &spec, err) : 0;
    if (r == 0)
        r = pv_guest_start_vm(g, &spec, err);
    pv_machine_arrays_fini(&arrays);
    return r;
}

/* ---- what a resumed guest is told ---- */

/* *off: how far the guest's clock was from the host's when the answer came, at most. */
static int tell(struct pv_guest *g, int64_t deadline, int64_t *off, struct pv_err *err)
{
    struct pv_call c = {.ok = true};
    unsigned char entropy[ENTROPY];
    int64_t left = deadline - pv_now();
    struct pv_enc e;

    if (getrandom(entropy, sizeof(entropy), 0) != (ssize_t)sizeof(entropy))
        return pv_err_sys(err, errno, "cannot get random bytes for %s", g->name);
    if (pv_call_begin(&g->agent, &c, PV_MSG_RESUME, "resume", &e, err) < 0)
        return -1;
    pv_enc_u64(&e, (uint64_t)pv_wall_now());
    pv_enc_bytes(&e, entropy, sizeof(entropy));
    if (pv_call_finish(&g->agent, &c, &e, "resume", left > 0 ? left : 1, err) < 0)
        return -1;
    *off = pv_wall_now() - (int64_t)c.value;
    return 0;
}

/* The clock is set by a message that takes its time: where that was too long, once more. */
int pv_resume_meet(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    int64_t off = 0;

    for (int i = 0; i < CLOCK_TRIES; i++) {
        if (tell(g, deadline, &off, err) < 0)
            return -1;
        if (off > -CLOCK_OFF_MAX && off < CLOCK_OFF_MAX)
            return 0;
        pv_debug(g->name, "the clock was %.1f ms off: set again", (double)off / 1e6);
    }
    return pv_err_set(
        err, PV_E_TIMEOUT,
        "the clock of %s can not be set to within 100 ms of the host's (%.0f ms off): the host is too busy",
        g->name, (double)off / 1e6);
}

static void phase(const struct pv_guest *g, const char *what, int64_t start)
{
    pv_debug(g->name, "resume: %s after %.1f ms", what, (double)(pv_now() - start) / 1e6);
}

int pv_resume_load(struct pv_guest *g, const struct pv_snapshot *s, int64_t deadline, struct pv_err *err)
{
    int64_t start = pv_now();

    /*
     * The back end of a vsock device maps the file, so QEMU has to share it, and it can not be the
     * snapshot's. (Of a private mapping the back end would see nothing, and nobody would say so.)  Such a
     * snapshot is whole, without pages.  QEMU is starting meanwhile, which takes about as long.
     */
    if (g->memory_fd >= 0 && pv_copy_sparse(s->memory, g->memory_fd, err) < 0)
        return -1;
    /* Loading a virtio device looks at its rings: memory comes first.  QEMU has it once its monitor answers.
     */
    if (s->pages.n_runs && (pv_vm_qmp(g->vm, "query-status", NULL, NULL, deadline, err) < 0 ||
                            pv_vm_write_dirty(g->vm, &s->pages, err) < 0))
        return -1;
    if (pv_vm_load(g->vm, deadline, err) < 0)
        return -1;
    phase(g, "state loaded", start);
    if ((s->machine->hotplug_port && pv_guest_plug(g, deadline, err) < 0) ||
        pv_vm_cont(g->vm, deadline, err) < 0)
        return -1;
    phase(g, "running", start);
    if (pv_agent_connect(&g->agent, deadline, err) < 0)
        return -1;
    phase(g, "agent met", start);
    return 0;
}

static int check(const struct pv_resume_opts *o, struct pv_err *err)
{
    return o && o->check ? o->check(o->arg, err) : 0;
}

/* ---- the whole ---- */

/* Its QEMU: one that stands by, or a new one. */
static int run(struct pv_guest *g, struct pv_snapshot *s, const struct pv_resume_opts *o, int64_t deadline,
               struct pv_err *err)
{
    int64_t start = pv_now();

    if (g->env->observer.phase)
        g->env->observer.phase(g->name, "resuming", g->env->observer.arg);
    if (pv_standby_name(g->env->standby_pool, s)) {
        if (check(o, err) < 0)
            return -1;
        if (pv_standby_take(g->env->standby_pool, s, g, deadline)) {
            phase(g, "it stood by", start);
            return 0;
        }
    }
    if (pv_resume_start(g, s, err) < 0)
        return -1;
    phase(g, "QEMU started", start);
    if (check(o, err) < 0)
        return -1;
    phase(g, "checked", start);
    return pv_resume_load(g, s, deadline, err);
}

/* QEMU said why it ended, if it did: that tells more than the command that got no answer. */
static void explain(struct pv_guest *g, struct pv_err *err)
{
    if (!g->vm || !err || err->cls == PV_E_TIMEOUT)
        return;
    if (pv_loop_run(g->env->host.loop, NULL, NULL, pv_deadline(50 * PV_NSEC_PER_MSEC), NULL) >= 0 &&
        pv_vm_state(g->vm) == PV_VM_ENDED)
        pv_err_set(err, PV_E_GUEST_DIED, "%s", pv_vm_end_reason(g->vm));
}

static int give_up(struct pv_guest *g)
{
    pv_guest_teardown(g);
    free(g->end_reason);
    g->end_reason = pv_xstrdup("it could not be resumed");
    pv_guest_set_state(g, PV_GUEST_DEAD);
    return -1;
}

static int resume(struct pv_guest *g, struct pv_snapshot *s, const struct pv_resume_opts *o,
                  struct pv_err *err)
{
    int64_t timeout = o && o->timeout_ns ? o->timeout_ns : DEFAULT_TIMEOUT, deadline;
    struct pv_machine *m = pv_machine_copy(s->machine, err);
    const char *standby = pv_standby_name(g->env->standby_pool, s);

    if (!m || pv_guest_take(g, m->memory, m->cpus, standby, err) < 0) {
        pv_machine_free(m);
        return give_up(g);
    }
    deadline = pv_deadline(timeout);
    pv_machine_free(g->machine);
    g->machine = m;
    pv_snapshot_ref(s);
    pv_snapshot_unref(g->base);
    g->base = s;
    if (run(g, s, o, deadline, err) < 0) {
        explain(g, err);
        pv_err_wrap(err, "cannot resume %s", g->name);
        return give_up(g);
    }
    pv_guest_set_state(g, PV_GUEST_RUNNING);
    if (pv_guest_plug_wait(g, deadline, err) < 0 || pv_resume_meet(g, deadline, err) < 0) {
        pv_guest_kill(g);
        return -1;
    }
    /* The second time it is known that the file does it again and again. */
    if (++s->n_resumed > 1)
        pv_standby_prepare(g->env->standby_pool, s);
    return 0;
}

struct pv_guest *pv_guest_resume(const struct pv_guest_env *env, struct pv_snapshot *s,
                                 const struct pv_resume_opts *o, struct pv_err *err)
{
    struct pv_guest *g = pv_guest_new(env, s->machine->profile);

    pv_guest_set_state(g, PV_GUEST_BOOTING);
    if (resume(g, s, o, err) == 0)
        return g;
    pv_guest_free(g);
    return NULL;
}

int pv_guest_restore(struct pv_guest *g, struct pv_snapshot *s, const struct pv_resume_opts *o,
                     struct pv_err *err)
{
    bool keep;

    if (g->state == PV_GUEST_CREATED)
        return pv_err_set(err, PV_E_USAGE,
                          "cannot restore %s: it was never booted (vm:clone makes another VM)", g->name);
    /* A machine of the same size takes its own place in the pool. */
    keep = g->taken && g->machine && g->machine->memory == s->machine->memory &&
           g->machine->cpus == s->machine->cpus;
    g->taken = g->taken && !keep;
    pv_guest_teardown(g);
    g->taken = keep;
    free(g->remains.tail);
    memset(&g->remains, 0, sizeof(g->remains));
    free(g->end_reason);
    g->end_reason = NULL;
    g->stopping = false;
    g->generation++;
    pv_guest_set_state(g, PV_GUEST_BOOTING);
    return resume(g, s, o, err);
}
