/* SPDX-License-Identifier: MIT */
/*
 * The model of a run's report: one struct pv_file_report per test file, built from the events of its process
 * (childproto/event.h), and read by the writers (writers.h) and the terminal's format (terminal/format.h).
 * Its strings come from tests and guests: writers sanitise them.
 */
#ifndef PV_REPORT_REPORT_H
#define PV_REPORT_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "childproto/result.h"
#include "util/mem.h"

struct pv_event;

struct pv_console {
    uint32_t id; /* sub-test, or PV_NO_TEST */
    char *vm, *tail;
};

/* A key of a sub-test's meta. */
struct pv_meta_report {
    char *key;
    bool list; /* it was given as a list */
    struct pv_strv values;
};

/* An earlier attempt at a sub-test (its option `retries`): it failed. */
struct pv_test_attempt {
    enum pv_class cls;
    char *msg;
    int64_t duration_ns;
};

struct pv_test_report {
    char *name, *msg;
    enum pv_outcome outcome;
    enum pv_class cls; /* of a failure, also of an expected one */
    bool ended;
    char *expect_fail;             /* why it is expected to fail; NULL: it is not */
    int64_t begin_ns, duration_ns; /* of all attempts; begin: see pv_file_report.base_ns */
    struct pv_meta_report *meta;
    size_t n_meta;
    struct pv_test_attempt *attempts;
    size_t n_attempts;
    struct pv_strv log; /* what the sub-test said with log() */
};

/* A step of the timeline. */
struct pv_step_report {
    enum pv_step kind;
    bool ended, ok;
    char *vm; /* its track; "": the file's own */
    char *text;
    int64_t begin_ns, end_ns;
    /*
     * Length of the VM's console log at begin and end, bytes; -1: not known.  After pv_report_load_consoles:
     * offsets in the pv_console_text of that VM.
     */
    int64_t console_begin, console_end;
};

/* The text of a VM's console: UTF-8, nothing but printable characters, tabs and newlines. */
struct pv_console_text {
    char *vm, *text;
    uint64_t cut; /* bytes of the log that were before it */
};

/* A core of a VM (--vmcore). */
struct pv_core_file {
    char *vm, *path;
    char *format;  /* "kdump-zlib", "elf" */
    char *vmlinux; /* the file with its kernel's symbols; NULL: not known */
};

struct pv_console_log {
    char *vm, *path;
};

/* A kernel report in a VM's console; see pv_result_finding. */
struct pv_finding_report {
    uint32_t test_id; /* or PV_NO_TEST */
    enum pv_class cls;
    enum pv_outcome outcome;       /* PV_FAIL: it fails the test; PV_OK: it is only shown */
    bool handled;                  /* the test expected it: not shown */
    char *vm, *headline, *excerpt; /* NULL when the file's report was full */
};

/* A VM and its state: "booting", "running", "dead", "shut down", "killed". */
struct pv_vm_report {
    char *name, *state; /* "vm1 (minimal)" */
    int64_t since;      /* pv_now() when the event arrived */
};

/* An earlier attempt at a file (--retries). */
struct pv_attempt_report {
    enum pv_outcome outcome;
    enum pv_class cls;
    char *msg; /* of the file, or of its first sub-test that failed */
    char *log; /* path of its first console log; NULL: none */
    int64_t begin_ns, duration_ns;
};

/* A path that the file read or wrote (--watch). */
struct pv_input_report {
    enum pv_input_kind kind;
    char *path;
    uint64_t stamp; /* pv_stamp, from before it was read */
};

/* reason: every writer takes one struct; lists are pairs of pointer and number */
struct pv_file_report {
    const char *name; /* borrowed */
    const char *path; /* borrowed: as reached from the working directory; NULL: not known */
    const char *root; /* borrowed: the directory that was given, below which `name` is; NULL: not known */
    enum pv_outcome outcome;
    enum pv_class cls; /* of a failure that is not a sub-test's */
    bool verdict;      /* the file's process sent PV_EV_FILE */
    bool ran;          /* false: the run was stopped before it */
    bool interrupted;  /* the run was stopped during it */
    char *msg;
    char *phase;
    int64_t phase_since; /* pv_now() when the event arrived */
    struct pv_vm_report *vms;
    size_t n_vms;
    bool flaky; /* it passed, after an attempt at it or at a sub-test that failed */
    struct pv_attempt_report *attempts;
    size_t n_attempts;
    struct pv_test_report *tests;
    size_t n_tests;
    struct pv_strv log; /* what it said with log() outside of sub-tests */
    struct pv_console *consoles;
    size_t n_consoles;
    struct pv_finding_report *findings;
    size_t n_findings;
    struct pv_console_log *logs;
    size_t n_logs;
    struct pv_core_file *cores; /* --vmcore */
    size_t n_cores;
    char *saved, *saved_vms; /* --save-failed: the file, and which VMs it has; NULL: none */
    struct pv_buf output;    /* the last PV_OUTPUT_MAX bytes of stdout and stderr */
    uint64_t output_cut;     /* bytes before them */
    struct pv_step_report *steps;
    size_t n_steps;
    uint32_t steps_cut; /* number of steps that were not sent */
    struct pv_console_text *texts;
    size_t n_texts;
    struct pv_input_report *inputs; /* of all attempts */
    size_t n_inputs;
    size_t kept;      /* bytes held, for the bound below */
    bool cut;         /* events were dropped at the bound */
    int64_t base_ns;  /* CLOCK_MONOTONIC at the start of the run: begin_ns counts from there */
    int64_t begin_ns; /* of the file */
    int64_t duration_ns;
    int64_t waited_ns; /* part of duration_ns: waits for the pool */
};

enum { PV_OUTPUT_MAX = 64 * 1024, PV_REPORT_MAX = 32 * 1024 * 1024 };

/* Adds an event of the file's process to the report; PV_EV_NOTICE is the caller's. */
void pv_report_event(struct pv_file_report *f, const struct pv_event *ev);
void pv_report_output(struct pv_file_report *f, const char *data, size_t n);
/* For a file that did not end by itself: the file and its open sub-tests fail with `why`. */
void pv_report_broken(struct pv_file_report *f, enum pv_class cls, const char *why);
/* True when a sub-test failed or the file did. */
bool pv_report_failed(const struct pv_file_report *f);
/* True when the sub-test passed, at a later attempt than the first. */
bool pv_report_test_flaky(const struct pv_test_report *t);
/* True when the file passed, and not at its first attempt or not all of its sub-tests at theirs. */
bool pv_report_flaky(const struct pv_file_report *f);
/* Appends the report to f->attempts, and empties it for the next attempt. */
void pv_report_next_attempt(struct pv_file_report *f);
/* Empties the report of a file that the pool restarts, as if it had not run. */
void pv_report_begin_again(struct pv_file_report *f);
/*
 * Frees output, sub-tests, steps, consoles and excerpts, which were written already.  Keeps the parts of the
 * summary: verdict (with its sub-tests' failures), the begin of the message, logs.
 */
void pv_report_shed(struct pv_file_report *f);
void pv_file_report_fini(struct pv_file_report *f);

/*
 * Reads the logs of f into f->texts, at most the last `max` bytes of each, and turns the offsets of its steps
 * into offsets of these texts.
 */
void pv_report_load_consoles(struct pv_file_report *f, size_t max);
enum { PV_CONSOLE_FAILED_MAX = 256 * 1024, PV_CONSOLE_PASSED_MAX = 32 * 1024, PV_CONSOLE_TEXTS_MAX = 32 };

#endif
