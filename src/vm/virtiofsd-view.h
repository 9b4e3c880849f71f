/* SPDX-License-Identifier: MIT */
/* The view that a virtiofsd has of the host.  Private to vm. */
#ifndef PV_VM_VIRTIOFSD_VIEW_H
#define PV_VM_VIRTIOFSD_VIEW_H

#include <stdbool.h>

struct pv_virtiofsd_view {
    const char *dir; /* what is shared */
    const char
        *place; /* a directory on which it is mounted in a mount namespace of its own; NULL: no namespace */
    bool writable;
};

/* A directory that can be `place` for a daemon of this program; NULL: there is none. */
const char *pv_virtiofsd_place(const char *program);

/*
 * As `prepare` of pv_spawn, for a view: makes the namespace, and raises the limit of open files as far as it goes.  What
 * fails is told on standard error.
 */
int pv_virtiofsd_enter(const void *view);

#endif
