/* SPDX-License-Identifier: MIT */
/*
 * One QEMU process and its four descriptors: pidfd, console, stderr, monitor.  The pidfd tells of the exit;
 * then the rest of the other three is read, so that the end reason is complete, and on_end is called.
 */
#include "vm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/sock.h"
#include "vm/conlog.h"
#include "vm/console.h"
#include "vm/findings.h"
#include "vm/internal.h"
#include "vm/overlay.h"
#include "vm/qmp.h"

/* How long a kernel that has printed its whole panic report may stay silent before it is declared dead. */
#define PANIC_GRACE_NS (500 * PV_NSEC_PER_MSEC)
/* The same for one that has printed a panic's first line, while its agent is asked for a sign of life. */
#define PANIC_LIMIT_NS (5 * PV_NSEC_PER_SEC)
/*
 * Bytes that the agent sent before the panic, or before the guest init gave up (and reboots), may arrive for
 * so long after the console line: they are no sign of life.
 */
#define PANIC_ECHO_NS (100 * PV_NSEC_PER_MSEC)
#define FATAL_ECHO_NS (2 * PV_NSEC_PER_SEC)

static void hint_timers_cancel(struct pv_vm *vm)
{
    pv_timer_cancel(vm->loop, &vm->hints.ask_timer);
    pv_timer_cancel(vm->loop, &vm->hints.dead_timer);
}

/* The only setter of PV_VM_ENDED.  notify: on_end is called; false when the owner ended the VM. */
static void vm_set_ended(struct pv_vm *vm, bool notify)
{
    if (vm->state == PV_VM_ENDED)
        return;
    vm->state = PV_VM_ENDED;
    hint_timers_cancel(vm);
    pv_vm_stuck_end(vm);
    pv_vm_core_end(vm);
    pv_vm_explain_end(vm);
    pv_debug("vm", "pid %d ended: %s", (int)vm->process.pid, vm->end.reason);
    if (notify && vm->on_end)
        vm->on_end(vm, vm->arg);
}

/* ---- what the console says of the guest ---- */

/* The earliest time of all calls counts. */
static void dead_timer_arm(struct pv_vm *vm, int64_t due)
{
    struct pv_timer *t = &vm->hints.dead_timer;

    if (!t->due || due < t->due)
        pv_timer_arm(vm->loop, t, due);
}

static void on_ask_timer(struct pv_timer *t)
{
    struct pv_vm *vm = PV_CONTAINER_OF(t, struct pv_vm, hints.ask_timer);
    struct pv_vm_panic_hints *h = &vm->hints;

    if (!h->paused && h->ask && h->ask(h->ask_arg))
        dead_timer_arm(vm, pv_deadline(PANIC_LIMIT_NS));
}

/* Called after each piece of the console. */
static void update_panic_hints(struct pv_vm *vm)
{
    if (vm->state == PV_VM_ENDED)
        return;
    if (pv_console_fatal(vm->console.text) && !vm->hints.fatal_seen)
        vm->hints.fatal_seen = pv_now();
    if (pv_console_panic(vm->console.text) && !vm->hints.panic_seen) {
        vm->hints.panic_seen = pv_now();
        pv_timer_arm(vm->loop, &vm->hints.ask_timer, pv_deadline(PANIC_ECHO_NS));
    }
    if (pv_console_panic_over(vm->console.text))
        dead_timer_arm(vm, pv_deadline(PANIC_GRACE_NS));
}

static void on_console(struct pv_vm *vm)
{
    pv_vm_stuck_alive(vm);
    update_panic_hints(vm);
}

