/* SPDX-License-Identifier: MIT */
/* The end record of a guest, which outlives its ended instance.  Private to src/guest. */
#ifndef PV_GUEST_END_H
#define PV_GUEST_END_H

#include <stdbool.h>

#include "util/err.h"

struct pv_guest_end {
    char *reason;          /* why a dead guest died, one sentence; NULL: the end was asked for */
    enum pv_err_died died; /* what an error that reports this end says */
    bool panicked;         /* its kernel panicked */
    bool sigkilled;        /* QEMU ended by SIGKILL */
    bool failed;           /* as pv_vm_failed */
    char *panic;           /* panic hint: the text of the console's panic line; NULL: none */
    char *tail;            /* its last console lines; NULL: none */
};

/* A machine that failed (pv_vm_failed); borrowed. */
struct pv_guest_death {
    const char *reason;    /* one sentence */
    const char *tail;      /* its last console lines; NULL: none */
    enum pv_err_died died; /* as in pv_guest_end */
};

/* Frees and zeroes. */
void pv_guest_end_fini(struct pv_guest_end *e);

#endif
