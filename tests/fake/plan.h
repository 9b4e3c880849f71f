/* SPDX-License-Identifier: MIT */
/*
 * The fault of one case, passed from the test to every fake QEMU of that case as `-fake FILE:NAME:N:ACTION`: at the
 * N-th message whose name is NAME ("*": any) the action is done.  FILE is shared memory that counts these messages
 * over all processes of the case, so that each case has one fault.
 */
#ifndef TESTS_FAKE_PLAN_H
#define TESTS_FAKE_PLAN_H

#include <stdatomic.h>

struct plan_shared {
    atomic_uint seen;  /* messages that fitted NAME */
    atomic_uint fired; /* the action has begun */
    atomic_uint done;  /* what it prints is on the console's socket */
};

#endif
