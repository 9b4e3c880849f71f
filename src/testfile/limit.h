/* SPDX-License-Identifier: MIT */
/* Deadlines of open sub-tests; the earliest is the guests' limit too (pv_guest_env.until). */
#ifndef PV_TESTFILE_LIMIT_H
#define PV_TESTFILE_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_testfile;

/* The earliest deadline (pv_now's clock), or PV_FOREVER. */
int64_t pv_tf_limit(const struct pv_testfile *tf);
bool pv_tf_limit_expired(const struct pv_testfile *tf);
/* To be called when open sub-tests or their deadlines have changed; whether the limit is another one now. */
bool pv_tf_limit_update(struct pv_testfile *tf);
/* Another context runs from now on: its limit is that of the sub-tests that it belongs to. */
void pv_tf_limit_enter(struct pv_testfile *tf);
/*
 * Brackets a wait that no test can avoid, such as for memory of the pool: its time does not count.  Waits of
 * several tasks at a time count once.
 */
void pv_tf_limit_pause(struct pv_testfile *tf);
void pv_tf_limit_resume(struct pv_testfile *tf);
/* Remembers `doing` for the message, if the limit has expired and nothing is remembered yet. */
void pv_tf_limit_note(struct pv_testfile *tf, const char *doing);
/* The message of an expired limit. The caller frees. */
char *pv_tf_limit_text(const struct pv_testfile *tf);

#endif
