/* SPDX-License-Identifier: MIT */
/*
 * What the process of a test file calls to tell the supervisor what happens: the only header of the runner
 * that the code running a test may include.
 *
 * Nothing here fails: when the supervisor is gone, so is this process within moments.  A call may block
 * while the supervisor is busy, never longer than it lives.  Long text is cut (event.h).
 */
#ifndef PV_RUNNER_RESULT_H
#define PV_RUNNER_RESULT_H

#include <stdint.h>

struct pv_result;

enum pv_outcome {
    PV_OK,
    PV_FAIL,
    PV_SKIP,
    PV_TODO,
    PV_HELPER, /* files only: a helper library, nothing was tested */
    PV_OUTCOME_COUNT
};

#define PV_NO_TEST UINT32_MAX

/* A handle on a connected SOCK_SEQPACKET socket; takes the descriptor. */
struct pv_result *pv_result_new(int fd);
void pv_result_free(struct pv_result *r);

/* Returns the id for the calls below. Sub-tests may nest and end in any order. */
uint32_t pv_result_test_begin(struct pv_result *r, const char *name);
void pv_result_test_end(struct pv_result *r, uint32_t id, enum pv_outcome outcome, const char *msg,
                        int64_t duration_ns);

/* The verdict on the file: said once, last. A file that ends without it has failed. */
void pv_result_file(struct pv_result *r, enum pv_outcome outcome, const char *msg);

/* A console log was begun in the file's log directory. */
void pv_result_log(struct pv_result *r, const char *vm, const char *path);
/* Tail of a VM's console, shown under the failed sub-test, or under the file with PV_NO_TEST. */
void pv_result_console(struct pv_result *r, uint32_t id, const char *vm, const char *tail);
/* One line for the user, shown once however many files say it. */
void pv_result_notice(struct pv_result *r, const char *line);
/* What the file is busy with ("booting vm1"), quoted when it has to be killed. */
void pv_result_phase(struct pv_result *r, const char *what);

#endif
