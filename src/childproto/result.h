/* SPDX-License-Identifier: MIT */
/*
 * The sender of events: the process of a test file calls these functions, and each sends one event (event.h)
 * to the supervisor, which builds the file's report from them.
 *
 * None of them fails: a file's process does not outlive its supervisor.  A call may block while the
 * supervisor is busy.  Long text is cut (event.h).
 */
#ifndef PV_CHILDPROTO_RESULT_H
#define PV_CHILDPROTO_RESULT_H

#include <stdbool.h>
#include <stdint.h>

struct pv_err;
struct pv_event;
struct pv_result;

enum pv_outcome {
    PV_OK,
    PV_FAIL,
    PV_SKIP,
    PV_TODO,
    PV_XFAIL,  /* sub-tests only: it failed, as its expect_fail says */
    PV_HELPER, /* files only: a helper library, nothing was tested */
    PV_OUTCOME_COUNT
};

/* The reason of a failure, or the kind of a kernel finding. */
enum pv_class {
    PV_CLASS_NONE,       /* no failure */
    PV_CLASS_ASSERTION,  /* assert*, fail */
    PV_CLASS_LUA,        /* any other Lua error: syntax, wrong argument, error(), os.exit */
    PV_CLASS_TIMEOUT,    /* of the file, of a boot or of a call */
    PV_CLASS_PANIC,      /* the guest's kernel panicked */
    PV_CLASS_OOPS,       /* oops, BUG, KASAN, lockdep, hung task, OOM... in a guest's console */
    PV_CLASS_WARNING,    /* WARNING and the like in a guest's console */
    PV_CLASS_STUCK,      /* the guest stood still */
    PV_CLASS_AGENT_LOST, /* the agent ended, never came up or broke the protocol, in a guest that lives */
    PV_CLASS_QEMU_DIED,  /* the machine ended: QEMU died or refused to start, the guest powered off */
    PV_CLASS_HARNESS,    /* the host lacks something or refused it, or the file's process died */
    PV_CLASS_COUNT
};

/* "assertion", "lua-error", "timeout", "guest-panic", ...; "" for PV_CLASS_NONE. */
const char *pv_class_name(enum pv_class cls);

#define PV_NO_TEST UINT32_MAX

/* Kinds of steps of the timeline. A sub-test is no step of its own: its events have times. */
enum pv_step {
    PV_STEP_WAIT,    /* for memory and CPUs of the pool, or for another process's build of a fixture */
    PV_STEP_BUILD,   /* of a fixture */
    PV_STEP_BOOT,    /* of a VM, from its profile */
    PV_STEP_RESUME,  /* of a VM, from a fixture */
    PV_STEP_CALL,    /* any other request to a guest, and sleeping */
    PV_STEP_NETWORK, /* a partition or an impairment of a network, on the network's track */
    PV_STEP_TEST,    /* made by the writers of reports only */
    PV_STEP_COUNT
};

/* "wait", "build", "boot", "resume", "call", "network", "test" */
const char *pv_step_name(enum pv_step kind);

enum { PV_STEPS_MAX = 2000, PV_STEP_CALLS_MAX = 1800 }; /* sent for one file, and calls among them */
#define PV_NO_STEP UINT32_MAX

/* A handle on a connected SOCK_SEQPACKET socket; takes the descriptor. */
struct pv_result *pv_result_new(int fd);
/*
 * The same without a supervisor: each event of this process is delivered to it, with strings that are terminated; NULL:
 * to nobody.  Its descriptor takes no message: events of a builder that is forked with it are lost.  NULL with *err:
 * class host.
 */
struct pv_result *pv_result_new_local(void (*deliver)(const struct pv_event *ev, void *arg), void *arg,
                                      struct pv_err *err);
void pv_result_free(struct pv_result *r);
/* Its descriptor, which a builder's process is forked with; that process makes its own handle. */
int pv_result_fd(const struct pv_result *r);

/* Returns the id for the calls below. Sub-tests may nest and end in any order. */
uint32_t pv_result_test_begin(struct pv_result *r, const char *name);
/* One value of a sub-test's meta; of a list, each element is one. */
void pv_result_test_meta(struct pv_result *r, uint32_t id, const char *key, const char *value, bool in_list);
/* The sub-test is expected to fail, for this reason. */
void pv_result_test_expect(struct pv_result *r, uint32_t id, const char *reason);
/* An attempt at the sub-test has failed; another one follows. */
void pv_result_test_attempt(struct pv_result *r, uint32_t id, enum pv_class cls, const char *msg,
                            int64_t duration_ns);
