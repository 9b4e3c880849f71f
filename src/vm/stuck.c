/* SPDX-License-Identifier: MIT */
/*
 * Recognises a guest that stands still: the console and the agent are silent, and all CPUs stay where they are with
 * interrupts off, so that no process of the guest can ever run again.  A guest that is idle (halted with
 * interrupts on), computes, or is stopped or starved by the host is none.
 *
 * A timer looks after QUIET of silence.  QEMU's registers come over the monitor, without waiting; a window of
 * prints (cpus.h) is judged.  CPUs that spin must also have used CPU time of the host, which a QEMU that was
 * stopped by a signal, a debugger or a suspended host has not.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/path.h"
#include "util/starved.h"
#include "vm/console.h"
#include "vm/internal.h"
#include "vm/qmp.h"
#include "vm/vm.h"

#define QUIET (3 * PV_NSEC_PER_SEC)
/* Between two looks at a guest that is not suspected. */
#define LOOK_PAUSE PV_NSEC_PER_SEC
/* Between two prints of a window, up to PV_CPUS_ENOUGH and beyond. */
#define PRINT_PAUSE (150 * PV_NSEC_PER_MSEC)
#define PRINT_PAUSE_LATE (500 * PV_NSEC_PER_MSEC)
/* CPU time of QEMU in the window of a guest that spins. */
#define SPIN_TIME (2 * PV_NSEC_PER_SEC)
/* Less CPU time of QEMU than this between two looks, so often in a row, is none. */
#define FROZEN_TIME (20 * PV_NSEC_PER_MSEC)
#define FROZEN_LOOKS 3

static const char arguments[] = "{\"command-line\":\"info registers -a\"}";

/* CPU time that QEMU has used, ns; 0: not known. */
static int64_t cpu_time(const struct pv_vm *vm)
{
    struct timespec ts;
    clockid_t clock;

    if (clock_getcpuclockid(vm->process.pid, &clock) != 0 || clock_gettime(clock, &ts) < 0)
        return 0;
    return (int64_t)ts.tv_sec * PV_NSEC_PER_SEC + ts.tv_nsec;
}

int64_t pv_vm_starved(const struct pv_vm *vm)
{
    return vm->state == PV_VM_ENDED ? 0 : pv_starved(vm->process.pid);
}

static void look_again(struct pv_vm *vm, int64_t pause)
{
    pv_timer_arm(vm->loop, &vm->stuck.timer, pv_deadline(pause));
}

void pv_vm_stuck_alive(struct pv_vm *vm)
{
    vm->stuck.alive = pv_now();
    pv_cpus_fini(&vm->stuck.cpus);
}

/* The console log gets the last print, up to the flags of each CPU. */
static void log_registers(struct pv_vm *vm, const char *text)
{
    cleanup_buf struct pv_buf b = {0};

    pv_buf_adds(&b, "\n");
    for (const char *cpu = strstr(text, "CPU#"); cpu; cpu = strstr(cpu + 1, "CPU#")) {
        const char *end = strstr(cpu, "HLT=");

        for (const char *p = cpu; end && p < end + strcspn(end, "\r\n"); p++) {
            if (p == cpu || p[-1] == '\n')
                pv_buf_adds(&b, "provium: ");
            if (*p != '\r')
                pv_buf_addc(&b, *p);
        }
        pv_buf_adds(&b, "\n");
    }
    pv_console_note(vm->console.text, b.data, b.len);
}

static void vm_set_stuck(struct pv_vm *vm, enum pv_cpus_verdict what, const char *text)
{
    cleanup_buf struct pv_buf places = {0};

    pv_cpus_places(&vm->stuck.cpus, &places);
    vm->stuck.reason = pv_xasprintf(
        "the guest stands still: %s (%s); nothing came from its console and its agent for %.1f s",
        what == PV_CPUS_HALTED ? "all its CPUs are halted with interrupts off"
                               : "all its CPUs repeat the same few instructions with interrupts off",
        places.data, (double)(pv_now() - vm->stuck.alive) / 1e9);
    log_registers(vm, text);
    pv_cpus_fini(&vm->stuck.cpus);
    /* Deferred: this is a callback of the monitor. */
    pv_timer_arm(vm->loop, &vm->hints.dead_timer, pv_now());
}

/* The reply to `info registers -a`. */
static void on_registers(void *arg, const json_t *value)
{
    struct pv_vm *vm = arg;
    struct pv_vm_stuck *s = &vm->stuck;
    const char *text = json_string_value(value);
    enum pv_cpus_verdict what;

    s->asked = false;
    if (vm->state == PV_VM_ENDED || s->paused || pv_now() - s->alive < QUIET)
        return;
    if (!s->cpus.n)
        s->cpu_time = cpu_time(vm);
    if (!text || !pv_cpus_add(&s->cpus, text)) {
        pv_cpus_fini(&s->cpus);
        return;
    }
    what = pv_cpus_judge(&s->cpus);
    if (what == PV_CPUS_HALTED || (what == PV_CPUS_SPINNING && cpu_time(vm) - s->cpu_time >= SPIN_TIME))
        vm_set_stuck(vm, what, text);
    else
        look_again(vm, s->cpus.n < PV_CPUS_ENOUGH ? PRINT_PAUSE : PRINT_PAUSE_LATE);
}

/* QEMU's main thread sleeps (proc_pid_stat(5)); one that is starved of the CPU is runnable. */
static bool qemu_sleeps(const struct pv_vm *vm)
{
    char path[64], text[512];
    cleanup_close int fd = -1;
    const char *state;
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)vm->process.pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : pv_pread_all(fd, text, sizeof(text) - 1, 0);
    if (n <= 0)
        return false;
    text[n] = '\0';
    state = strrchr(text, ')');
    return state && (!strncmp(state, ") S", 3) || !strncmp(state, ") D", 3));
}

/* QEMU does not reply: it is stopped or starved, or its main loop waits for a disk, as in a reset of the controller. */
static void look_at_qemu(struct pv_vm *vm)
{
    struct pv_vm_stuck *s = &vm->stuck;
    int64_t now = cpu_time(vm);

    pv_cpus_fini(&s->cpus);
    s->frozen = now - s->cpu_seen < FROZEN_TIME && qemu_sleeps(vm) ? s->frozen + 1 : 0;
    s->cpu_seen = now;
    if (s->frozen >= FROZEN_LOOKS && vm->on_frozen)
        vm->on_frozen(vm->frozen_arg);
}

static void on_look(struct pv_timer *t)
{
    struct pv_vm *vm = PV_CONTAINER_OF(t, struct pv_vm, stuck.timer);
    struct pv_vm_stuck *s = &vm->stuck;

    look_again(vm, LOOK_PAUSE);
    if (s->asked) {
        look_at_qemu(vm);
        return;
    }
    s->frozen = 0;
    if (!s->paused && pv_now() - s->alive >= QUIET)
        s->asked = pv_qmp_post(vm->qmp, "human-monitor-command", arguments, on_registers);
}

void pv_vm_stuck_begin(struct pv_vm *vm, bool paused)
{
    vm->stuck.timer.fn = on_look;
    vm->stuck.paused = paused;
    vm->stuck.alive = pv_now();
    look_again(vm, LOOK_PAUSE);
}

void pv_vm_stuck_pause(struct pv_vm *vm, bool paused)
{
    vm->stuck.paused = paused;
    pv_vm_stuck_alive(vm);
}

void pv_vm_stuck_end(struct pv_vm *vm)
{
    pv_timer_cancel(vm->loop, &vm->stuck.timer);
    pv_cpus_fini(&vm->stuck.cpus);
}
