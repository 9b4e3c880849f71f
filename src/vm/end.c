/* SPDX-License-Identifier: MIT */
/* Why a VM ended, from the exit status, QEMU's events, its stderr and the guest's console. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "util/clock.h"
#include "util/spawn.h"
#include "vm/console.h"
#include "vm/internal.h"
#include "vm/qmp.h"

enum { STDERR_LINES = 12 };

/* How long QEMU has to end by itself before what it lost is why the VM ends. */
#define LOST_NS PV_NSEC_PER_SEC

/* Adds ": " and QEMU's last lines on stderr, if there are any. */
static void reason_add_stderr(const struct pv_vm *vm, struct pv_buf *out)
{
    cleanup_buf struct pv_buf text = {0};

    pv_console_tail(vm->errors.text, STDERR_LINES, &text);
    while (text.len && text.data[text.len - 1] == '\n')
        text.data[--text.len] = '\0';
    if (text.len)
        pv_buf_addf(out, ": %s", text.data);
    if (vm->end.confined_args && text.len && strstr(text.data, strerror(EACCES)))
        pv_buf_adds(out, "; QEMU may open files that qemu_args name with confine = false in the profile");
}

bool pv_vm_is_stopped(const struct pv_vm *vm)
{
    siginfo_t s = {0};

    return vm->process.pid > 0 && !vm->process.reaped &&
           waitid(P_PID, (id_t)vm->process.pid, &s, WSTOPPED | WNOHANG | WNOWAIT) == 0 && s.si_pid &&
           s.si_code == CLD_STOPPED;
}

/* True if QEMU exited, or stopped the vCPUs, without a failure. */
static bool end_was_orderly(const struct pv_vm *vm)
{
    const struct pv_vm_process *p = &vm->process;

    return p->reaped ? WIFEXITED(p->status) && WEXITSTATUS(p->status) == 0
                     : !strcmp(vm->end.stopped, "shutdown");
}

static void reason_from_qemu(const struct pv_vm *vm, struct pv_buf *out)
{
    static const struct {
        const char *shutdown, *text;
    } known[] = {
        {"guest-shutdown", "the guest powered off"},
        {"guest-reset", "the guest rebooted"},
        {"guest-panic", "the guest's kernel panicked"},
    };
    const struct pv_vm_process *p = &vm->process;
    char text[64];

    for (size_t i = 0; end_was_orderly(vm) && i < PV_ARRAY_LEN(known); i++)
        if (!strcmp(vm->end.shutdown, known[i].shutdown)) {
            pv_buf_adds(out, known[i].text);
            return;
        }
    pv_wait_status_text(p->status, text);
    if (vm->end.panic_event)
        pv_buf_adds(out, "the guest's kernel panicked");
    else if (!p->reaped)
        pv_buf_addf(out, "QEMU has stopped the guest (%s)", vm->end.stopped);
    else if (WIFSIGNALED(p->status))
        pv_buf_addf(out, "QEMU was %s", text);
    else if (end_was_orderly(vm) && vm->end.shutdown[0])
        pv_buf_addf(out, "QEMU was told to end (%s)", vm->end.shutdown);
    else if (!(vm->qmp && pv_qmp_was_ready(vm->qmp)) && WEXITSTATUS(p->status) != 0)
        pv_buf_addf(out, "QEMU refused to start (%s)", text);
    else
        pv_buf_addf(out, "QEMU ended unexpectedly (%s)", text);
    reason_add_stderr(vm, out);
}

/* The order is that of vm.h: the most specific cause first. */
void pv_vm_explain_end(struct pv_vm *vm)
{
    const char *fatal = pv_console_fatal(vm->console.text), *panic = pv_console_panic(vm->console.text);
    const struct pv_vm_process *p = &vm->process;
    cleanup_buf struct pv_buf b = {0};
    bool killed = p->killed && (!p->reaped || pv_vm_was_sigkilled(vm));

    bool lost = vm->end.lost && !(p->reaped && end_was_orderly(vm));

    vm->end.failed =
        fatal ||
        (!panic && (lost || vm->stuck.reason || (!killed && !vm->end.panic_event && !end_was_orderly(vm))));
    if (fatal)
        pv_buf_adds(&b, fatal);
    else if (panic)
        pv_buf_addf(&b, "the guest's kernel panicked: %s", panic);
    else if (lost)
        pv_buf_adds(&b, vm->end.lost);
    else if (vm->stuck.reason)
        pv_buf_adds(&b, vm->stuck.reason);
    else if (killed)
        pv_buf_adds(&b, "it was killed");
    else
        reason_from_qemu(vm, &b);
    snprintf(vm->end.reason, sizeof(vm->end.reason), "%s", b.data);
}

/* A QEMU that ends takes what it is connected to with it, and so may be the later one to be noticed. */
void pv_vm_lost(struct pv_vm *vm, const char *why)
{
    struct pv_timer *t = &vm->hints.dead_timer;
    int64_t due = pv_deadline(LOST_NS);

    if (vm->state == PV_VM_ENDED || vm->end.lost)
        return;
    vm->end.lost = pv_xstrdup(why);
    if (!t->due || due < t->due)
        pv_timer_arm(vm->loop, t, due);
}

const char *pv_vm_end_reason(const struct pv_vm *vm)
{
    return vm->end.reason;
}

bool pv_vm_guest_powered_off(const struct pv_vm *vm)
{
    return vm->state == PV_VM_ENDED && end_was_orderly(vm) && !vm->end.panic_event &&
           !pv_console_panic(vm->console.text) && !pv_console_fatal(vm->console.text) &&
           (!strcmp(vm->end.shutdown, "guest-shutdown") || !strcmp(vm->end.shutdown, "guest-reset"));
}

bool pv_vm_panicked(const struct pv_vm *vm)
{
    return vm->state == PV_VM_ENDED && !pv_console_fatal(vm->console.text) &&
           (vm->end.panic_event || pv_console_panic(vm->console.text));
}

bool pv_vm_stuck(const struct pv_vm *vm)
{
    return vm->state == PV_VM_ENDED && vm->stuck.reason && !pv_vm_panicked(vm);
}

bool pv_vm_failed(const struct pv_vm *vm)
{
    return vm->end.failed;
}

bool pv_vm_was_sigkilled(const struct pv_vm *vm)
{
    const struct pv_vm_process *p = &vm->process;

    return p->reaped && WIFSIGNALED(p->status) && WTERMSIG(p->status) == SIGKILL;
}