/* A call of log() in the sub-test, or outside of all (PV_NO_TEST). */
void pv_result_note(struct pv_result *r, uint32_t id, const char *text);
/* cls: PV_CLASS_NONE unless outcome is PV_FAIL or PV_XFAIL. */
void pv_result_test_end(struct pv_result *r, uint32_t id, enum pv_outcome outcome, enum pv_class cls,
                        const char *msg, int64_t duration_ns);

/* The verdict on the file: sent once, last. A file whose process ends without it has failed. */
void pv_result_file(struct pv_result *r, enum pv_outcome outcome, enum pv_class cls, const char *msg);

/* The name of a network in place of a VM's, in the calls below: "network lan". */
#define PV_NETWORK_LOG "network "
bool pv_is_network_log(const char *vm);

/* A console log was begun in the file's log directory, or the frames of a network were kept there. */
void pv_result_log(struct pv_result *r, const char *vm, const char *path);
/* The tail of a VM's console, shown under the failed sub-test, or under the file with PV_NO_TEST. */
void pv_result_console(struct pv_result *r, uint32_t id, const char *vm, const char *tail);
/*
 * A kernel report in a VM's console, during the sub-test test_id or outside of all (PV_NO_TEST).  outcome:
 * PV_FAIL when it fails that test, or the file (whose end event still has to say so), PV_OK when it is only
 * shown.  headline: one line, excerpt: some lines of the console, both harmless for a terminal.  Returns the
 * id for the call below.
 */
uint32_t pv_result_finding(struct pv_result *r, uint32_t test_id, const char *vm, enum pv_class cls,
                           enum pv_outcome outcome, const char *headline, const char *excerpt);
/* The finding's excerpt is shown as this text, which has source lines behind the symbols. */
void pv_result_finding_places(struct pv_result *r, uint32_t finding_id, const char *excerpt);
/* The test expected the finding, or handled it: reports no longer show it. */
void pv_result_finding_handled(struct pv_result *r, uint32_t finding_id);
/* One line for the user, shown once however many files send it. */
void pv_result_notice(struct pv_result *r, const char *line);
/*
 * A step of the timeline begins now, on the track of `vm` (NULL: the file's own track).  Returns an id for
 * its end: PV_NO_STEP, which pv_result_step_end accepts, when no report shows steps, or when the file has
 * sent as many as it may (the others are counted).  Steps may nest, and end in any order; a step without an
 * end is shown as unfinished.
 */
uint32_t pv_result_step_begin(struct pv_result *r, const char *vm, enum pv_step kind, const char *text);
void pv_result_step_end(struct pv_result *r, uint32_t id, bool ok);

/* Turns sending of steps on. */
void pv_result_want_steps(struct pv_result *r);
/*
 * `size` returns the length of a VM's console log in bytes, -1 when it has none; it is called at the begin
 * and end of each step on the VM's track.
 */
void pv_result_set_console_size(struct pv_result *r, int64_t (*size)(const char *vm, void *arg), void *arg);

/* The file's blocking operation ("booting vm1"), quoted when the file times out or its process dies. */
void pv_result_phase(struct pv_result *r, const char *phase);

/* Lines of --live have one of these kinds. */
enum pv_live_kind {
    PV_LIVE_CONSOLE,
    PV_LIVE_COMMAND, /* the text of a command that begins */
    PV_LIVE_STDOUT,
    PV_LIVE_STDERR,
    PV_LIVE_KINDS
};
/* Lines of a VM's console or of a command in it; bytes of the guest, without NUL. */
void pv_result_live(struct pv_result *r, const char *vm, enum pv_live_kind kind, const char *text);

/* A path's part in a run of the file, for --watch. */
enum pv_input_kind {
    PV_INPUT_FILE,
    PV_INPUT_TREE,  /* all below it */
    PV_INPUT_WROTE, /* the file writes it: reading it back is no input */
    PV_INPUT_KINDS
};
/* The file is about to read (or write) an absolute path; stamp: pv_stamp's from before it. */
void pv_result_input(struct pv_result *r, const char *path, enum pv_input_kind kind, uint64_t stamp);

/* The VM `vm` ("vm1 (minimal)") has entered a state: "booting", "running", "dead", ... */
void pv_result_vm(struct pv_result *r, const char *vm, const char *state);

/* --save-failed: the save of the file's VMs begins or is over; then the path, and which VMs were saved. */
void pv_result_saving(struct pv_result *r, bool on);
void pv_result_saved(struct pv_result *r, const char *path, const char *vms);
/* --vmcore: a core of the VM was written; vmlinux: the file with its kernel's symbols, "": not known. */
void pv_result_core(struct pv_result *r, const char *vm, const char *path, const char *format,
                    const char *vmlinux);

#endif