void pv_vm_alive_hint(struct pv_vm *vm)
{
    struct pv_vm_panic_hints *h = &vm->hints;
    int64_t now;

    pv_vm_stuck_alive(vm);
    if (vm->state == PV_VM_ENDED || vm->end.stopped[0] || vm->end.lost || (!h->panic_seen && !h->fatal_seen))
        return;
    now = pv_now();
    if ((h->panic_seen && now - h->panic_seen < PANIC_ECHO_NS) ||
        (h->fatal_seen && now - h->fatal_seen < FATAL_ECHO_NS))
        return;
    pv_debug("vm", "pid %d: the agent speaks after a panic hint: a false alarm", (int)vm->process.pid);
    hint_timers_cancel(vm);
    h->panic_seen = h->fatal_seen = 0;
    pv_console_forget(vm->console.text);
}

static void on_dead_timer(struct pv_timer *t)
{
    struct pv_vm *vm = PV_CONTAINER_OF(t, struct pv_vm, hints.dead_timer);

    if (vm->hints.paused && !vm->end.stopped[0] && !vm->end.lost && !vm->core.end)
        return;
    pv_vm_output_read(&vm->errors);
    pv_vm_output_read(&vm->console);
    if (vm->core.ops.open) /* it may ask what the kernel has reported */
        pv_vm_settle_findings(vm);
    if (!pv_vm_core_before_end(vm))
        vm_set_ended(vm, true);
}

/* ---- the monitor ---- */

/* The reply to the query-status that follows a STOP event. */
static void on_status(void *arg, const json_t *value)
{
    static const char *const final[] = {"internal-error", "io-error", "shutdown", "guest-panicked",
                                        "watchdog"};
    const char *status = json_string_value(json_object_get(value, "status"));
    struct pv_vm *vm = arg;

    for (size_t i = 0; status && i < PV_ARRAY_LEN(final); i++)
        if (!strcmp(status, final[i])) {
            snprintf(vm->end.stopped, sizeof(vm->end.stopped), "%s", final[i]);
            /* Deferred: on_end may call pv_vm_kill, which reads the monitor. */
            pv_timer_arm(vm->loop, &vm->hints.dead_timer, pv_now());
            return;
        }
}

static void on_guest_panicked(struct pv_vm *vm, const json_t *data)
{
    (void)data;
    vm->end.panic_event = true;
}

static void on_shutdown(struct pv_vm *vm, const json_t *data)
{
    const char *reason = json_string_value(json_object_get(data, "reason"));

    if (reason && !vm->end.shutdown[0])
        snprintf(vm->end.shutdown, sizeof(vm->end.shutdown), "%.31s", reason);
}

static void on_port_decided(void *arg, const json_t *value)
{
    struct pv_vm *vm = arg;

    (void)value;
    if (vm->port_closes && vm->on_port_closed)
        vm->on_port_closed(vm->port_arg);
    vm->port_closes = false;
}

/*
 * A reset of the machine closes the port, too, and RESET comes behind it.  QEMU replies to no command within a reset:
 * once it has, the two are told apart.
 */
static void on_vserport_change(struct pv_vm *vm, const json_t *data)
{
    const char *id = json_string_value(json_object_get(data, "id"));

    /* Not of ports that qemu_args added, nor an opening: behind a close it is another agent's. */
    if (!id || strcmp(id, PV_VM_AGENT_PORT) != 0 || !json_is_false(json_object_get(data, "open")))
        return;
    vm->port_closes = true;
    if (!pv_qmp_post(vm->qmp, "query-status", NULL, on_port_decided))
        on_port_decided(vm, NULL);
}

static void on_migration(struct pv_vm *vm, const json_t *data)
{
    const char *status = json_string_value(json_object_get(data, "status"));

    snprintf(vm->migration.status, sizeof(vm->migration.status), "%.15s", status ? status : "");
}

static void on_device_deleted(struct pv_vm *vm, const json_t *data)
{
    const char *id = json_string_value(json_object_get(data, "device"));

    pv_vm_hotplug_deleted(vm, id);
    pv_vm_nic_deleted(vm, id);
    pv_vm_plug_deleted(vm, id);
}

/*
 * QEMU has stopped the vCPUs: by our own `stop`, or because the guest cannot go on (KVM's internal errors) or
 * must not (-no-shutdown or -action in qemu_args).  In the latter cases QEMU stays and the guest is dead.
 */
