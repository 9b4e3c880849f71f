/* SPDX-License-Identifier: MIT */
#include "guest/instance.h"
#include "guest/gdb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "config/config.h"
#include "guest/emulation.h"
#include "guest/end.h"
#include "guest/lease.h"
#include "guest/machine.h"
#include "guest/nics.h"
#include "guest/recording.h"
#include "guest/saved.h"
#include "guest/session.h"
#include "guest/shares.h"
#include "transport/channel.h"
#include "transport/serial.h"
#include "util/log.h"
#include "util/mem.h"
#include "vhost/vhost.h"
#include "vm/console.h"
#include "vm/findings.h"
#include "vm/life.h"
#include "vm/spec.h"
#include "vm/version.h"
#include "vm/vm.h"
#include "wire/proto.h"

enum { KEPT_FINDINGS_MAX = 64 }; /* of warnings, and of others */

struct kept_finding {
    struct pv_finding f; /* its strings are ours */
    struct kept_finding *next;
};

/* Findings that came while there was no observer. */
struct kept_findings {
    struct kept_finding *first, **end;
    unsigned n[2]; /* warnings, others: a flood of warnings leaves room for worse */
    unsigned n_unkept;
    enum pv_finding_kind unkept; /* the worst kind of those */
};

/* reason: the parts of one run, each with its setter */
struct pv_instance {
    struct pv_loop *loop;
    struct pv_vm_lease *lease;
    struct pv_machine *machine;
    struct pv_snapshot *base;
    int memory_fd;
    struct pv_channel *channel;
    struct pv_vm *vm;
    struct pv_session *session;
    struct pv_aux *aux;
    struct pv_vsock_device *vsock;
    unsigned vsock_cid;
    bool graced;
    bool met;                 /* an agent process has sent something */
    struct pv_session *asked; /* made to get a sign of life after a panic hint; NULL: none */
    void (*observer)(const struct pv_finding *finding, void *arg);
    void *observer_arg;
    struct kept_findings kept;
    struct pv_recording *console, *own_console;
    void (*on_reset)(const char *panic, void *arg);
    void *reset_arg;
    void (*on_frozen)(void *arg);
    void *frozen_arg;
    bool bootless;
    struct pv_nic_sockets nics;
    struct pv_guest_shares shares;
    char *gdb; /* path of the debugger's socket; NULL: none */
};

unsigned pv_random_cid(void)
{
    unsigned cid = 0;

    if (getrandom(&cid, sizeof(cid), 0) != sizeof(cid))
        cid = (unsigned)getpid();
    return 0x1000 + cid % 0x3fffffff;
}

struct pv_instance *pv_instance_new(struct pv_loop *loop, struct pv_vm_lease *lease)
{
    struct pv_instance *i = pv_xcalloc(1, sizeof(*i));

    i->loop = loop;
    i->lease = lease;
    i->memory_fd = -1;
    pv_nic_sockets_init(&i->nics);
    i->vsock_cid = pv_random_cid();
    i->kept.end = &i->kept.first;
    return i;
}

/* ---- findings ---- */

static void kept_finding_drop(struct pv_instance *i)
{
    struct kept_finding *k = i->kept.first;

    i->kept.first = k->next;
    if (!i->kept.first)
        i->kept.end = &i->kept.first;
    free((char *)k->f.headline);
    free((char *)k->f.excerpt);
    free((char *)k->f.first);
    free(k);
}

static void instance_on_finding(const struct pv_finding *finding, void *arg)
{
    struct pv_instance *i = arg;
    enum pv_severity severity = pv_finding_severity(finding->kind);
    unsigned *n = &i->kept.n[severity != PV_SEV_WARNING];
    struct kept_finding *k;

    if (i->observer) {
        i->observer(finding, i->observer_arg);
        return;
    }
    if (*n == KEPT_FINDINGS_MAX) {
        if (!i->kept.n_unkept++ || severity > pv_finding_severity(i->kept.unkept))
            i->kept.unkept = finding->kind;
        return;
    }
    k = pv_xcalloc(1, sizeof(*k));
    k->f = *finding;
    k->f.headline = pv_xstrdup(finding->headline);
    k->f.excerpt = pv_xstrdup(finding->excerpt);
    k->f.first = finding->first ? pv_xstrdup(finding->first) : NULL;
    *i->kept.end = k;
    i->kept.end = &k->next;
    ++*n;
}

