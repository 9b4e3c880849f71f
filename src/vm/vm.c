/* SPDX-License-Identifier: MIT */
/*
 * One QEMU process and the four descriptors that tell of it: pidfd (its end), console, stderr, monitor.  Its
 * end is known by the pidfd; then what the others still hold is read, so that the reason is as good as it
 * gets, and on_end is called.
 */
#include "vm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/spawn.h"
#include "vm/console.h"
#include "vm/findings.h"
#include "vm/qmp.h"
#include "vm/internal.h"

enum { READ_SIZE = 65536, READS_AT_ONCE = 4, READS_OF_REST = 1024, REASON_MAX = 2048, STDERR_LINES = 12 };

/* How long a kernel that has ended its panic report may stay silent before it is declared dead. */
#define PANIC_GRACE_NS (500 * PV_NSEC_PER_MSEC)
/*
 * What the agent sent before the panic, or before the wrapper gave up (which then reboots), may still be on
 * its way to us for so long: no sign of life.
 */
#define PANIC_ECHO_NS (100 * PV_NSEC_PER_MSEC)
#define FATAL_ECHO_NS (2 * PV_NSEC_PER_SEC)

struct source {
    struct pv_watch watch;
    int fd;
    struct pv_console *to;
    struct pv_vm *vm;
};

struct pv_vm {
    struct pv_loop *loop;
    enum pv_vm_state state;
    pid_t pid;
    int pidfd;
    bool reaped, killed; /* killed: by pv_vm_kill */
    int status;          /* wait status, once reaped */
    struct pv_watch exit_watch;
    struct source console, errors;
    struct pv_console *console_text, *errors_text;
    struct pv_qmp *qmp;
    struct pv_timer dead_timer;     /* QEMU lives, the guest does not: declares the end */
    int64_t panic_seen, fatal_seen; /* when the text was first seen, 0: not */
    char shutdown[32];              /* reason of QEMU's SHUTDOWN event */
    char stopped[32];               /* run state in which QEMU holds the guest for good, "": it does not */
    bool panic_event;
    char reason[REASON_MAX];
    struct pv_saving saving;
    void (*on_end)(struct pv_vm *vm, void *arg);
    void *arg;
    void (*on_port)(void *arg);
    void *port_arg;
};

/* ---- the reason ---- */

/* QEMU's own words, ": " in front, or nothing. */
static void add_stderr(const struct pv_vm *vm, struct pv_buf *out)
{
    cleanup_buf struct pv_buf text = {0};

    pv_console_tail(vm->errors_text, STDERR_LINES, &text);
    while (text.len && text.data[text.len - 1] == '\n')
        text.data[--text.len] = '\0';
    if (text.len)
        pv_buf_addf(out, ": %s", text.data);
}

/* True if QEMU ended, or holds the guest, as the guest asked for. */
static bool guests_wish(const struct pv_vm *vm)
{
    return vm->reaped ? WIFEXITED(vm->status) && WEXITSTATUS(vm->status) == 0
                      : !strcmp(vm->stopped, "shutdown");
}

static void qemu_end_reason(const struct pv_vm *vm, struct pv_buf *out)
{
    static const struct {
        const char *shutdown, *text;
    } known[] = {
        {"guest-shutdown", "the guest powered off"},
        {"guest-reset", "the guest rebooted"},
        {"guest-panic", "the guest's kernel panicked"},
    };
    char text[64];

    for (size_t i = 0; guests_wish(vm) && i < PV_ARRAY_LEN(known); i++)
        if (!strcmp(vm->shutdown, known[i].shutdown)) {
            pv_buf_adds(out, known[i].text);
            return;
        }
    pv_wait_status_text(vm->status, text);
    if (vm->panic_event)
        pv_buf_adds(out, "the guest's kernel panicked");
    else if (!vm->reaped)
        pv_buf_addf(out, "QEMU has stopped the guest (%s)", vm->stopped);
    else if (WIFSIGNALED(vm->status))
        pv_buf_addf(out, "QEMU was %s", text);
    else if (guests_wish(vm) && vm->shutdown[0])
        pv_buf_addf(out, "QEMU was told to end (%s)", vm->shutdown);
    else if (!(vm->qmp && pv_qmp_was_ready(vm->qmp)) && WEXITSTATUS(vm->status) != 0)
        pv_buf_addf(out, "QEMU refused to start (%s)", text);
    else
        pv_buf_addf(out, "QEMU ended unexpectedly (%s)", text);
    add_stderr(vm, out);
}

