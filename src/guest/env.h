/* SPDX-License-Identifier: MIT */
/*
 * pv_guest_env connects guests to the program around them: a description of the host, a client of the memory
 * and CPU pool, an observer.  Pool and observer are optional as a whole (zeroed) and callback by callback.
 */
#ifndef PV_GUEST_ENV_H
#define PV_GUEST_ENV_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "vm/findings.h"

struct pv_err;
struct pv_guest;
struct pv_guest_death;
struct pv_loop;
struct pv_standby_pool;

enum pv_guest_state {
    PV_GUEST_CREATED,
    PV_GUEST_BOOTING,
    PV_GUEST_RUNNING,
    PV_GUEST_DEAD,
    PV_GUEST_SHUT_DOWN,
    PV_GUEST_KILLED
};

/* "not booted", "booting", "running", "dead", "shut down", "killed" */
const char *pv_guest_state_name(enum pv_guest_state s);

struct pv_guest_host {
    struct pv_loop *loop;
    enum pv_accel accel;              /* --accel; auto: the profile decides */
    enum pv_transport auto_transport; /* what auto means in profile and boot call: auto is vsock */
    const char *log_dir;              /* console logs go here as vm1-PROFILE.log ...; NULL: none are kept */
};

/* Client of the pool of memory (bytes) and CPUs.  A lease is known by its VM's name.  NULL: no limit. */
struct pv_pool_client {
    /*
     * Blocks (runs the loop) until the lease is granted.  0, or -1 with *err (class usage: unsatisfiable).
     * standby: NULL, or the name of the standby VM whose lease becomes this one.
     */
    int (*acquire)(const char *vm, uint64_t memory, unsigned cpus, const char *standby, void *arg,
                   struct pv_err *err);
    void (*release)(const char *vm, void *arg);
    /* A lease for a standby VM, granted at once or refused. */
    int (*try_acquire)(const char *vm, uint64_t memory, unsigned cpus, void *arg, struct pv_err *err);
    /* The pool may kill this process at any time from now on to get the standby VM's lease back. */
    void (*preemptible)(const char *vm, int pidfd, void *arg);
    /* Ends that: 0, and the standby VM is not preempted any more; -1 when it is gone. */
    int (*claim)(const char *vm, void *arg, struct pv_err *err);
    void *arg;
};

/* Where bytes of a guest come from. */
enum pv_output {
    PV_OUTPUT_CONSOLE,
    PV_OUTPUT_COMMAND, /* a command begins: its text */
    PV_OUTPUT_STDOUT,
    PV_OUTPUT_STDERR
};

/* Told from the loop or from within calls.  No callback may call into guests. */
struct pv_guest_observer {
    void (*notice)(const char *line, void *arg);                /* for the user, once ("no KVM: ...") */
    void (*phase)(const char *vm, const char *what, void *arg); /* a log was begun, or a call to a guest */
    /* The kernel of a guest reports something (vm/findings.h). */
    void (*finding)(const struct pv_guest *g, const struct pv_finding *finding, void *arg);
    /* A boot of g is about to read this file of the host. */
    void (*reads)(const struct pv_guest *g, const char *path, void *arg);
    void (*state)(const struct pv_guest *g, enum pv_guest_state state, void *arg);
    /*
     * A run of the guest is over, and its console was read to the end.  Before the change of state.  death: the machine
     * failed while it ran (end.h), which no call may have met; NULL: it did not.
     */
    void (*ended)(const struct pv_guest *g, bool panicked, const struct pv_guest_death *death, void *arg);
    /*
     * Bytes of the console, or of a command, as they come, in pieces.  source: equal for the pieces of one stream of
     * output, and no pointer to follow.  n 0: its end.
     */
    void (*output)(const struct pv_guest *g, const void *source, enum pv_output kind, const void *data,
                   size_t n, void *arg);
    void *arg;
};

/* Cores of guests whose kernel has failed (guest/core.h).  All NULL: none are written. */
struct pv_guest_cores {
    /* As of struct pv_vm_core_ops (vm/core.h): a descriptor, or -1; and how it went. */
    int (*open)(const struct pv_guest *g, void *arg);
    void (*done)(const struct pv_guest *g, const char *format, const char *failure, void *arg);
    void *arg;
};

/* Coverage of guests' kernels by KCOV.  NULL: none is asked for. */
struct pv_guest_coverage {
    /* Addresses of the kernel's code, as its vmlinux has them, that a call's command or system call has executed; full:
     * there were more.  Told as an observer is. */
    void (*executed)(const struct pv_guest *g, const uint64_t *pcs, size_t n, bool full, void *arg);
    void *arg;
};

struct pv_guest_env {
    struct pv_guest_host host;
    struct pv_pool_client pool;
    struct pv_guest_observer observer;
    struct pv_guest_cores cores;
    struct pv_guest_coverage coverage;
    struct pv_standby_pool *standby_pool; /* NULL: every VM is made when it is asked for */
    /*
     * Absolute: calls and boots give up then (class timeout), and new ones are refused; 0: no limit.  May be
     * changed between calls.  Waiting for the pool does not count.
     */
    int64_t until;
    /* Code beside this one may make calls to the same guests, in tasks of the loop (call.h). */
    bool tasks;
};

#endif
