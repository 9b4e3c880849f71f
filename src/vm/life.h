/* SPDX-License-Identifier: MIT */
/*
 * Resets of a machine, and other keys on its front panel.  QEMU starts with -no-reboot, so a guest that reboots
 * ends it until pv_vm_allow_resets lets the machine start again.  All functions but pv_vm_on_reset block (run
 * the loop).
 */
#ifndef PV_VM_LIFE_H
#define PV_VM_LIFE_H

#include <stdbool.h>
#include <stdint.h>

struct pv_err;
struct pv_vm;

/*
 * allow: a reset by the guest or by pv_vm_reset starts the machine again, and a panic (pvpanic) leaves the next
 * step to the guest's kernel.  Without it both end QEMU.
 */
int pv_vm_allow_resets(struct pv_vm *vm, bool allow, int64_t deadline, struct pv_err *err);
/* Resets the machine as its reset key does; pv_vm_allow_resets first. */
int pv_vm_reset(struct pv_vm *vm, int64_t deadline, struct pv_err *err);
/*
 * Calls fn from the loop after each reset, when the console has been read up to it: `panic` is the text of a
 * panic or of the guest init's end that led to it, NULL: there was none.  The hints of the old run are
 * forgotten.  fn must not call into the VM.
 */
void pv_vm_on_reset(struct pv_vm *vm, void (*fn)(const char *panic, void *arg), void *arg);
/*
 * Calls fn from the loop, again and again, while QEMU itself stands still: it neither replies nor uses CPU time, and no
 * signal holds it.  It waits for a disk then.  fn must not call into the VM.
 */
void pv_vm_on_frozen(struct pv_vm *vm, void (*fn)(void *arg), void *arg);
/* ACPI's power button. */
int pv_vm_power_button(struct pv_vm *vm, int64_t deadline, struct pv_err *err);
/* A non-maskable interrupt to all CPUs. */
int pv_vm_nmi(struct pv_vm *vm, int64_t deadline, struct pv_err *err);
/* Writes the display as PNG to a file that is open for writing alone.  Class usage: the machine has no display. */
int pv_vm_screenshot(struct pv_vm *vm, int fd, int64_t deadline, struct pv_err *err);

#endif
