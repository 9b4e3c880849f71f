/* SPDX-License-Identifier: MIT */
/* KCOV of a guest: what its kernel executes for a command or a system call, for --coverage.  Private to the room. */
#ifndef PV_GUEST_KCOV_H
#define PV_GUEST_KCOV_H

#include <stdbool.h>

struct pv_dec;
struct pv_err;
struct pv_guest;

/* The environment wants it. */
bool pv_kcov_wanted(const struct pv_guest *g);
/* A COVERAGE frame, behind its id: told to the environment.  0; -1 with *err: it is malformed, or was not asked for. */
int pv_kcov_frame(const struct pv_guest *g, struct pv_dec *d, struct pv_err *err);

#endif
