/* SPDX-License-Identifier: MIT */
/*
 * A fixture's builder as the process that asks for the fixture sees it: a supervised child (child/child.h) in
 * which the script runs, with a loop, a Lua state and VMs of its own.  It ends with the machine in the store.
 */
#ifndef PV_TESTFILE_BUILDER_H
#define PV_TESTFILE_BUILDER_H

#include <stdint.h>

#include "child/child.h"
#include "childproto/result.h"
#include "testfile/tails.h"

struct pv_err;
struct pv_testfile;

enum tf_build_outcome {
    TF_BUILD_RUNNING,
    TF_BUILD_DONE,
    TF_BUILD_FAILED,
    TF_BUILD_MOVED,   /* an input changed meanwhile; the text says which */
    TF_BUILD_SKIPPED, /* the script called skip() */
    TF_BUILD_TODO,
    TF_BUILD_DIED /* the process ended without an outcome; the text says how */
};

struct tf_build {
    const char *name; /* of the fixture */
    struct pv_child child;
    enum tf_build_outcome outcome;
    enum pv_class cls; /* of a failure */
    char *text;        /* of an outcome other than DONE */
    char *phase;       /* of the script (timeline.h); NULL: none yet */
    char *log_dir;     /* of its console logs; NULL: none */
    struct tf_tails tails;
    unsigned n_tails; /* that the process has sent */
    void (*on_phase)(const char *phase, void *arg);
    void *arg;
};

struct tf_build_opts {
    const char *name, *script; /* of the fixture; the script's path absolute, without links */
    int64_t deadline;          /* of the whole build */
    /* Runs tf->path in the builder, and ends with pv_tf_builder_end. */
    void (*run_script)(struct pv_testfile *tf);
};

/*
 * Forks the builder; b is zeroed, and must stay where it is.  The loop does the rest: b->outcome tells when.
 * The caller holds the fixture's lock.
 */
int pv_tf_build_start(struct tf_build *b, struct pv_testfile *tf, const struct tf_build_opts *o,
                      struct pv_err *err);
/* Kills it; b->tails gets the ends of its consoles. */
void pv_tf_build_kill(struct tf_build *b);
/* Kills the builder if it still runs, frees all members.  Idempotent; b may never have been started. */
void pv_tf_build_fini(struct tf_build *b);

#endif