static void on_stop(struct pv_vm *vm, const json_t *data)
{
    (void)data;
    vm->hints.paused = true;
    pv_vm_stuck_pause(vm, true);
    pv_qmp_post(vm->qmp, "query-status", NULL, on_status);
}

static void on_resume(struct pv_vm *vm, const json_t *data)
{
    (void)data;
    vm->hints.paused = false;
    if (vm->hints.panic_seen && vm->state == PV_VM_RUNNING)
        pv_timer_arm(vm->loop, &vm->hints.ask_timer, pv_deadline(PANIC_ECHO_NS));
    pv_vm_stuck_pause(vm, false);
}

/* The guest sleeps (ACPI S3) until WAKEUP. */
static void on_suspend(struct pv_vm *vm, const json_t *data)
{
    (void)data;
    vm->hints.paused = true;
    pv_vm_stuck_pause(vm, true);
}

static void on_reset(struct pv_vm *vm, const json_t *data)
{
    (void)data;
    pv_vm_was_reset(vm);
}

static const struct {
    const char *event;
    void (*fn)(struct pv_vm *vm, const json_t *data);
} qmp_events[] = {
    {"GUEST_PANICKED", on_guest_panicked},
    {"SHUTDOWN", on_shutdown},
    {"VSERPORT_CHANGE", on_vserport_change},
    {"MIGRATION", on_migration},
    {"DEVICE_DELETED", on_device_deleted},
    {"DUMP_COMPLETED", pv_vm_core_completed},
    {"STOP", on_stop},
    {"RESUME", on_resume},
    {"SUSPEND", on_suspend},
    {"WAKEUP", on_resume},
    {"RESET", on_reset},
};

static void on_qmp_event(void *arg, const char *event, const json_t *data)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(qmp_events); i++)
        if (!strcmp(event, qmp_events[i].event))
            qmp_events[i].fn(arg, data);
}

int pv_vm_qmp(struct pv_vm *vm, const char *command, const char *arguments, char **reply, int64_t deadline,
              struct pv_err *err)
{
    if (vm->state == PV_VM_ENDED)
        return pv_err_set(err, PV_E_GUEST_DIED, "QMP command '%s': the VM has ended: %s", command,
                          vm->end.reason);
    return pv_qmp_call(vm->qmp, command, arguments, reply, deadline, err);
}

int pv_vm_stop(struct pv_vm *vm, int64_t deadline, struct pv_err *err)
{
    return pv_vm_qmp(vm, "stop", NULL, NULL, deadline, err);
}

int pv_vm_cont(struct pv_vm *vm, int64_t deadline, struct pv_err *err)
{
    return pv_vm_qmp(vm, "cont", NULL, NULL, deadline, err);
}

/* ---- the end of the process ---- */

/* Bounded by what pipes and sockets hold, because QEMU has exited. */
static void outputs_read_rest(struct pv_vm *vm)
{
    if (vm->qmp)
        pv_qmp_drain(vm->qmp);
    pv_vm_output_read_rest(&vm->errors);
    pv_vm_output_read_rest(&vm->console);
    pv_vm_output_close(&vm->errors);
    pv_vm_output_close(&vm->console);
    pv_console_finish(vm->errors.text);
    pv_console_finish(vm->console.text);
}

/* Reaps QEMU; waits for its exit if `wait`.  False when it still runs. */
static bool process_reap(struct pv_vm *vm, bool wait)
{
    struct pv_vm_process *p = &vm->process;
    pid_t r;

    if (p->reaped)
        return true;
    do
        r = waitpid(p->pid, &p->status, wait ? 0 : WNOHANG);
    while (r < 0 && errno == EINTR);
    if (r == 0)
        return false;
    p->reaped = true;
    pv_loop_del(vm->loop, &p->watch);
    pv_close(&p->pidfd);
    outputs_read_rest(vm);
    return true;
}