/* The kernel reported more than is kept: one finding for all of them. */
static void unkept_findings_tell(struct pv_instance *i)
{
    char text[64];
    struct pv_finding f = {.kind = i->kept.unkept, .headline = text, .excerpt = ""};

    snprintf(text, sizeof(text), "%u more kernel reports than are kept", i->kept.n_unkept);
    i->kept.n_unkept = 0;
    i->observer(&f, i->observer_arg);
}

void pv_instance_observe(struct pv_instance *i, void (*fn)(const struct pv_finding *finding, void *arg),
                         void *arg)
{
    i->observer = fn;
    i->observer_arg = arg;
    if (!fn)
        return;
    for (; i->kept.first; kept_finding_drop(i))
        fn(&i->kept.first->f, arg);
    i->kept.n[0] = i->kept.n[1] = 0;
    if (i->kept.n_unkept)
        unkept_findings_tell(i);
}

void pv_instance_settle_findings(struct pv_instance *i)
{
    if (i->vm)
        pv_vm_settle_findings(i->vm);
}

/* ---- the console's bytes ---- */

static void instance_on_console(const void *data, size_t n, void *arg)
{
    struct pv_instance *i = arg;

    if (i->console)
        pv_recording_add(i->console, data, n);
}

void pv_instance_record(struct pv_instance *i, struct pv_recording *to)
{
    if (i->own_console && to)
        pv_recording_append(to, i->own_console);
    pv_recording_free(pv_steal(&i->own_console));
    i->console = to;
}

void pv_instance_own_recording(struct pv_instance *i, struct pv_recording *r)
{
    pv_recording_free(i->own_console);
    i->console = i->own_console = r;
}

/* ---- signs of life ---- */

void pv_instance_alive(struct pv_instance *i)
{
    i->met = true;
    pv_vm_alive_hint(i->vm);
}

static void asked_is_alive(void *arg)
{
    pv_instance_alive(arg);
}

void pv_instance_stop_asking(struct pv_instance *i)
{
    pv_session_close(i->asked);
    pv_session_unref(i->asked);
    i->asked = NULL;
}

/* A new connection: the session that there is may be in a call that blocks its process. */
static bool instance_ask(void *arg)
{
    struct pv_instance *i = arg;
    struct pv_stream *stream;

    if (!i->met)
        return false;
    pv_instance_stop_asking(i);
    stream = i->channel->error ? NULL : i->channel->ops->connect(i->channel, PV_AGENT_PORT, NULL);
    if (stream) {
        i->asked = pv_session_new(i->loop, stream);
        i->asked->alive = asked_is_alive;
        i->asked->alive_arg = i;
    }
    return true;
}

/* ---- resets ---- */

static void instance_was_reset(const char *panic, void *arg)
{
    struct pv_instance *i = arg;

    if (i->on_reset)
        i->on_reset(panic, i->reset_arg);
}

static void instance_is_frozen(void *arg)
{
    struct pv_instance *i = arg;

    if (i->on_frozen)
        i->on_frozen(i->frozen_arg);
}

void pv_instance_on_frozen(struct pv_instance *i, void (*fn)(void *arg), void *arg)
{
    i->on_frozen = fn;
    i->frozen_arg = arg;
}

void pv_instance_on_reset(struct pv_instance *i, void (*fn)(const char *panic, void *arg), void *arg)
{
    i->on_reset = fn;
    i->reset_arg = arg;
}

void pv_instance_renew_grace(struct pv_instance *i)
{
    i->graced = false;
}

bool pv_instance_bootless(const struct pv_instance *i)
{
    return i->bootless;
}

/* ---- its parts ---- */

void pv_instance_set_machine(struct pv_instance *i, struct pv_machine *m)
{
    pv_machine_free(i->machine);
    i->machine = m;
}

void pv_instance_set_channel(struct pv_instance *i, struct pv_channel *c)
{
    i->channel = c;
}

void pv_instance_set_base(struct pv_instance *i, struct pv_snapshot *s)
{
    i->base = pv_snapshot_ref(s);
}

