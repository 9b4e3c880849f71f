/* SPDX-License-Identifier: MIT */
#include "vm/life.h"

#include <string.h>

#include "util/err.h"
#include "util/mem.h"
#include "vm/console.h"
#include "vm/internal.h"
#include "vm/qmp.h"

int pv_vm_allow_resets(struct pv_vm *vm, bool allow, int64_t deadline, struct pv_err *err)
{
    return pv_vm_qmp(vm, "set-action",
                     allow ? "{\"reboot\": \"reset\", \"panic\": \"none\"}"
                           : "{\"reboot\": \"shutdown\", \"panic\": \"shutdown\"}",
                     NULL, deadline, err);
}

int pv_vm_reset(struct pv_vm *vm, int64_t deadline, struct pv_err *err)
{
    return pv_vm_qmp(vm, "system_reset", NULL, NULL, deadline, err);
}

void pv_vm_on_reset(struct pv_vm *vm, void (*fn)(const char *panic, void *arg), void *arg)
{
    vm->on_reset = fn;
    vm->reset_arg = arg;
}

void pv_vm_on_frozen(struct pv_vm *vm, void (*fn)(void *arg), void *arg)
{
    vm->on_frozen = fn;
    vm->frozen_arg = arg;
}

void pv_vm_was_reset(struct pv_vm *vm)
{
    const char *fatal, *panic;
    cleanup_free char *text = NULL;

    vm->port_closes = false;
    pv_vm_stuck_alive(vm);
    pv_vm_settle_findings(vm);
    fatal = pv_console_fatal(vm->console.text);
    panic = pv_console_panic(vm->console.text);
    if (fatal || panic)
        text = pv_xstrdup(fatal ? fatal : panic);
    else if (vm->end.panic_event)
        text = pv_xstrdup("the guest's kernel panicked");
    pv_timer_cancel(vm->loop, &vm->hints.ask_timer);
    pv_timer_cancel(vm->loop, &vm->hints.dead_timer);
    vm->hints.panic_seen = vm->hints.fatal_seen = 0;
    vm->end.panic_event = false;
    pv_console_forget(vm->console.text);
    if (vm->on_reset)
        vm->on_reset(text, vm->reset_arg);
}

int pv_vm_power_button(struct pv_vm *vm, int64_t deadline, struct pv_err *err)
{
    return pv_vm_qmp(vm, "system_powerdown", NULL, NULL, deadline, err);
}

int pv_vm_nmi(struct pv_vm *vm, int64_t deadline, struct pv_err *err)
{
    return pv_vm_qmp(vm, "inject-nmi", NULL, NULL, deadline, err);
}

/* A confined QEMU opens no path of the host, so it gets the file as a descriptor. */
int pv_vm_screenshot(struct pv_vm *vm, int fd, int64_t deadline, struct pv_err *err)
{
    static const char picture[] = "{\"filename\":\"/dev/fdset/1\",\"format\":\"png\"}";
    struct pv_err e = PV_ERR_INIT;
    int r;

    if (vm->state == PV_VM_ENDED)
        return pv_err_set(err, PV_E_GUEST_DIED, "the VM has ended: %s", vm->end.reason);
    if (pv_qmp_add_fd(vm->qmp, fd, 1, deadline, err) < 0)
        return -1;
    r = pv_vm_qmp(vm, "screendump", picture, NULL, deadline, &e);
    pv_vm_qmp(vm, "remove-fd", "{\"fdset-id\":1}", NULL, deadline, NULL);
    if (r == 0)
        return 0;
    if (strstr(e.text, "no console") || strstr(e.text, "no surface"))
        return pv_err_set(
            err, PV_E_USAGE,
            "the machine has no display; its profile can give it one: qemu_args = [\"-device\", "
            "\"VGA\"]");
    if (err)
        *err = e;
    return -1;
}