/* The most telling first; see vm.h. */
static void set_reason(struct pv_vm *vm)
{
    const char *fatal = pv_console_fatal(vm->console_text), *panic = pv_console_panic(vm->console_text);
    cleanup_buf struct pv_buf b = {0};

    if (fatal)
        pv_buf_adds(&b, fatal);
    else if (panic)
        pv_buf_addf(&b, "the guest's kernel panicked: %s", panic);
    else if (vm->killed && (!vm->reaped || (WIFSIGNALED(vm->status) && WTERMSIG(vm->status) == SIGKILL)))
        pv_buf_adds(&b, "it was killed");
    else
        qemu_end_reason(vm, &b);
    snprintf(vm->reason, sizeof(vm->reason), "%s", b.data);
}

/* The only place where the state changes. `tell` is false when the owner ended it. */
static void end(struct pv_vm *vm, bool tell)
{
    if (vm->state == PV_VM_ENDED)
        return;
    vm->state = PV_VM_ENDED;
    pv_timer_cancel(vm->loop, &vm->dead_timer);
    set_reason(vm);
    pv_debug("vm", "pid %d ended: %s", (int)vm->pid, vm->reason);
    if (tell && vm->on_end)
        vm->on_end(vm, vm->arg);
}

/* ---- console and stderr ---- */

/* After each piece of the console: is there something that tells of an end? */
static void read_omens(struct pv_vm *vm)
{
    if (vm->state == PV_VM_ENDED)
        return;
    if (pv_console_fatal(vm->console_text) && !vm->fatal_seen)
        vm->fatal_seen = pv_now();
    if (pv_console_panic(vm->console_text) && !vm->panic_seen)
        vm->panic_seen = pv_now();
    if (pv_console_panic_over(vm->console_text) && !vm->dead_timer.due)
        pv_timer_arm(vm->loop, &vm->dead_timer, pv_deadline(PANIC_GRACE_NS));
}

void pv_vm_alive_hint(struct pv_vm *vm)
{
    int64_t now;

    if (vm->state == PV_VM_ENDED || vm->stopped[0] || (!vm->panic_seen && !vm->fatal_seen))
        return;
    now = pv_now();
    if ((vm->panic_seen && now - vm->panic_seen < PANIC_ECHO_NS) ||
        (vm->fatal_seen && now - vm->fatal_seen < FATAL_ECHO_NS))
        return;
    pv_debug("vm", "pid %d: the agent speaks after an alarming console line: a false alarm", (int)vm->pid);
    pv_timer_cancel(vm->loop, &vm->dead_timer);
    vm->panic_seen = vm->fatal_seen = 0;
    pv_console_forget(vm->console_text);
}

static void source_close(struct source *s)
{
    pv_loop_del(s->vm->loop, &s->watch);
    pv_close(&s->fd);
}