int pv_instance_make_memory(struct pv_instance *i, const struct pv_machine *m, struct pv_vm_spec *spec,
                            struct pv_err *err)
{
    pv_close(&i->memory_fd);
    i->memory_fd = memfd_create("provium-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (i->memory_fd < 0 || ftruncate(i->memory_fd, (off_t)pv_vm_memory_size(m->memory)) < 0 ||
        fcntl(i->memory_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
        return pv_err_sys(err, errno, "cannot make the memory of %s", spec->name);
    spec->memory.kind = PV_VM_MEMORY_SHARED;
    spec->memory.fd = i->memory_fd;
    return 0;
}

int pv_instance_start(struct pv_instance *i, struct pv_vm_spec *spec, struct pv_conlog *log,
                      struct pv_err *err)
{
    const char *given = spec->qemu;
    cleanup_free char *qemu =
        given ? pv_xstrdup(given) : pv_qemu_find(i->machine ? i->machine->profile->qemu : NULL, err);
    int nics[PV_VM_NICS_MAX];

    if (!qemu)
        return -1;
    spec->qemu = qemu;
    if (!given) /* to ask a program that a test gives would run its script */
        spec->no_sandbox = !pv_qemu_confines(qemu);
    if (i->machine && pv_nic_sockets_open(&i->nics, i->machine, nics, err) < 0) {
        pv_nic_ends_close(nics);
        return -1;
    }
    spec->nic_fds = i->machine ? nics : NULL;
    spec->one_thread = i->machine && pv_emulation_one_thread(i->machine);
    pv_guest_shares_join(&i->shares, i->machine);
    spec->channel.kind = i->channel->kind;
    spec->channel.fd = i->channel->qemu_fd;
    spec->channel.cid = i->channel->cid;
    i->vm = pv_vm_start(i->loop, spec, log, NULL, NULL, err);
    spec->qemu = NULL; /* it ends here */
    spec->nic_fds = NULL;
    if (i->machine)
        pv_nic_ends_close(nics);
    pv_close(&i->channel->qemu_fd);
    if (!i->vm)
        return -1;
    pv_guest_shares_watch(&i->shares, i->vm);
    pv_vm_on_finding(i->vm, instance_on_finding, i);
    pv_vm_on_console(i->vm, instance_on_console, i);
    pv_vm_on_panic_hint(i->vm, instance_ask, i);
    pv_vm_on_reset(i->vm, instance_was_reset, i);
    pv_vm_on_frozen(i->vm, instance_is_frozen, i);
    i->bootless = !spec->kernel;
    if (i->gdb)
        pv_instance_hold_vsock(i);
    if (i->channel->kind == PV_CHANNEL_SERIAL)
        pv_vm_on_port_closed(i->vm, pv_serial_closed, i->channel);
    return 0;
}

void pv_instance_set_lease(struct pv_instance *i, struct pv_vm_lease *l)
{
    pv_vm_lease_release(i->lease);
    i->lease = l;
}

struct pv_vm_lease *pv_instance_take_lease(struct pv_instance *i)
{
    return pv_steal(&i->lease);
}

bool pv_instance_ended(const struct pv_instance *i)
{
    return i->vm && pv_vm_state(i->vm) == PV_VM_ENDED;
}

bool pv_instance_take_grace(struct pv_instance *i)
{
    bool first = !i->graced;

    i->graced = true;
    return first;
}

struct pv_vm *pv_instance_vm(const struct pv_instance *i)
{
    return i->vm;
}

struct pv_guest_shares *pv_instance_shares(struct pv_instance *i)
{
    return &i->shares;
}

struct pv_nic_sockets *pv_instance_nics(struct pv_instance *i)
{
    return &i->nics;
}

struct pv_channel *pv_instance_channel(const struct pv_instance *i)
{
    return i->channel;
}

struct pv_machine *pv_instance_edit_machine(struct pv_instance *i)
{
    return i->machine;
}

const struct pv_machine *pv_instance_machine(const struct pv_instance *i)
{
    return i->machine;
}

const struct pv_snapshot *pv_instance_base(const struct pv_instance *i)
{
    return i->base;
}

int pv_instance_memory_fd(const struct pv_instance *i)
{
    return i->memory_fd;
}

struct pv_session *pv_instance_session(const struct pv_instance *i)
{
    return i->session;
}

void pv_instance_set_session(struct pv_instance *i, struct pv_session *s)
{
    pv_session_close(i->session);
    pv_session_unref(i->session);
    i->session = s;
}

struct pv_aux *pv_instance_aux(const struct pv_instance *i)
{
    return i->aux;
}

struct pv_aux *pv_instance_add_aux(struct pv_instance *i)
{
    struct pv_aux **at = &i->aux;

    while (*at)
        at = &(*at)->next;
    return *at = pv_xcalloc(1, sizeof(**at));
}

void pv_instance_drop_aux(struct pv_instance *i, struct pv_aux *aux)
{
    struct pv_aux **at = &i->aux;

    while (*at != aux)
        at = &(*at)->next;
    *at = aux->next;
    pv_session_close(aux->session);
    pv_session_unref(aux->session);
    free(aux);
}

void pv_instance_close_sessions(struct pv_instance *i)
{
    while (i->aux)
        pv_instance_drop_aux(i, i->aux);
    pv_instance_set_session(i, NULL);
}

struct pv_vsock_device *pv_instance_vsock(const struct pv_instance *i)
{
    return i->vsock;
}

void pv_instance_set_vsock(struct pv_instance *i, struct pv_vsock_device *d)
{
    if (i->vsock)
        pv_vsock_device_free(i->vsock);
    i->vsock = d;
}

unsigned pv_instance_vsock_cid(const struct pv_instance *i)
{
    return i->vsock_cid;
}

const char *pv_instance_panic_hint(const struct pv_instance *i)
{
    return i->vm ? pv_console_panic(pv_vm_console(i->vm)) : NULL;
}

bool pv_instance_panicked(const struct pv_instance *i)
{
    return i->vm && pv_vm_panicked(i->vm);
}

void pv_instance_console_tail(const struct pv_instance *i, unsigned lines, struct pv_buf *out)
{
    if (i->vm)
        pv_console_tail(pv_vm_console(i->vm), lines, out);
}

/* ---- its end ---- */

static enum pv_err_died instance_died(const struct pv_instance *i)
{
    if (!i->vm || pv_console_fatal(pv_vm_console(i->vm)))
        return PV_DIED_AGENT;
    if (pv_vm_stuck(i->vm))
        return PV_DIED_STUCK;
    return pv_vm_panicked(i->vm) ? PV_DIED_PANIC : PV_DIED_QEMU;
}

void pv_instance_end(struct pv_instance *i, struct pv_guest_end *e)
{
    cleanup_buf struct pv_buf tail = {0};
    const char *panic;

    pv_instance_close_sessions(i);
    pv_instance_stop_asking(i);
    if (i->vm)
        pv_vm_kill(i->vm);
    pv_guest_shares_end(&i->shares);
    pv_nic_sockets_close(&i->nics);
    pv_instance_console_tail(i, PV_CONSOLE_TAIL_LINES, &tail);
    panic = pv_instance_panic_hint(i);
    e->tail = tail.len ? pv_xstrdup(tail.data) : NULL;
    e->died = instance_died(i);
    e->panicked = pv_instance_panicked(i);
    e->failed = i->vm && pv_vm_failed(i->vm);
    e->sigkilled = i->vm && pv_vm_was_sigkilled(i->vm);
    e->panic = panic ? pv_xstrdup(panic) : NULL;
}

void pv_instance_hold_vsock(struct pv_instance *i)
{
    if (i->channel->ops->hold)
        i->channel->ops->hold(i->channel);
    if (i->vsock)
        pv_vsock_device_hold(i->vsock);
}

void pv_instance_release_vsock(struct pv_instance *i, bool was_reset)
{
    if (i->channel->ops->release)
        i->channel->ops->release(i->channel, was_reset);
    if (i->vsock)
        pv_vsock_device_release(i->vsock, was_reset);
    if (i->gdb)
        pv_instance_hold_vsock(i);
}

void pv_instance_set_gdb(struct pv_instance *i, char *path)
{
    if (i->gdb) {
        cleanup_free char *vmlinux = pv_xasprintf("%s" PV_GDB_VMLINUX, i->gdb);

        unlink(vmlinux);
        unlink(i->gdb);
    }
    free(i->gdb);
    i->gdb = path;
}

void pv_instance_free(struct pv_instance *i)
{
    if (!i)
        return;
    pv_instance_close_sessions(i);
    pv_instance_stop_asking(i);
    pv_vm_free(i->vm);
    pv_guest_shares_fini(&i->shares);
    pv_nic_sockets_close(&i->nics);
    pv_instance_set_gdb(i, NULL);
    pv_machine_free(i->machine);
    pv_snapshot_unref(i->base);
    pv_close(&i->memory_fd);
    if (i->channel)
        i->channel->ops->free(i->channel);
    pv_instance_set_vsock(i, NULL);
    pv_vm_lease_release(i->lease);
    while (i->kept.first)
        kept_finding_drop(i);
    pv_recording_free(i->own_console);
    free(i);
}
