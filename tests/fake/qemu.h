/* SPDX-License-Identifier: MIT */
/*
 * A program that takes QEMU's place: it speaks QMP, writes a serial console, and plays the guest's kernel and agent
 * behind the virtio-serial channel, as far as a VM needs to boot, run requests, be saved, resumed and shut down.
 * Nothing in it is emulated.  At one of its messages it does one thing wrong (fault.c).
 */
#ifndef TESTS_FAKE_QEMU_H
#define TESTS_FAKE_QEMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/fake/plan.h"

enum { FD_CONSOLE_IN = 0, FD_CONSOLE = 1, FD_QMP = 3, FD_AGENT = 5, FD_MEMORY = 32, FD_SAVE = 33 };

/* ---- fault.c ---- */

/* spec: the argument of -fake, see plan.h. */
void fault_open(const char *spec);
/* A message of this name was received, or is about to be sent: the place of a fault. May not return. */
void fault_point(const char *name);
/* Sends all of it, byte by byte after a fault of that kind; nothing to a descriptor that a fault has closed. */
void fault_write(int fd, const void *data, size_t n);
/* Prints a kernel's message for each line of text on the console, and into the kernel's log. */
void console_kernel(const char *text);
/* The kernel's log, as the agent sends it; *n: its length. */
const char *kernel_log(size_t *n);

/* ---- monitor.c ---- */

void monitor_greet(void);
/* Reads and handles what has come; the end of the monitor ends the program. */
void monitor_read(void);
void monitor_event(const char *event, const char *data);
/* The machine starts anew; guest ("true", "false"): it has asked for that. */
void monitor_reset(const char *guest, const char *reason);
/* How long QEMU's own reset takes, in which it replies to no command. */
extern unsigned monitor_reset_us;
/* QEMU's end after the guest has asked for it. */
void monitor_shutdown(const char *reason) __attribute__((noreturn));
/* The vCPUs run. */
extern bool machine_runs;

/* ---- guest.c ---- */

void guest_read(void);
/* Forgets all channels and all input. */
void guest_reset(void);
/* The agent's main process ends, which closes the port; anew: another one opens it at once. */
void guest_agent_ends(bool anew);
/* The processes of all sessions end; the agent's main process goes on. */
void guest_sessions_end(void);

#endif
