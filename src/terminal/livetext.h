/* SPDX-License-Identifier: MIT */
/* Output of files and their VMs as it comes (--live), as text for people.  Pure. */
#ifndef PV_TERMINAL_LIVETEXT_H
#define PV_TERMINAL_LIVETEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "report/report.h"

struct pv_buf;

struct pv_livetext {
    const char *file; /* NULL: not shown, because there is one file only */
    const char *vm;   /* NULL: output of the file itself */
    enum pv_live_kind kind;
    bool color;
};

/*
 * Adds text[n] in lines of their own, each behind file, VM and a sign of its kind: "a.lua vm1 | ", harmless for a
 * terminal: escape sequences are dropped, a CR ends a line.
 */
void pv_livetext_add(struct pv_buf *out, const struct pv_livetext *t, const char *text, size_t n);

#endif