/* Reads at most `reads` times; false when there is nothing more for now (or for good). */
static bool source_read(struct source *s, unsigned reads)
{
    char buf[READ_SIZE];

    while (s->fd >= 0 && reads--) {
        ssize_t n = read(s->fd, buf, sizeof(buf));

        if (n > 0) {
            pv_console_feed(s->to, buf, (size_t)n);
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else {
            if (n == 0 || errno != EAGAIN)
                source_close(s);
            return false;
        }
    }
    return s->fd >= 0;
}

static void on_dead_timer(struct pv_timer *t)
{
    struct pv_vm *vm = PV_CONTAINER_OF(t, struct pv_vm, dead_timer);

    source_read(&vm->errors, READS_AT_ONCE);
    source_read(&vm->console, READS_AT_ONCE);
    end(vm, true);
}

static void on_source(struct pv_watch *w, uint32_t events)
{
    struct source *s = PV_CONTAINER_OF(w, struct source, watch);

    (void)events;
    source_read(s, READS_AT_ONCE);
    if (s == &s->vm->console)
        read_omens(s->vm);
}

static int source_open(struct source *s, struct pv_vm *vm, int *fd, struct pv_console *to, struct pv_err *err)
{
    s->fd = pv_steal_fd(fd);
    s->to = to;
    s->watch.fn = on_source;
    fcntl(s->fd, F_SETFL, fcntl(s->fd, F_GETFL) | O_NONBLOCK);
    return pv_loop_add(vm->loop, &s->watch, s->fd, EPOLLIN, err);
}

/* ---- the monitor ---- */

/*
 * QEMU has stopped the guest: by our own `stop`, or because it cannot go on (KVM's internal errors) or must
 * not
 * (-no-shutdown or -action in qemu_args).  In the latter cases QEMU lives on and the guest never does.
 */
static void on_status(void *arg, const json_t *value)
{
    static const char *const final[] = {"internal-error", "io-error", "shutdown", "guest-panicked",
                                        "watchdog"};
    const char *status = json_string_value(json_object_get(value, "status"));
    struct pv_vm *vm = arg;

    for (size_t i = 0; status && i < PV_ARRAY_LEN(final); i++)
        if (!strcmp(status, final[i])) {
            snprintf(vm->stopped, sizeof(vm->stopped), "%s", final[i]);
            /* not from in here: on_end may call pv_vm_kill, which reads the monitor */
            pv_timer_arm(vm->loop, &vm->dead_timer, pv_now());
            return;
        }
}

static void on_event(void *arg, const char *event, const json_t *data)
{
    struct pv_vm *vm = arg;
    const char *reason = json_string_value(json_object_get(data, "reason"));

    if (!strcmp(event, "GUEST_PANICKED"))
        vm->panic_event = true;
    else if (!strcmp(event, "SHUTDOWN") && reason && !vm->shutdown[0])
        snprintf(vm->shutdown, sizeof(vm->shutdown), "%.31s", reason);
    else if (!strcmp(event, "VSERPORT_CHANGE") && json_is_false(json_object_get(data, "open")) && vm->on_port)
        vm->on_port(vm->port_arg);
    else if (!strcmp(event, "MIGRATION"))
        snprintf(vm->saving.migration, sizeof(vm->saving.migration), "%.15s",
                 json_string_value(json_object_get(data, "status"))
                     ? json_string_value(json_object_get(data, "status"))
                     : "");
    else if (!strcmp(event, "DEVICE_DELETED"))
        pv_vm_device_gone(&vm->saving, json_string_value(json_object_get(data, "device")));
    else if (!strcmp(event, "STOP"))
        pv_qmp_post(vm->qmp, "query-status", on_status);
}

int pv_vm_qmp(struct pv_vm *vm, const char *command, const char *arguments, char **reply, int64_t deadline,
              struct pv_err *err)
{
    if (vm->state == PV_VM_ENDED)
        return pv_err_set(err, PV_E_GUEST_DIED, "QMP command '%s': the VM has ended: %s", command,
                          vm->reason);
    return pv_qmp_call(vm->qmp, command, arguments, reply, deadline, err);
}

/* ---- the end of the process ---- */

/* Everything that QEMU left behind: at most what the sockets hold, as nobody writes any more. */
static void read_rest(struct pv_vm *vm)
{
    if (vm->qmp)
        pv_qmp_drain(vm->qmp);
    source_read(&vm->errors, READS_OF_REST);
    source_read(&vm->console, READS_OF_REST);
    source_close(&vm->errors);
    source_close(&vm->console);
    pv_console_finish(vm->errors_text);
    pv_console_finish(vm->console_text);
}

/* Reaps; waits for it if `wait`. False when it still runs. */
static bool reap(struct pv_vm *vm, bool wait)
{
    pid_t r;

    if (vm->reaped)
        return true;
    do
        r = waitpid(vm->pid, &vm->status, wait ? 0 : WNOHANG);
    while (r < 0 && errno == EINTR);
    if (r == 0)
        return false;
    vm->reaped = true;
    pv_loop_del(vm->loop, &vm->exit_watch);
    pv_close(&vm->pidfd);
    read_rest(vm);
    return true;
}

static void on_exit_watch(struct pv_watch *w, uint32_t events)
{
    struct pv_vm *vm = PV_CONTAINER_OF(w, struct pv_vm, exit_watch);

    (void)events;
    if (reap(vm, false))
        end(vm, true);
}

/* What only a VM that runs has a use for: space on disk and descriptors. */
static void release(struct pv_vm *vm)
{
    for (size_t i = 0; i < PV_VM_DISKS_MAX; i++)
        pv_close(&vm->saving.overlays[i]);
    pv_close(&vm->saving.fd);
    pv_close(&vm->saving.load_fd);
    pv_buf_free(&vm->saving.head);
}

void pv_vm_kill(struct pv_vm *vm)
{
    if (vm->reaped) {
        release(vm);
        return;
    }
    if (vm->pid > 0) {
        vm->killed = true;
        kill(vm->pid, SIGKILL); /* ours and not reaped: the number is still its own */
        reap(vm, true);
    }
    end(vm, false);
    release(vm);
}

/* ---- start ---- */

/* A socketpair or pipe: ours and QEMU's end. */
struct ends {
    int ours, theirs;
};

static void close_ends(struct ends *e)
{
    pv_close(&e->ours);
    pv_close(&e->theirs);
}
#define cleanup_ends __attribute__((cleanup(close_ends)))

static int socket_ends(struct ends *e, struct pv_err *err)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return pv_err_sys(err, errno, "cannot make a socket pair for QEMU");
    *e = (struct ends){fds[0], fds[1]};
    return 0;
}

