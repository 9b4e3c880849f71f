/* SPDX-License-Identifier: MIT */
/*
 * The phase, that is the activity that the supervisor shows, and the steps of the timeline.  Every call that
 * may take time is bracketed:
 *
 *     pv_tf_call_begin(tf, vm->name, "reading '%s' in %s", path, vm->name);
 *     rc = pv_agent_read_file(...);
 *     pv_tf_step_end(tf, rc == 0);
 */
#ifndef PV_TESTFILE_TIMELINE_H
#define PV_TESTFILE_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "childproto/result.h"

struct pv_testfile;

struct tf_timeline {
    char doing[256];   /* the call to a guest that runs, in words; "": none */
    uint32_t steps[8]; /* ids of open steps */
    size_t n_steps;    /* open ones; deeper ones than steps[] holds are only counted */
};

/* The track of a step: a task's steps are all on its own track. vm may be NULL. */
const char *pv_tf_track(const struct pv_testfile *tf, const char *vm);
/*
 * Sends a step's begin; its id is for pv_result_step_end.  Not for a task that is given up, each of whose calls
 * fails at once.
 */
uint32_t pv_tf_step_send(struct pv_testfile *tf, const char *vm, enum pv_step kind, const char *text);
/* Sends the phase to the supervisor, or to a builder's asker; "": the script's own code. */
void pv_tf_phase(struct pv_testfile *tf, const char *what);
/* Opens a step on the track of a VM ("vm1"; NULL: the file's own) and makes its text the phase. */
void pv_tf_step_begin(struct pv_testfile *tf, const char *track, enum pv_step kind, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The same, kind PV_STEP_CALL. */
void pv_tf_call_begin(struct pv_testfile *tf, const char *track, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Closes the step that was opened last; ok: the call succeeded. */
void pv_tf_step_end(struct pv_testfile *tf, bool ok);

#endif
