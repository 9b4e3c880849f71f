/* SPDX-License-Identifier: MIT */
/* The serial console's bytes: log file, last lines, panic.  Private to vm; what others see is in vm.h. */
#ifndef PV_VM_CONSOLE_H
#define PV_VM_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>

#include "vm/vm.h"

struct pv_err;
struct pv_findings;

enum { PV_CONSOLE_LOG_HEAD = 4 << 20, PV_CONSOLE_LOG_TAIL = 1 << 20 };

/*
 * log_path: made new, 0600 (a file of that name is replaced); NULL: no log.  fatal_mark: see pv_vm_spec;
 * copied.
 */
struct pv_console *pv_console_new(const char *log_path, const char *fatal_mark, struct pv_err *err);

/* Gives every line to `findings` (taken; freed with the console). */
void pv_console_read_findings(struct pv_console *c, struct pv_findings *findings);

/* Tells of a report that has not come to its end. */
void pv_console_settle_findings(struct pv_console *c);

/* Any bytes, in any pieces. Never fails: a log that cannot be written to ends. */
void pv_console_feed(struct pv_console *c, const void *data, size_t n);

/* True once the kernel's panic report has come to its last line. */
bool pv_console_panic_over(const struct pv_console *c);

/* Forgets panic and fatal text: they were a false alarm. */
void pv_console_forget(struct pv_console *c);

/*
 * Nothing more comes: ends an unfinished line, completes the log (the tail that was held back) and closes it.
 */
void pv_console_finish(struct pv_console *c);
/* NULL is fine. */
void pv_console_free(struct pv_console *c);

#endif