static int pipe_ends(struct ends *e, struct pv_err *err)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return pv_err_sys(err, errno, "cannot make a pipe for QEMU");
    *e = (struct ends){fds[0], fds[1]};
    return 0;
}

static int start(struct pv_vm *vm, const struct pv_vm_spec *spec, const char *log_path, struct pv_err *err)
{
    cleanup_ends struct ends qmp = {-1, -1}, console = {-1, -1}, errors = {-1, -1};

    vm->errors_text = pv_console_new(NULL, NULL, err);
    vm->console_text = pv_console_new(log_path, spec->fatal_mark, err);
    if (!vm->errors_text || !vm->console_text)
        return -1;
    if (socket_ends(&qmp, err) < 0 || socket_ends(&console, err) < 0 || pipe_ends(&errors, err) < 0)
        return -1;
    vm->pid = pv_vm_spawn(spec, &vm->saving, &(struct pv_vm_ends){errors.theirs, qmp.theirs, console.theirs},
                          &vm->pidfd, err);
    if (vm->pid < 0)
        return -1;
    if (pv_loop_add(vm->loop, &vm->exit_watch, vm->pidfd, EPOLLIN, err) < 0 ||
        source_open(&vm->console, vm, &console.ours, vm->console_text, err) < 0 ||
        source_open(&vm->errors, vm, &errors.ours, vm->errors_text, err) < 0)
        return -1;
    vm->qmp = pv_qmp_take_fd(vm->loop, pv_steal_fd(&qmp.ours), on_event, vm, err);
    return vm->qmp ? 0 : -1;
}

