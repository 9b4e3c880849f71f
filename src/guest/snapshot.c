/* SPDX-License-Identifier: MIT */
/*
 * Saving.  The order is what makes it honest: the agent comes to rest and says so, then the machine is
 * stopped, then everything is taken from it while nothing moves.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest/frozen.h"
#include "guest/internal.h"
#include "guest/machine.h"
#include "loop/loop.h"
#include "transport/channel.h"
#include "util/clock.h"
#include "util/copy.h"
#include "util/err.h"
#include "util/log.h"
#include "vm/migrate.h"
#include "vm/overlay.h"
#include "vm/vm.h"

#define DEFAULT_TIMEOUT (30 * PV_NSEC_PER_SEC)

struct pv_snapshot *pv_snapshot_new(struct pv_machine *m)
{
    struct pv_snapshot *s = pv_xcalloc(1, sizeof(*s));

    *s = (struct pv_snapshot){.refs = 1, .machine = m, .memory = -1, .state = -1, .pages = {.fd = -1}};
    return s;
}

struct pv_snapshot *pv_snapshot_ref(struct pv_snapshot *s)
{
    s->refs++;
    return s;
}

void pv_snapshot_unref(struct pv_snapshot *s)
{
    if (!s || --s->refs)
        return;
    pv_machine_free(s->machine);
    pv_close(&s->memory);
    pv_close(&s->state);
    pv_dirty_fini(&s->pages);
    free(s);
}

uint64_t pv_snapshot_memory(const struct pv_snapshot *s)
{
    return s->machine->memory;
}

unsigned pv_snapshot_cpus(const struct pv_snapshot *s)
{
    return s->machine->cpus;
}

const char *pv_snapshot_profile(const struct pv_snapshot *s)
{
    return s->machine->profile->name;
}

/* ---- the pieces ---- */

static int new_memfd(const char *name, struct pv_err *err)
{
    int fd = memfd_create(name, MFD_CLOEXEC);

    return fd >= 0 ? fd : pv_err_sys(err, errno, "cannot make a file in memory");
}

/* `last`: the guest will not run any more, so what it has can be had without a copy. */
static int take_memory(const struct pv_guest *g, struct pv_snapshot *s, bool last, struct pv_err *err)
{
    if (g->memory_fd < 0) {
        s->memory = fcntl(g->base->memory, F_DUPFD_CLOEXEC, 3);
        if (s->memory < 0)
            return pv_err_sys(err, errno, "cannot keep the memory of %s", g->name);
        return pv_vm_read_dirty(g->vm, &s->pages, err);
    }
    if (last) {
        s->memory = fcntl(g->memory_fd, F_DUPFD_CLOEXEC, 3);
        return s->memory < 0 ? pv_err_sys(err, errno, "cannot keep the memory of %s", g->name) : 0;
    }
    s->memory = new_memfd("provium-memory", err);
    return s->memory < 0 ? -1 : pv_copy_sparse(g->memory_fd, s->memory, err);
}

/* What was written to the disks: a layer of its own for good, or what the next overlay begins as. */
static int take_disks(const struct pv_guest *g, struct pv_snapshot *s, bool last, struct pv_err *err)
{
    for (size_t i = 0; i < s->machine->n_disks; i++) {
        struct pv_machine_disk *d = &s->machine->disks[i];
        int overlay = pv_vm_overlay(g->vm, i), fd;

        if (overlay < 0)
            continue;
        pv_close(&d->top);
        if (last) {
            fd = fcntl(overlay, F_DUPFD_CLOEXEC, 3);
            if (fd < 0)
                return pv_err_sys(err, errno, "cannot keep disk '%s'", d->path);
            d->backing = pv_xrealloc(d->backing, (d->n_backing + 1) * sizeof(*d->backing));
            d->backing[d->n_backing++] = fd;
            continue;
        }
        d->top = new_memfd("provium-disk", err);
        if (d->top < 0 || pv_copy_sparse(overlay, d->top, err) < 0)
            return -1;
    }
    return 0;
}

