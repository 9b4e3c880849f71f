/* SPDX-License-Identifier: MIT */
/* The last command of a sub-test, for its error messages: a failed command is often why a check fails. */
#ifndef PV_TESTFILE_COMMAND_H
#define PV_TESTFILE_COMMAND_H

#include <stdbool.h>

struct pv_buf;

struct tf_command {
    char vm[96], title[124];
    char words[64]; /* "exit code 1"; "": no failed command, or it has been told */
    char err[300];  /* the end of its stderr */
};

/* A command ended.  Forgets the one before; keeps this one when it failed. err may be NULL. */
void pv_tf_command_note(struct tf_command *c, const char *vm, const char *title, int code, bool timed_out,
                        const struct pv_buf *err);

#endif