struct pv_vm *pv_vm_start(struct pv_loop *loop, const struct pv_vm_spec *spec, const char *log_path,
                          void (*on_end)(struct pv_vm *vm, void *arg), void *arg, struct pv_err *err)
{
    struct pv_vm *vm = pv_xcalloc(1, sizeof(*vm));

    vm->loop = loop;
    vm->pid = -1;
    vm->pidfd = vm->exit_watch.fd = -1;
    vm->exit_watch.fn = on_exit_watch;
    vm->saving = (struct pv_saving){.fd = -1, .load_fd = -1};
    for (size_t i = 0; i < PV_VM_DISKS_MAX; i++)
        vm->saving.overlays[i] = -1;
    vm->console.vm = vm->errors.vm = vm;
    vm->console.fd = vm->console.watch.fd = vm->errors.fd = vm->errors.watch.fd = -1;
    vm->dead_timer.fn = on_dead_timer;
    vm->on_end = on_end;
    vm->arg = arg;
    if (start(vm, spec, log_path, err) < 0) {
        if (vm->pid <= 0 && vm->console_text && log_path)
            unlink(log_path); /* nothing was ever written to it */
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
    if (vm->pid > 0)
        pv_vm_kill(vm);
    pv_timer_cancel(vm->loop, &vm->dead_timer);
    source_close(&vm->console);
    source_close(&vm->errors);
    pv_qmp_free(vm->qmp);
    pv_console_free(vm->console_text);
    pv_console_free(vm->errors_text);
    release(vm);
    free(vm);
}

/* ---- asking ---- */

enum pv_vm_state pv_vm_state(const struct pv_vm *vm)
{
    return vm->state;
}

int pv_vm_pidfd(const struct pv_vm *vm)
{
    return vm->pidfd;
}

pid_t pv_vm_pid(const struct pv_vm *vm)
{
    return vm->pid;
}

const char *pv_vm_end_reason(const struct pv_vm *vm)
{
    return vm->reason;
}

bool pv_vm_guest_powered_off(const struct pv_vm *vm)
{
    return vm->state == PV_VM_ENDED && guests_wish(vm) && !vm->panic_event &&
           !pv_console_panic(vm->console_text) && !pv_console_fatal(vm->console_text) &&
           (!strcmp(vm->shutdown, "guest-shutdown") || !strcmp(vm->shutdown, "guest-reset"));
}

bool pv_vm_panicked(const struct pv_vm *vm)
{
    return vm->state == PV_VM_ENDED && !pv_console_fatal(vm->console_text) &&
           (vm->panic_event || pv_console_panic(vm->console_text));
}

void pv_vm_on_port_closed(struct pv_vm *vm, void (*fn)(void *arg), void *arg)
{
    vm->on_port = fn;
    vm->port_arg = arg;
}

int pv_vm_overlay(const struct pv_vm *vm, size_t i)
{
    return i < PV_VM_DISKS_MAX ? vm->saving.overlays[i] : -1;
}

struct pv_saving *pv_vm_saving(struct pv_vm *vm)
{
    return &vm->saving;
}

const struct pv_saving *pv_vm_csaving(const struct pv_vm *vm)
{
    return &vm->saving;
}

int pv_vm_pass(struct pv_vm *vm, int fd, const char *name, int64_t deadline, struct pv_err *err)
{
    return pv_qmp_pass(vm->qmp, fd, name, deadline, err);
}

struct pv_loop *pv_vm_loop(const struct pv_vm *vm)
{
    return vm->loop;
}

void pv_vm_on_finding(struct pv_vm *vm, void (*fn)(const struct pv_finding *finding, void *arg), void *arg)
{
    pv_console_read_findings(vm->console_text, fn ? pv_findings_new(fn, arg) : NULL);
}

void pv_vm_settle_findings(struct pv_vm *vm)
{
    source_read(&vm->console, READS_OF_REST);
    read_omens(vm);
    pv_console_settle_findings(vm->console_text);
}

const struct pv_console *pv_vm_console(const struct pv_vm *vm)
{
    return vm->console_text;
}