static void on_exit_watch(struct pv_watch *w, uint32_t events)
{
    struct pv_vm *vm = PV_CONTAINER_OF(w, struct pv_vm, process.watch);

    (void)events;
    if (process_reap(vm, false))
        vm_set_ended(vm, true);
}

/* Frees the disk space and memory that only a running VM uses. */
static void vm_release_files(struct pv_vm *vm)
{
    for (size_t i = 0; i < PV_VM_DISKS_MAX; i++)
        pv_close(&vm->overlays[i]);
    pv_close(&vm->migration.save_fd);
    pv_close(&vm->migration.load_fd);
    pv_buf_free(&vm->migration.head);
}

void pv_vm_kill(struct pv_vm *vm)
{
    /* A QEMU that has died by itself is no VM that was killed. */
    if (vm->process.pid > 0 && !process_reap(vm, false)) {
        vm->process.killed = true;
        kill(vm->process.pid, SIGKILL); /* not reaped, so the number is not reused */
        process_reap(vm, true);
    }
    vm_set_ended(vm, false);
    vm_release_files(vm);
}

/* ---- start ---- */

/* A socketpair or pipe: our end and QEMU's. */
struct ends {
    int ours, theirs;
};

static void ends_close(struct ends *e)
{
    pv_close(&e->ours);
    pv_close(&e->theirs);
}
#define cleanup_ends __attribute__((cleanup(ends_close)))

static int ends_open_socket(struct ends *e, struct pv_err *err)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return pv_err_sys(err, errno, "cannot make a socket pair for QEMU");
    *e = (struct ends){fds[0], fds[1]};
    return 0;
}

static int ends_open_pipe(struct ends *e, struct pv_err *err)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return pv_err_sys(err, errno, "cannot make a pipe for QEMU");
    *e = (struct ends){fds[0], fds[1]};
    return 0;
}

static int vm_start_qemu(struct pv_vm *vm, const struct pv_vm_spec *spec, struct pv_conlog *log,
                         struct pv_err *err)
{
    cleanup_ends struct ends qmp = {-1, -1}, console = {-1, -1}, input = {-1, -1}, errors = {-1, -1};

    vm->errors.text = pv_console_new(NULL, NULL);
    vm->console.text = pv_console_new(log, spec->fatal_mark);
    if (pv_conlog_begin(log, err) < 0)
        return -1;
    if (ends_open_socket(&qmp, err) < 0 || ends_open_socket(&input, err) < 0 ||
        ends_open_pipe(&console, err) < 0 || ends_open_pipe(&errors, err) < 0)
        return -1;
    if (pv_vm_spawn(vm, spec, &(struct pv_vm_ends){errors.theirs, qmp.theirs, console.theirs, input.theirs},
                    err) < 0)
        return -1;
    vm->console.input.fd = pv_steal_fd(&input.ours);
    vm->console.came = on_console;
    if (pv_loop_add(vm->loop, &vm->process.watch, vm->process.pidfd, EPOLLIN, err) < 0 ||
        pv_vm_output_open(&vm->console, &console.ours, err) < 0 ||
        pv_vm_output_open(&vm->errors, &errors.ours, err) < 0)
        return -1;
    vm->qmp = pv_qmp_take_fd(vm->loop, pv_steal_fd(&qmp.ours), on_qmp_event, vm, err);
    if (!vm->qmp)
        return -1;
    pv_vm_stuck_begin(vm, spec->state.incoming);
    return 0;
}

