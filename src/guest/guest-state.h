/* SPDX-License-Identifier: MIT */
/*
 * The inside of a guest: its state machine, its waits.  Private to the room.
 *
 *   CREATED --begin--> BOOTING --running--> RUNNING
 *                         |                    |
 *                         +------- end --------+--> DEAD | SHUT_DOWN | KILLED --begin--> BOOTING
 *
 * begin also takes a RUNNING guest back to BOOTING (restore).  pv_guest_end alone sets a final state.  A
 * guest has an instance from pv_guest_adopt until its end or the next begin.
 */
#ifndef PV_GUEST_GUEST_STATE_H
#define PV_GUEST_GUEST_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/agent-conn.h"
#include "guest/end.h"
#include "guest/env.h"
#include "guest/nic.h"

struct pv_conlog;
struct pv_err;
struct pv_held;
struct pv_instance;
struct pv_machine;
struct pv_power_due;
struct pv_profile;
struct pv_recording;
struct pv_served;

/* A reboot that a call asked for. */
enum pv_asked { PV_ASKED_NOTHING, PV_ASKED_REBOOT, PV_ASKED_RESET };

/* life.c: of a guest that runs. */
struct pv_guest_life {
    bool paused;
    bool rebooting; /* the machine was reset, and the agent has not been met since */
    enum pv_asked asked;
    unsigned unwaited; /* resets that no call has waited for */
    const char *how; /* how the last run ended: "rebooted", "was reset"...; NULL: it was restored, or none */
    char *panic;     /* that led to the last reset; NULL: none */
    unsigned n_panics; /* resets by a panic */
};

/* reason: identity, life, and what outlives an instance: console, disks, NICs, the last machine */
struct pv_guest {
    const struct pv_guest_env *env;
    const struct pv_profile *profile;
    char *name;
    unsigned number;       /* of its own in this process, from 1 */
    struct pv_agent agent; /* its own agent process */
    unsigned n_workers;    /* spawned so far */
    enum pv_guest_state state;
    struct pv_instance *instance; /* NULL: none */
    struct pv_conlog *log;        /* the console of all its instances; NULL: no logs are kept */
    struct pv_guest_end end;      /* of the last instance, in a final state */
    unsigned generation;          /* how often it was restored or reset; outdates workers and waits */
    bool stopping;                /* shutdown was asked for: QEMU's exit is a shutdown, not a death */
    struct pv_recording *console; /* of all its runs */
    struct pv_guest_life life;
    const char *operation;     /* what a task does with the machine as a whole: "boot"; NULL: nothing */
    struct pv_instance *ended; /* ended by another task during that; freed with its end */
    bool lossy;                /* its CPUs are emulated in threads by a QEMU that loses changes of code */
    struct pv_held *held;      /* its open processes and followed files */
    struct pv_guest_nic nics[PV_VM_NICS_MAX]; /* by slot */
    int (*met_again)(struct pv_guest *g, int64_t deadline,
                     struct pv_err *err); /* after each reset; NULL: nothing */
    bool unknown;                         /* pv_guest_resume has not returned it yet: its findings are kept */
    bool standby;                         /* of the standby pool: no test knows it */
    struct pv_served *disks;              /* served ones; the last one first */
    struct pv_power_due *power_due;       /* NULL: no power cut is to come */
    struct pv_machine *last; /* of the last run that has ended, for a boot without options; NULL: none */
    bool last_serial;        /* its channel can be saved */
    bool last_waits;         /* for systemd */
};

/* pv_guest_new with a name of its own; takes it. */
struct pv_guest *pv_guest_new_named(const struct pv_guest_env *env, const struct pv_profile *profile,
                                    char *name);

/*
 * Brackets work on the machine as a whole (boot, snapshot, restore, reset) that waits: tasks run meanwhile.  A
 * second one fails, class usage: "cannot WHAT vm1: boot has not ended".  Another task may end the guest at any
 * time; the instance's memory stays valid until operation_end, so that waits on it can fail.
 */
int pv_guest_operation_begin(struct pv_guest *g, const char *what, struct pv_err *err);
void pv_guest_operation_end(struct pv_guest *g);

/* A new run begins: the instance and the end record of the last one are dropped. */
void pv_guest_begin(struct pv_guest *g);
/* Takes the instance; there is none (asserted). */
void pv_guest_adopt(struct pv_guest *g, struct pv_instance *i);
/* Passes the instance to the caller, without an observer; the guest has none. */
struct pv_instance *pv_guest_release(struct pv_guest *g);
/* The agent was met. */
void pv_guest_set_running(struct pv_guest *g);

/*
 * Ends the guest, whatever has ended it: kills QEMU, fills the end record, frees the instance, releases the
 * lease.  to: a final state; reason (copied): why it died, NULL: the end was asked for.  Idempotent: nothing
 * for a guest that neither boots nor runs.
 */
void pv_guest_end(struct pv_guest *g, enum pv_guest_state to, const char *reason);

/*
 * Waits, as pv_guest_decide_panic without a deadline, if the guest is about to be ended while it may have
 * panicked, and for a core that is due.
 */
void pv_guest_before_end(struct pv_guest *g);

/* For the built-in userland and a root that is the host's (shared): a host name, to be freed; NULL: it has its own. */
char *pv_guest_hostname(const struct pv_guest *g, bool shared);

/* A phase, for the observer. */
void pv_guest_phase(const struct pv_guest *g, const char *what);

/* "\n--- console of vm1 (last 20 lines) ---\n..." is added to the error's text. */
void pv_guest_add_console(const struct pv_guest *g, struct pv_err *err);

/*
 * Runs the loop until done(arg), the end of the instance or the deadline.  0; 1 at the deadline (err
 * untouched); -1 when the instance has ended: the guest has then ended too, and *err has the reason and the
 * console's tail.  A session that breaks is no end: see pv_agent_lost.
 */
int pv_guest_wait(struct pv_guest *g, bool (*done)(void *arg), void *arg, int64_t deadline,
                  struct pv_err *err);

/*
 * Returns rc, the result of a command of the monitor.  When it failed because QEMU is ending, *err becomes the reason of
 * that end, for which it waits at most 2 s.  The guest may have ended then.
 */
int pv_guest_monitor_result(struct pv_guest *g, int rc, struct pv_err *err);

/* When a wait of timeout_ns from now (0: endless) has to end: no later than env->until. */
int64_t pv_guest_deadline(const struct pv_guest *g, int64_t timeout_ns);
/* Class usage, "cannot boot: vm1 is running", unless it was never booted or has ended. */
int pv_guest_check_off(struct pv_guest *g, struct pv_err *err);
/* Class timeout when env->until has passed. */
int pv_guest_check_time(const struct pv_guest *g, const char *what, struct pv_err *err);

/*
 * Class usage, "cannot WHAT: vm1 (minimal) is STATE", unless its machine is on, paused or not; notices an end
 * that no call has met.
 */
int pv_guest_check_machine(struct pv_guest *g, const char *what, struct pv_err *err);
/* The same for calls to the guest: a paused one is refused. */
int pv_guest_check_running(struct pv_guest *g, const char *what, struct pv_err *err);

/* The machine was reset during a call: sets *err (class guest-died, of a panic or of the agent). Always -1. */
int pv_guest_reset_error(const struct pv_guest *g, struct pv_err *err);

/* ---- power.c ---- */

/* No power cut is to come any more. */
void pv_guest_power_forget(struct pv_guest *g);

/* ---- reset.c ---- */

/* For pv_instance_on_reset: arg is the guest. */
void pv_guest_on_reset(const char *panic, void *arg);

#endif
