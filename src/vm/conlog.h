/* SPDX-License-Identifier: MIT */
/*
 * The console log of one VM: a file that all runs of the VM (boot, restores) write to, one after the other.
 * It is bounded for the VM, not for a run: the first 4 MiB go to the file as they come; of what follows the
 * last MiB is kept in memory and written to the file at the end of each run, behind a mark that says how many
 * bytes are left out.  A mark stands between two runs, too.
 *
 * The VM's owner has the log and lends it to one run at a time.  All functions accept a log that is NULL.
 */
#ifndef PV_VM_CONLOG_H
#define PV_VM_CONLOG_H

#include <stddef.h>

struct pv_conlog;
struct pv_err;

enum { PV_CONLOG_HEAD = 4 << 20, PV_CONLOG_TAIL = 1 << 20 };

/* path is copied; no file is made before the first run.  NULL if path is NULL. */
struct pv_conlog *pv_conlog_new(const char *path);
/* Ends the run; the file stays. */
void pv_conlog_free(struct pv_conlog *l);
/* NULL before the first run. */
const char *pv_conlog_path(const struct pv_conlog *l);

/* ---- private to vm ---- */

/* A run begins: makes the file, 0600 (a file of that name is replaced), or opens it again.  Class host. */
int pv_conlog_begin(struct pv_conlog *l, struct pv_err *err);
/* Never fails: a write error ends the log alone. */
void pv_conlog_feed(struct pv_conlog *l, const void *data, size_t n);
/* The run ends: writes the tail and closes the file.  Idempotent. */
void pv_conlog_end(struct pv_conlog *l);
/* Removes the file of a log whose first run did not start. */
void pv_conlog_discard(struct pv_conlog *l);
/* The run of `from` goes on in `to` with all that it has written; removes the file of `from`. */
void pv_conlog_move(struct pv_conlog *from, struct pv_conlog *to);

#endif