struct pv_vm *pv_vm_start(struct pv_loop *loop, const struct pv_vm_spec *spec, struct pv_conlog *log,
                          void (*on_end)(struct pv_vm *vm, void *arg), void *arg, struct pv_err *err)
{
    struct pv_vm *vm = pv_xcalloc(1, sizeof(*vm));

    vm->loop = loop;
    vm->process = (struct pv_vm_process){.pid = -1, .pidfd = -1, .watch = {.fd = -1, .fn = on_exit_watch}};
    vm->console = vm->errors = (struct pv_vm_output){
        .vm = vm, .fd = -1, .watch = {.fd = -1}, .input = {.fd = -1, .watch = {.fd = -1}}};
    vm->hints.ask_timer.fn = on_ask_timer;
    vm->hints.dead_timer.fn = on_dead_timer;
    vm->migration = (struct pv_vm_migration){.save_fd = -1, .load_fd = -1};
    vm->core = (struct pv_vm_core){.pipe = -1, .fd = -1, .watch = {.fd = -1}};
    for (size_t i = 0; i < PV_VM_DISKS_MAX; i++)
        vm->overlays[i] = -1;
    vm->on_end = on_end;
    vm->arg = arg;
    if (vm_start_qemu(vm, spec, log, err) < 0) {
        if (vm->process.pid <= 0)
            pv_conlog_discard(log);
        pv_vm_free(vm);
        return NULL;
    }
    return vm;
}

void pv_vm_free(struct pv_vm *vm)
{
    if (!vm)
        return;
    vm->on_end = NULL;
    if (vm->process.pid > 0)
        pv_vm_kill(vm);
    hint_timers_cancel(vm);
    pv_vm_stuck_end(vm);
    pv_vm_core_end(vm);
    free(vm->stuck.reason), free(vm->end.lost);
    pv_vm_output_close(&vm->console);
    pv_vm_output_close(&vm->errors);
    pv_qmp_free(vm->qmp);
    pv_console_free(vm->console.text);
    pv_console_free(vm->errors.text);
    vm_release_files(vm);
    free(vm);
}

/* ---- accessors ---- */

enum pv_vm_state pv_vm_state(const struct pv_vm *vm)
{
    return vm->state;
}

int pv_vm_pidfd(const struct pv_vm *vm)
{
    return vm->process.pidfd;
}

pid_t pv_vm_pid(const struct pv_vm *vm)
{
    return vm->process.pid;
}

void pv_vm_on_port_closed(struct pv_vm *vm, void (*fn)(void *arg), void *arg)
{
    vm->on_port_closed = fn;
    vm->port_arg = arg;
}

int pv_vm_overlay(const struct pv_vm *vm, size_t i)
{
    return i < PV_VM_DISKS_MAX ? vm->overlays[i] : -1;
}

void pv_vm_on_panic_hint(struct pv_vm *vm, bool (*ask)(void *arg), void *arg)
{
    vm->hints.ask = ask;
    vm->hints.ask_arg = arg;
}

void pv_vm_on_finding(struct pv_vm *vm, void (*fn)(const struct pv_finding *finding, void *arg), void *arg)
{
    pv_console_read_findings(vm->console.text, fn ? pv_findings_new(fn, arg) : NULL);
}

void pv_vm_on_console(struct pv_vm *vm, void (*fn)(const void *data, size_t n, void *arg), void *arg)
{
    vm->console.on_bytes = fn;
    vm->console.arg = arg;
}

void pv_vm_console_write(struct pv_vm *vm, const void *data, size_t n)
{
    pv_vm_output_send(&vm->console, data, n);
}

size_t pv_vm_console_unsent(const struct pv_vm *vm)
{
    return vm->console.unsent.len;
}

void pv_vm_console_drop_unsent(struct pv_vm *vm)
{
    vm->console.unsent.len = 0;
    pv_vm_output_send(&vm->console, "", 0);
}

void pv_vm_settle_findings(struct pv_vm *vm)
{
    pv_vm_output_read_rest(&vm->console);
    update_panic_hints(vm);
    pv_console_settle_findings(vm->console.text);
}

const struct pv_console *pv_vm_console(const struct pv_vm *vm)
{
    return vm->console.text;
}

void pv_vm_move_log(struct pv_vm *vm, struct pv_conlog *log)
{
    pv_console_move_log(vm->console.text, log);
}
