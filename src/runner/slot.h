/* SPDX-License-Identifier: MIT */
/*
 * A slot runs one test file at a time, in a child process and process group of its own (child/child.h), and
 * completes the file's report when that process has ended.
 */
#ifndef PV_RUNNER_SLOT_H
#define PV_RUNNER_SLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "child/child.h"
#include "loop/loop.h"
#include "report/report.h"
#include "runner/rundir.h"
#include "runner/runner.h"
#include "util/mem.h"

struct pv_err;

enum slot_state {
    SLOT_FREE,
    SLOT_RUNNING,
    SLOT_STOPPING, /* SIGTERM was sent */
    SLOT_KILLED,   /* SIGKILL was sent */
    SLOT_STATES
};

enum { SLOT_NOTICES = 100 };

/* reason: the clocks, the limits and the report of one run of a file, which begin and end together. */
struct slot {
    enum slot_state state;
    struct pv_loop *loop;
    const struct pv_rundir *dir;
    struct pv_child child;
    struct pv_timer timer; /* of the deadline, then of SIGKILL */
    int64_t started;
    int64_t timeout_ns;
    bool timed_out;
    int64_t paused; /* pv_now() at slot_pause */
    int64_t
        saving; /* pv_now() at the begin of a save (--save-failed, --coverage), which is not over; 0: none */
    int64_t save_left;             /* ns that saves may still take */
    int64_t time_left;             /* up to the deadline while it is paused, else -1 */
    char *doing;                   /* phase of the file and states of its VMs at its timeout; NULL: none */
    char *fault;                   /* see slot_fail; NULL: none */
    bool want_steps;               /* a report shows the timeline */
    bool live;                     /* output is shown as it comes */
    unsigned n_notices;            /* of this run of the file; bounded */
    struct pv_file_report *report; /* of the file that runs */
    char *log_dir;
    /* At most SLOT_NOTICES times for a run of a file, then once more to say that others are left out. */
    void (*on_notice)(struct slot *s, const char *text, size_t n);
    /* With --live: lines of a VM, or (vm NULL) of the file's own output. */
    void (*on_live)(struct slot *s, const char *vm, enum pv_live_kind kind, const char *text, size_t n);
    struct pv_buf line;             /* with --live: the begin of a line of the file's own output */
    void (*on_end)(struct slot *s); /* the slot is free again, the report complete */
    void *arg;
};

void slot_init(struct slot *s, struct pv_loop *loop, const struct pv_rundir *dir);

/* One run of one file. */
struct slot_file {
    const struct pv_test_file *file;
    struct pv_file_report *report;
    unsigned number, attempt; /* make the name of the log directory unique; from 1 */
    int lease;                /* channel to the pool, for the file's process; stays the caller's */
};

/* Forks the file's process. -1 with *err, class host: the slot stays free. */
int slot_start(struct slot *s, const struct slot_file *f, const struct pv_run_opts *o, struct pv_err *err);
/* Stops the clock of the file's deadline, or starts it again. Twice is fine. */
void slot_pause(struct slot *s, bool on);
/* Makes its file's process wait with events and output, until on is false. */
void slot_hold(struct slot *s, bool on);
/* The pid of the file's process. */
pid_t slot_pid(const struct slot *s);
/* SIGTERM, and SIGKILL to the whole group if the process still runs after 2 s. Not running: nothing. */
void slot_stop(struct slot *s);
/* SIGKILL to the whole group. Not running: nothing. */
void slot_kill(struct slot *s);
/*
 * SIGKILL to the whole group, because of an invalid message of the file's process; the file fails with the
 * class of a harness error.  fault: the end of a sentence about the process, "sent an invalid event"; the
 * first one counts.  Not running: nothing.
 */
void slot_fail(struct slot *s, const char *fault);

#endif
