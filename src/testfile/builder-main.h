/* SPDX-License-Identifier: MIT */
/* Inside a fixture's builder process. */
#ifndef PV_TESTFILE_BUILDER_MAIN_H
#define PV_TESTFILE_BUILDER_MAIN_H

#include <sys/types.h>

#include "childproto/result.h"

struct pv_err;
struct pv_lease;
struct pv_testfile;
struct tf_build_opts;

/*
 * The forked child.  sock: its end of the link; lease: its handle on the pool, whose VMs count as the file's
 * (NULL: no pool).  Nothing of `asker`, which is the parent's, is changed or freed.
 */
_Noreturn void pv_tf_builder_main(const struct pv_testfile *asker, const struct tf_build_opts *o, int sock,
                                  struct pv_lease *lease, pid_t parent);

/* How the script ended. */
struct tf_script_end {
    bool ok;           /* it returned, or left by skip() or todo() */
    enum pv_class cls; /* of an error */
    const char *text;  /* of an error */
    /* what it returned: a VM of the file, or NULL; and then the word for it, NULL when it returned nothing */
    struct tf_guest *vm;
    const char *returned;
};

/*
 * Ends the build: saves the machine into the store, ends all VMs, and tells the asker the outcome, or why there
 * is none.  The caller closes tf.
 */
void pv_tf_builder_end(struct pv_testfile *tf, const struct tf_script_end *end);
/* Tells the asker that the build could not be begun. */
void pv_tf_builder_fail(struct pv_testfile *tf, const struct pv_err *err);
/* The script called os.exit: the build fails with msg, and the process ends. */
_Noreturn void pv_tf_builder_exit(struct pv_testfile *tf, const char *msg);

#endif
