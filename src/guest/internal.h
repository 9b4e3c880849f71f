/* SPDX-License-Identifier: MIT */
/* Shared by the files of this room only. */
#ifndef PV_GUEST_INTERNAL_H
#define PV_GUEST_INTERNAL_H

#include "guest/agent-conn.h"
#include "guest/guest.h"
#include "guest/session.h"
#include "util/err.h"

struct pv_machine;
struct pv_snapshot;
struct pv_vm;
struct pv_vm_spec;
struct pv_channel;
struct pv_vsock_device;

struct pv_guest {
    const struct pv_guest_env *env;
    const struct pv_profile *profile;
    char *name;
    struct pv_agent agent; /* its own agent process */
    unsigned n_workers;    /* spawned so far */
    bool probing;          /* pv_agent_lost asks the agent how a process ended */
    enum pv_guest_state state;
    char *log_path;
    unsigned generation;        /* how often it was restored */
    struct pv_machine *machine; /* from boot or resume on */
    int memory_fd;              /* its memory, if that is a file of its own; else -1 */
    struct pv_snapshot *base;   /* what it was resumed from, or NULL */
    struct pv_vm *vm;           /* from boot on, until it has ended */
    struct {                    /* of one that has ended */
        char *tail;             /* the last lines of its console, as pv_guest_console_tail; NULL: none */
        enum pv_err_died died;
        bool panicked, panic_suspected;
    } remains;
    struct pv_channel *channel; /* while running */
    struct pv_vsock_device
        *own_vsock;   /* what is plugged in, with machine->hotplug_port (plug.c); else NULL */
    unsigned own_cid; /* its CID, also while it is not plugged in; 0: none yet */
    bool taken;       /* memory and CPUs, from env->pool.acquire */
    bool graced;      /* its channel broke, and it was given the time to die of what broke it */
    bool stopping;    /* shutdown was asked for: an end is what we want */
    char *end_reason; /* why it is dead, once it is */
};

/* The one setter of the state: asserts that the step is a legal one, logs it. */
void pv_guest_set_state(struct pv_guest *g, enum pv_guest_state to);

/* pv_guest_new with a name of its own; takes it. */
struct pv_guest *pv_guest_new_named(const struct pv_guest_env *env, const struct pv_profile *profile,
                                    char *name);

/* Tells env->observer.finding of what comes on the console of g->vm, which has just been started. */
void pv_guest_watch_findings(struct pv_guest *g);

/* g has got vm, vsock and session of another guest. */
void pv_guest_moved(struct pv_guest *g);

/* "\n--- console of vm1 (last 20 lines) ---\n..." is added to the error's text. */
void pv_guest_add_console(const struct pv_guest *g, struct pv_err *err);

/*
 * Runs the loop until done(arg), the VM's death or the deadline.  0; 1 at the deadline (err untouched); -1
 * when the VM died, with the reason and the console's tail.  A session that breaks is no death: see
 * pv_agent_lost.
 */
int pv_guest_wait(struct pv_guest *g, bool (*done)(void *arg), void *arg, int64_t deadline,
                  struct pv_err *err);

/* When a wait of timeout_ns from now (0: endless) has to end: no later than env->until. */
int64_t pv_guest_deadline(const struct pv_guest *g, int64_t timeout_ns);
/* Class timeout when env->until has passed. */
int pv_guest_check_time(const struct pv_guest *g, const char *what, struct pv_err *err);

/*
 * Takes memory and CPUs from the pool (waits for them): the first thing that a boot and a resume do, before
 * their deadline is reckoned.  pv_guest_teardown gives them back.  Taken before: nothing.  standby: as in
 * env->pool.acquire.
 */
int pv_guest_take(struct pv_guest *g, uint64_t memory, unsigned cpus, const char *standby,
                  struct pv_err *err);

/* ---- the steps of a resume (resume.c) ---- */

int pv_resume_start(struct pv_guest *g, const struct pv_snapshot *s, struct pv_err *err);
/* Loads the devices and lets it run; the agent has been met afterwards. */
int pv_resume_load(struct pv_guest *g, const struct pv_snapshot *s, int64_t deadline, struct pv_err *err);
/* Tells it the time, and gives it randomness of its own. */
int pv_resume_meet(struct pv_guest *g, int64_t deadline, struct pv_err *err);

/* ---- plug.c: a vsock device for the guest's own use ---- */

unsigned pv_guest_random_cid(void);
/* Plugs one in; the machine, which has the port for it (machine->hotplug_port), may be stopped. */
int pv_guest_plug(struct pv_guest *g, int64_t deadline, struct pv_err *err);
/*
 * Waits until the driver in the guest, which runs, is up.  When it does not come, class timeout says what is
 * missing, as far as the agent can tell.  Nothing where none is plugged in.
 */
int pv_guest_plug_wait(struct pv_guest *g, int64_t deadline, struct pv_err *err);
/* Takes it out of the machine, which must run; nothing where none is plugged in. */
int pv_guest_unplug(struct pv_guest *g, int64_t deadline, struct pv_err *err);
/* QEMU has ended. */
void pv_guest_plug_end(struct pv_guest *g);
/* With the QEMU of `from`, that of `to` now. */
void pv_guest_plug_move(struct pv_guest *from, struct pv_guest *to);

/*
 * The memory of a machine that is to be saved or shared, a new file of the machine's size, for *spec.  With a
 * hotplug port it is one that a vsock device's back end accepts (vhost.h).
 */
int pv_guest_make_memory(struct pv_guest *g, const struct pv_machine *m, struct pv_vm_spec *spec,
                         struct pv_err *err);

/* Starts QEMU, with a console log if logs are kept, and watches it; the vsock's descriptor is QEMU's then. */
int pv_guest_start_vm(struct pv_guest *g, const struct pv_vm_spec *spec, struct pv_err *err);

/*
 * Closes the channel and ends QEMU, gives back what was taken.  What stays is small: the last lines of the
 * console and how it ended.
 */
void pv_guest_teardown(struct pv_guest *g);

/* Class usage, "cannot WHAT: vm1 (minimal) is STATE", unless it runs; notices a death. */
int pv_guest_check_running(struct pv_guest *g, const char *what, struct pv_err *err);

#endif