/* Everything, from a machine that is stopped by it. */
static int take(struct pv_guest *g, struct pv_snapshot *s, bool last, int64_t deadline, struct pv_err *err)
{
    int64_t start = pv_now();

    if (pv_vm_save(g->vm, &s->state, deadline, err) < 0)
        return -1;
    pv_debug(g->name, "state saved after %.1f ms", (double)(pv_now() - start) / 1e6);
    if (take_memory(g, s, last, err) < 0 || take_disks(g, s, last, err) < 0)
        return -1;
    pv_debug(g->name, "memory and disks taken after %.1f ms (%" PRIu64 " pages)",
             (double)(pv_now() - start) / 1e6, s->pages.n_pages);
    return 0;
}

/* ---- the whole ---- */

static bool at_rest(void *arg)
{
    const struct pv_channel *c = ((struct pv_guest *)arg)->channel;

    return c->error || c->ops->quiesced(c);
}

static int quiesce(struct pv_guest *g, bool idle, int64_t deadline, struct pv_err *err)
{
    int r;

    g->channel->ops->quiesce(g->channel, idle);
    r = pv_guest_wait(g, at_rest, g, deadline, err);
    if (r < 0)
        return -1;
    if (g->channel->error)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent's port of %s broke: %s", g->name,
                          g->channel->error_text);
    if (r > 0)
        return pv_err_set(err, PV_E_TIMEOUT, "the agent of %s did not come to rest in time%s", g->name,
                          idle ? " (does something that it started not end?)" : "");
    return 0;
}

static int check(struct pv_guest *g, const char *what, struct pv_err *err)
{
    if (pv_guest_check_running(g, what, err) < 0)
        return -1;
    if (!g->channel->savable)
        return pv_err_set(
            err, PV_E_USAGE,
            "cannot %s %s: its transport is vsock (%s), which can not be saved; boot it with transport "
            "= \"serial\"",
            what, g->name, pv_channel_kind_name(g->channel->kind));
    return pv_machine_check_savable(g->machine, g->name, err);
}

/* Checked, and with all that can be known of the machine before it is stopped. */
static struct pv_snapshot *begin(struct pv_guest *g, const char *what, struct pv_err *err)
{
    struct pv_machine *m = check(g, what, err) < 0 ? NULL : pv_machine_copy(g->machine, err);

    return m ? pv_snapshot_new(m) : NULL;
}

static struct pv_snapshot *failed(struct pv_guest *g, struct pv_snapshot *s, const char *what,
                                  struct pv_err *err)
{
    pv_snapshot_unref(s);
    pv_err_wrap(err, "cannot %s %s", what, g->name);
    return NULL;
}

/* What follows has time of its own: the VM is to go on also where the time for the snapshot is over. */
static int go_on(struct pv_guest *g, struct pv_err *err)
{
    if (!g->vm || pv_vm_state(g->vm) != PV_VM_RUNNING)
        return 0;
    return pv_vm_cont(g->vm, pv_deadline(DEFAULT_TIMEOUT), err);
}

static int plug_again(struct pv_guest *g, struct pv_err *err)
{
    int64_t deadline = pv_deadline(DEFAULT_TIMEOUT);

    if (!g->vm || pv_vm_state(g->vm) != PV_VM_RUNNING || !g->machine->hotplug_port || g->own_vsock)
        return 0;
    return pv_guest_plug(g, deadline, err) < 0 ? -1 : pv_guest_plug_wait(g, deadline, err);
}

struct pv_snapshot *pv_guest_snapshot(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err)
{
    int64_t deadline = pv_deadline(timeout_ns ? timeout_ns : DEFAULT_TIMEOUT);
    struct pv_snapshot *s = begin(g, "snapshot", err);
    int r;

    if (!s)
        return NULL;
    r = pv_guest_unplug(g, deadline, err);
    if (r == 0)
        r = quiesce(g, false, deadline, err);
    if (r == 0) {
        r = take(g, s, false, deadline, err);
        if (go_on(g, r == 0 ? err : NULL) < 0)
            r = -1;
    }
    if (g->channel)
        g->channel->ops->wake(g->channel);
    if (plug_again(g, r == 0 ? err : NULL) < 0)
        r = -1;
    return r == 0 ? s : failed(g, s, "snapshot", err);
}

