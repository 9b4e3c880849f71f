/* SPDX-License-Identifier: MIT */
/* Runs test files on fake guests, each in a process of its own as the supervisor runs them, many at once. */
#ifndef TESTS_FAKE_RUN_H
#define TESTS_FAKE_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "childproto/result.h"

/* A test file, the fault in its run, and its end. */
struct fake_case {
    const char *script, *fixture; /* fixture: NULL: none */
    const char *at;               /* plan.h: NAME */
    unsigned n;
    const char *action;
    const char *title; /* for messages */

    bool verdict; /* the file's verdict has come */
    enum pv_outcome outcome;
    enum pv_class cls; /* of the file, else of its last failed sub-test */
    unsigned seen;     /* messages that fitted */
    bool fired, done;  /* plan.h */
    int status;        /* of the process */
    double seconds;
    bool overdue; /* it was killed */
    bool left_files;
    bool damaged;    /* a notice says so of an entry of the cache */
    char text[2000]; /* the last failure's message */
};

/* fake_dir: has the fake QEMU under the name of the real one. */
void run_begin(const char *fake_dir);
/* Runs all cases, as many at once as `jobs`; calls `judge` for each that has ended. */
void run_cases(struct fake_case *cases, size_t n, unsigned jobs, void (*judge)(struct fake_case *c));
/* Removes the directories; the number of processes that were left. */
unsigned run_end(void);

#endif
