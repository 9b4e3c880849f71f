/* SPDX-License-Identifier: MIT */
/*
 * Findings: reports of guests' kernels (vm/findings.h), each with the sub-test that was running.
 *
 * A finding comes out of the loop while some call waits.  It belongs to the innermost open sub-test, else to
 * the file, and is told to the supervisor at once, because the file's process may not live to its end.
 * Whether it fails that sub-test is decided when the sub-test ends (verdict.h): until then the test may
 * expect it, or catch the error of the panic that ended the VM.
 */
#ifndef PV_TESTFILE_FINDINGS_H
#define PV_TESTFILE_FINDINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "childproto/result.h"
#include "testfile/guests.h"

struct pv_err;
struct pv_finding;
struct pv_guest;
struct pv_testfile;
struct tf_guest;
struct tf_symbols;

enum tf_panic { TF_PANIC_UNDECIDED, TF_PANIC_NO, TF_PANIC_YES };

/* A finding without a time stamp, which a program may have printed. */
struct tf_doubt {
    char *first; /* as of pv_finding, like after_us; NULL: no doubt */
    uint64_t after_us;
    int64_t since;
    bool over; /* its VM's run: the kernel's log is another one's */
};

struct tf_finding {
    struct tf_guest
        *guest;           /* held; NULL: the VM ended before a handle referred to it (a resume that failed) */
    char vm[TF_NAME_MAX]; /* its name */
    unsigned vm_number;   /* as pv_guest_number */
    uint32_t test_id;     /* the sub-test that was running, or PV_NO_TEST */
    uint32_t id;          /* in the report; PV_NO_TEST: not there */
    enum pv_class cls;
    const char *kind;
    char *headline, *excerpt;
    bool fails;   /* by the policy, unless it is handled */
    bool handled; /* a test expected or allowed it */
    bool met;     /* a panic whose death of the VM was an error that the test got */
    bool placed;  /* source lines were looked for (places.h) */
    struct tf_doubt doubt;
    bool standby;        /* of a standby VM */
    bool past;           /* its VM has begun another run since */
    enum tf_panic panic; /* whether a panic's words on the console were a panic */
    bool follows;        /* caused by the finding before it in the same VM */
    struct tf_finding *next;
};

struct tf_findings {
    struct tf_finding *first, **end; /* in order; bounded */
    size_t n_warnings, n_worse;      /* in the list */
    size_t n_doubts;                 /* among these, without a time stamp and not decided */
    size_t n_placed;                 /* that source lines were looked for */
    struct tf_symbols *symbols;
};

/* For the guests' observer: arg is the pv_testfile. Does not block. */
void pv_tf_finding_add(const struct pv_guest *g, const struct pv_finding *finding, void *arg);
/* Reads all consoles up to their end; to be called where a sub-test begins or ends. Does not block. */
void pv_tf_findings_settle(struct pv_testfile *tf);
/*
 * The same when all kernels have printed what they have reported so far, and decides doubtful ones: where a sub-test
 * ends. Blocks.
 */
void pv_tf_findings_sync(struct pv_testfile *tf);
/*
 * Decides of each finding without a time stamp whether the kernel or a program printed it, by the kernel's log; drops
 * the programs', and tells the others to the supervisor.  One of which nobody can know counts as the kernel's.  Blocks.
 */
void pv_tf_findings_decide(struct pv_testfile *tf);
/* The same before the guest's run ends, after which its kernel's log is gone. */
void pv_tf_findings_decide_before_end(struct pv_testfile *tf, struct tf_guest *g);
/* The same without asking a guest. */
void pv_tf_findings_decide_unknown(struct pv_testfile *tf);
/* Marks f as expected, and the findings that caused it. */
void pv_tf_finding_handle(struct pv_testfile *tf, struct tf_finding *f);
/* The test gets err, which says why a guest died: it knows of that guest's panic. */
void pv_tf_findings_met_death(struct pv_testfile *tf, const struct pv_err *err);
/* The run of g in which they were found is over: those of a panic are decided. */
void pv_tf_findings_ended(struct pv_testfile *tf, const struct pv_guest *g, bool panicked);
/* g begins another run. */
void pv_tf_findings_outdate(struct pv_testfile *tf, const struct pv_guest *g);
/* The guest's last finding; NULL: none. */
const struct tf_finding *pv_tf_finding_last(const struct pv_testfile *tf, const struct tf_guest *g);
/*
 * The headline of a finding of g's present run; NULL: none.  Once the list has no room, any text, because nobody knows.
 */
const char *pv_tf_finding_of_run(const struct pv_testfile *tf, const struct pv_guest *g);
/* a or b, the one that is worse; PV_CLASS_NONE is the least. */
enum pv_class pv_tf_class_worse(enum pv_class a, enum pv_class b);
void pv_tf_findings_free(struct tf_findings *list);

/* ---- findings that a test expects ---- */

/* Findings of g whose headline or excerpt has the text ("": all) are expected, those of this sub-test too. */
void pv_tf_findings_allow(struct pv_testfile *tf, struct tf_guest *g, const char *text);

/* One running expect_report; lives on the stack of its caller. */
struct tf_expect {
    struct pv_testfile *tf;
    struct tf_guest *g;
    const char *text;         /* "": any finding */
    struct tf_finding *first; /* the first one that fitted; NULL: none yet */
    struct tf_expect *outer;
};

/* From here to the end, findings with the text are expected. tf, g and text are set. */
void pv_tf_expect_begin(struct tf_expect *e);
/* Blocks (runs the loop) until there is one, the VM has ended, or the timeout: 0; -1: the loop failed. */
int pv_tf_expect_wait(struct tf_expect *e, int64_t timeout_ns, struct pv_err *err);
/* Blocks while doubtful findings are decided. */
void pv_tf_expect_end(struct tf_expect *e);

#endif
