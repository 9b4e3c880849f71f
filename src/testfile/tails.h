/* SPDX-License-Identifier: MIT */
/* Console tails and console logs, told to the supervisor. */
#ifndef PV_TESTFILE_TAILS_H
#define PV_TESTFILE_TAILS_H

#include <stddef.h>
#include <stdint.h>

struct pv_testfile;

enum { TF_TAIL_LINES = 20 };

/* The last console lines of one VM. */
struct tf_tail {
    char *vm, *text;
    struct tf_tail *next;
};

/* A queue; zero-initialised is empty. */
struct tf_tails {
    struct tf_tail *first;
};

/* Appends vm (taken) with a copy of n bytes of text. */
void pv_tf_tails_add(struct tf_tails *tails, char *vm, const char *text, size_t n);
/* Appends all of `from`, which is empty then. */
void pv_tf_tails_move(struct tf_tails *tails, struct tf_tails *from);
void pv_tf_tails_free(struct tf_tails *tails);

/* Tells the supervisor of console logs that it does not know yet. */
void pv_tf_logs_send(struct pv_testfile *tf);
/*
 * Sends the console tails under a sub-test (PV_NO_TEST: the file): of fixtures that could not be built, and
 * of all VMs whose tail has changed since it was sent.  Sends the logs too.
 */
void pv_tf_tails_send(struct pv_testfile *tf, uint32_t test_id);

#endif