struct pv_snapshot *pv_guest_freeze(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err)
{
    int64_t deadline = pv_deadline(timeout_ns ? timeout_ns : DEFAULT_TIMEOUT);
    struct pv_snapshot *s = begin(g, "freeze", err);

    if (!s)
        return NULL;
    if (pv_guest_unplug(g, deadline, err) < 0)
        return failed(g, s, "freeze", err);
    pv_agent_disconnect(&g->agent);
    if (quiesce(g, true, deadline, err) < 0 || take(g, s, true, deadline, err) < 0)
        return failed(g, s, "freeze", err);
    /* Before anything else can move in it: its memory is the snapshot's now. */
    pv_vm_kill(g->vm);
    pv_guest_set_state(g, PV_GUEST_SHUT_DOWN);
    pv_guest_teardown(g);
    return s;
}

/* ---- to and from the cache ---- */

char *pv_snapshot_machine(const struct pv_snapshot *s, struct pv_err *err)
{
    return pv_machine_to_json(s->machine, err);
}

int pv_snapshot_write_memory(const struct pv_snapshot *s, int fd, struct pv_err *err)
{
    if (pv_copy_sparse(s->memory, fd, err) < 0)
        return -1;
    return s->pages.n_runs ? pv_dirty_apply(&s->pages, fd, err) : 0;
}

void pv_snapshot_blobs(const struct pv_snapshot *s, struct pv_snapshot_blob **blobs, size_t *n)
{
    struct pv_snapshot_blob *b;
    size_t most = 2;

    for (size_t i = 0; i < s->machine->n_disks; i++)
        most += s->machine->disks[i].n_backing;
    b = pv_xcalloc(most, sizeof(*b));
    *n = 0;
    b[(*n)++] = (struct pv_snapshot_blob){"memory", s->pages.n_runs ? -1 : s->memory};
    b[(*n)++] = (struct pv_snapshot_blob){"state", s->state};
    for (size_t i = 0; i < s->machine->n_disks; i++)
        for (size_t j = 0; j < s->machine->disks[i].n_backing; j++, (*n)++) {
            snprintf(b[*n].name, sizeof(b[*n].name), "disk%zu.%zu", i, j);
            b[*n].fd = s->machine->disks[i].backing[j];
        }
    *blobs = b;
}

static int load_blob(int (*blob)(const char *name, void *arg), void *arg, const char *name, int *out,
                     struct pv_err *err)
{
    int fd = blob(name, arg);

    if (fd < 0)
        return pv_err_set(err, PV_E_HOST, "the saved machine has no '%s'", name);
    *out = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return *out < 0 ? pv_err_sys(err, errno, "cannot keep '%s'", name) : 0;
}

static int load_blobs(struct pv_snapshot *s, int (*blob)(const char *name, void *arg), void *arg,
                      struct pv_err *err)
{
    char name[48];

    if (load_blob(blob, arg, "memory", &s->memory, err) < 0 ||
        load_blob(blob, arg, "state", &s->state, err) < 0)
        return -1;
    for (size_t i = 0; i < s->machine->n_disks; i++)
        for (size_t j = 0; j < s->machine->disks[i].n_backing; j++) {
            snprintf(name, sizeof(name), "disk%zu.%zu", i, j);
            if (load_blob(blob, arg, name, &s->machine->disks[i].backing[j], err) < 0)
                return -1;
        }
    return 0;
}

struct pv_snapshot *pv_snapshot_load(const char *machine, int (*blob)(const char *name, void *arg), void *arg,
                                     const struct pv_config *config, struct pv_err *err)
{
    struct pv_machine *m = pv_machine_from_json(machine, config, err);
    struct pv_snapshot *s = m ? pv_snapshot_new(m) : NULL;

    if (!s)
        return NULL;
    if (load_blobs(s, blob, arg, err) == 0)
        return s;
    pv_snapshot_unref(s);
    return NULL;
}
