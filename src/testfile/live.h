/* SPDX-License-Identifier: MIT */
/*
 * --live: output of the file's VMs goes to the supervisor as it comes, in whole lines.  A line whose end does not
 * come within a fifth of a second (a prompt) is sent without it.
 */
#ifndef PV_TESTFILE_LIVE_H
#define PV_TESTFILE_LIVE_H

#include <stddef.h>

#include "guest/env.h"
#include "loop/loop.h"

struct pv_testfile;
struct tf_live_line;

struct tf_live {
    struct tf_live_line *lines; /* without their ends, one for each source */
    struct pv_timer quiet;
    struct pv_testfile *tf;
};

/* The observer's `output`; arg: the file. */
void pv_tf_live_output(const struct pv_guest *g, const void *source, enum pv_output kind, const void *data,
                       size_t n, void *arg);
/* Sends the lines that have no end yet. */
void pv_tf_live_flush(struct pv_testfile *tf);

#endif
