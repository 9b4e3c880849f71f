/* SPDX-License-Identifier: MIT */
/* Inside a fixture's builder process. */
#ifndef PV_TESTFILE_BUILDER_MAIN_H
#define PV_TESTFILE_BUILDER_MAIN_H

#include <stdbool.h>

#include "childproto/result.h"

struct pv_err;
struct pv_testfile;
struct tf_build_opts;
struct tf_guest;

/* The child's argument, on its parent's stack. */
struct tf_builder_start {
    const struct pv_testfile *asker; /* the parent's: read only */
    const struct tf_build_opts *o;
    bool has_lease;
};

/*
 * pv_child_opts.main; arg is a tf_builder_start.  Descriptors: the result at PV_CHILD_FDS, the pool's behind
 * it. The parent's Lua state and guests are in this process's memory too; they are left as they are.
 */
void pv_tf_builder_main(void *arg);

/* How the script ended. */
struct tf_script_end {
    bool ok;              /* it returned, or left by skip() or todo() */
    enum pv_class cls;    /* of an error */
    const char *text;     /* of an error */
    struct tf_guest *vm;  /* its result; NULL: no VM */
    const char *returned; /* the type of a result that is no VM, for a message; NULL: no result */
};

/*
 * Ends the build: saves the machine into the store, ends all VMs, and tells the asker the outcome, or why
 * there is none.  The caller closes tf.
 */
void pv_tf_builder_end(struct pv_testfile *tf, const struct tf_script_end *end);
/* Tells the asker that the build could not be begun. */
void pv_tf_builder_fail(struct pv_testfile *tf, const struct pv_err *err);
/* The script called os.exit: the build fails with msg, and the process ends. */
_Noreturn void pv_tf_builder_exit(struct pv_testfile *tf, const char *msg);

#endif
