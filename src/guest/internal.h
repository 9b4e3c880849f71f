/* SPDX-License-Identifier: MIT */
/* Shared by the files of this room only. */
#ifndef PV_GUEST_INTERNAL_H
#define PV_GUEST_INTERNAL_H

#include "guest/guest.h"
#include "guest/session.h"

struct pv_vm;
struct pv_vsock;

struct pv_guest {
    const struct pv_guest_env *env;
    const struct pv_profile *profile;
    char *name;
    enum pv_guest_state state;
    char *log_path;
    struct pv_vm *vm;       /* from boot on; kept after its end for the console's tail */
    struct pv_vsock *vsock; /* while running */
    struct pv_session *session;
    bool stopping;    /* shutdown was asked for: an end is what we want */
    char *end_reason; /* why it is dead, once it is */
};

/* The one setter of the state: asserts that the step is a legal one, logs it. */
void pv_guest_set_state(struct pv_guest *g, enum pv_guest_state to);

/* "\n--- console of vm1 (last 20 lines) ---\n..." is added to the error's text. */
void pv_guest_add_console(const struct pv_guest *g, struct pv_err *err);

/*
 * Runs the loop until done(arg), the guest's death or the deadline.  0; 1 at the deadline (err untouched); -1
 * when the guest died, with the reason and the console's tail.
 */
int pv_guest_wait(struct pv_guest *g, bool (*done)(void *arg), void *arg, int64_t deadline,
                  struct pv_err *err);

/* Closes the channel and ends QEMU; the console's tail stays. */
void pv_guest_teardown(struct pv_guest *g);

/*
 * Makes sure that there is an open conversation: connects, retrying while nobody listens, until READY or the
 * deadline.  Errors: timeout, guest-died, protocol.
 */
int pv_guest_connect(struct pv_guest *g, int64_t deadline, struct pv_err *err);

/* Class usage, "cannot WHAT: vm1 (minimal) is STATE", unless it runs; notices a death. */
int pv_guest_check_running(struct pv_guest *g, const char *what, struct pv_err *err);

/* SHUTDOWN request; returns when the agent has acknowledged it. */
int pv_guest_ask_shutdown(struct pv_guest *g, int64_t deadline, struct pv_err *err);

#endif
