/* SPDX-License-Identifier: MIT */
/*
 * A place in which one test file at a time runs, in a process and process group of its own.
 */
#ifndef PV_RUNNER_SLOT_H
#define PV_RUNNER_SLOT_H

#include <stdbool.h>
#include <sys/types.h>

#include "loop/loop.h"
#include "report/report.h"
#include "runner/rundir.h"
#include "runner/runner.h"

enum slot_state {
    SLOT_FREE,
    SLOT_RUNNING,
    SLOT_STOPPING, /* SIGTERM was sent */
    SLOT_KILLED,   /* SIGKILL was sent */
    SLOT_STATES
};

struct slot {
    enum slot_state state;
    struct pv_loop *loop;
    const struct pv_rundir *dir;
    pid_t pid;
    int pidfd, sock, out;
    struct pv_watch proc_watch, sock_watch, out_watch;
    struct pv_timer timer;
    int64_t started;
    int64_t timeout_ns;
    bool timed_out;
    int64_t paused;                /* pv_now() since when that is so */
    int64_t time_left;             /* while the deadline stands still (slot_pause), else -1 */
    char *doing;                   /* what the file and its VMs did when its time was up; NULL: it was not */
    bool want_steps;               /* a report shows the timeline */
    struct pv_file_report *report; /* of the file that runs */
    char *log_dir;
    void (*on_notice)(struct slot *s, const char *text, size_t n);
    void (*on_end)(struct slot *s); /* the slot is free again, the report complete */
    void *arg;
};

void slot_init(struct slot *s, struct pv_loop *loop, const struct pv_rundir *dir);
/* What a slot is given to run. */
struct slot_file {
    const struct pv_test_file *file;
    struct pv_file_report *report;
    unsigned number, attempt; /* make the name of the log directory unique; from 1 */
    int lease;                /* channel to the pool, for its process; stays the caller's */
};

/* Forks. */
int slot_start(struct slot *s, const struct slot_file *f, const struct pv_run_opts *o, struct pv_err *err);
/* The file's deadline stands still, or goes on. Twice is fine. */
void slot_pause(struct slot *s, bool on);
/* The file's process. */
pid_t slot_pid(const struct slot *s);
/* SIGTERM, and SIGKILL to the whole group when that has not helped after 2 s. Not running: nothing. */
void slot_stop(struct slot *s);
/* SIGKILL at once. */
void slot_kill(struct slot *s);

#endif
