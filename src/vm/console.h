/* SPDX-License-Identifier: MIT */
/* A serial console: its log (conlog.h), its last lines, its panic. */
#ifndef PV_VM_CONSOLE_H
#define PV_VM_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>

struct pv_buf;
struct pv_conlog;
struct pv_console;
struct pv_findings;

/* Adds the last `lines` lines to out (64 are kept, 512 bytes each), harmless for a terminal. */
void pv_console_tail(const struct pv_console *c, unsigned lines, struct pv_buf *out);
/*
 * The text behind the first fatal mark, and behind the first "Kernel panic - not syncing: ", harmless for a
 * terminal; NULL: none was seen.  Any program in the guest can write such a line: it explains an end and does
 * not prove one.
 */
const char *pv_console_fatal(const struct pv_console *c);
const char *pv_console_panic(const struct pv_console *c);

/* ---- private to vm ---- */

/* log: its run has begun; borrowed; NULL: none.  fatal_mark: see pv_vm_spec; copied. */
struct pv_console *pv_console_new(struct pv_conlog *log, const char *fatal_mark);
/* Moves the log's content to another log, which takes its place. */
void pv_console_move_log(struct pv_console *c, struct pv_conlog *log);
/* Ends the log's run.  NULL is fine. */
void pv_console_free(struct pv_console *c);

/* Feeds each line to `findings`, which the console owns from now on; NULL: to none. */
void pv_console_read_findings(struct pv_console *c, struct pv_findings *findings);

/* Tells of a report without its end. */
void pv_console_settle_findings(struct pv_console *c);

/* Any bytes, in any pieces.  Never fails: a write error ends the log alone. */
void pv_console_feed(struct pv_console *c, const void *data, size_t n);

/* Adds text of the harness to the log alone. */
void pv_console_note(struct pv_console *c, const char *text, size_t n);

/* Tells of output that may be missing behind the next n bytes. */
void pv_console_lost(struct pv_console *c, int n);

/* True once the last line of the kernel's panic report was seen. */
bool pv_console_panic_over(const struct pv_console *c);

/* Forgets panic and fatal text as a false alarm. */
void pv_console_forget(struct pv_console *c);

/* At the end of input: ends an unfinished line and the log's run. */
void pv_console_finish(struct pv_console *c);

#endif
