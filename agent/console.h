/* SPDX-License-Identifier: MIT */
/* Lines of guest init on the console. */
#ifndef PV_AGENT_CONSOLE_H
#define PV_AGENT_CONSOLE_H

#include "boot.h"

/* Prints "provium: TEXT". */
void ag_say(const struct ag_boot *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Prints "provium: fatal: TEXT", then reboots: QEMU, which runs with -no-reboot, exits. */
_Noreturn void ag_fatal(const struct ag_boot *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
