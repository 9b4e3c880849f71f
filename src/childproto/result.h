/* SPDX-License-Identifier: MIT */
/*
 * What the process of a test file calls to tell the supervisor what happens: the only header of the runner
 * that the code running a test may include.
 *
 * Nothing here fails: when the supervisor is gone, so is this process within moments.  A call may block
 * while the supervisor is busy, never longer than it lives.  Long text is cut (event.h).
 */
#ifndef PV_CHILDPROTO_RESULT_H
#define PV_CHILDPROTO_RESULT_H

#include <stdbool.h>
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

/* Why something failed, or what a guest's kernel complained of.  PV_CLASS_NONE: it did not fail. */
enum pv_class {
    PV_CLASS_NONE,
    PV_CLASS_ASSERTION,  /* assert*, fail */
    PV_CLASS_LUA,        /* any other Lua error: syntax, wrong argument, error(), os.exit */
    PV_CLASS_TIMEOUT,    /* of the file, of a boot or of a call */
    PV_CLASS_PANIC,      /* the guest's kernel panicked */
    PV_CLASS_OOPS,       /* oops, BUG, KASAN, lockdep, hung task, OOM... in a guest's console */
    PV_CLASS_WARNING,    /* WARNING and the like in a guest's console */
    PV_CLASS_AGENT_LOST, /* the agent ended, never came up or spoke nonsense, in a guest that lives */
    PV_CLASS_QEMU_DIED,  /* the machine ended: QEMU died or refused to start, the guest powered off */
    PV_CLASS_HARNESS,    /* the host lacks something or refused it, or the file's process died */
    PV_CLASS_COUNT
};

/* "assertion", "lua-error", "timeout", "guest-panic", ...; "" for PV_CLASS_NONE. */
const char *pv_class_name(enum pv_class cls);

#define PV_NO_TEST UINT32_MAX

/* What the time of a file goes into; a step of the timeline. Sub-tests are not told as steps: they have
 * times. */
enum pv_step {
    PV_STEP_WAIT,   /* for memory and CPUs of the pool, or for somebody else's build of a fixture */
    PV_STEP_BUILD,  /* of a fixture */
    PV_STEP_BOOT,   /* of a VM, from its profile */
    PV_STEP_RESUME, /* of a VM, from a fixture */
    PV_STEP_CALL,   /* everything else that is asked of a guest, and sleeping */
    PV_STEP_TEST,   /* only where reports are drawn */
    PV_STEP_COUNT
};

/* "wait", "build", "boot", "resume", "call", "test" */
const char *pv_step_name(enum pv_step kind);

enum { PV_STEPS_MAX = 2000, PV_STEP_CALLS_MAX = 1800 }; /* told of one file, and calls among them */
#define PV_NO_STEP UINT32_MAX

/* A handle on a connected SOCK_SEQPACKET socket; takes the descriptor. */
struct pv_result *pv_result_new(int fd);
void pv_result_free(struct pv_result *r);
/* Its descriptor, for a process that is about to be forked and makes a handle of its own of it. */
int pv_result_fd(const struct pv_result *r);

/* Returns the id for the calls below. Sub-tests may nest and end in any order. */
uint32_t pv_result_test_begin(struct pv_result *r, const char *name);
/* cls: why, when outcome is PV_FAIL, else PV_CLASS_NONE. */
void pv_result_test_end(struct pv_result *r, uint32_t id, enum pv_outcome outcome, enum pv_class cls,
                        const char *msg, int64_t duration_ns);

/* The verdict on the file: said once, last. A file that ends without it has failed. */
void pv_result_file(struct pv_result *r, enum pv_outcome outcome, enum pv_class cls, const char *msg);

/* A console log was begun in the file's log directory. */
void pv_result_log(struct pv_result *r, const char *vm, const char *path);
/* Tail of a VM's console, shown under the failed sub-test, or under the file with PV_NO_TEST. */
void pv_result_console(struct pv_result *r, uint32_t id, const char *vm, const char *tail);
/*
 * The kernel of a VM complained in its console, during the sub-test test_id or outside of all (PV_NO_TEST).
 * outcome: PV_FAIL when it makes that test, or the file, fail (its end says so once more), PV_OK when it is
 * only told.  headline: one line, excerpt: some lines of the console, both harmless for a terminal.  Returns
 * the id for the call below.
 */
uint32_t pv_result_finding(struct pv_result *r, uint32_t test_id, const char *vm, enum pv_class cls,
                           enum pv_outcome outcome, const char *headline, const char *excerpt);
/* The test expected it, or dealt with it: no finding any more. */
void pv_result_finding_handled(struct pv_result *r, uint32_t finding_id);
/* One line for the user, shown once however many files say it. */
void pv_result_notice(struct pv_result *r, const char *line);
/*
 * A step of the timeline, on the lane of `vm` (NULL: the file's own), by now.  Returns an id for the end;
 * PV_NO_STEP, which pv_result_step_end takes, when no report asks for steps or the file has had its share
 * (they are counted).  Steps may nest, and end in any order; one that never ends did not finish.
 */
uint32_t pv_result_step_begin(struct pv_result *r, const char *vm, enum pv_step kind, const char *text);
void pv_result_step_end(struct pv_result *r, uint32_t id, bool ok);

/* Steps are told only after this. */
void pv_result_want_steps(struct pv_result *r);
/*
 * Says how many bytes have been written to the console log of a VM, -1 when it has none; asked at the begin
 * and end of each step on its lane.
 */
void pv_result_set_console_size(struct pv_result *r, int64_t (*size)(const char *vm, void *arg), void *arg);

/* What the file is busy with ("booting vm1"), quoted when it has to be killed. */
void pv_result_phase(struct pv_result *r, const char *what);

/* A VM ("vm1 (minimal)") has come to this state: "booting", "running", "dead", ... */
void pv_result_vm(struct pv_result *r, const char *vm, const char *state);

#endif
