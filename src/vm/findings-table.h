/* SPDX-License-Identifier: MIT */
/* How a kernel report begins and ends: the table that findings.c reads lines by.  Private to vm. */
#ifndef PV_VM_FINDINGS_TABLE_H
#define PV_VM_FINDINGS_TABLE_H

#include <stdbool.h>

#include "vm/findings.h"

/* The line that ends a report. */
enum pv_report_end {
    PV_REPORT_END_NOW,   /* none: it has one line */
    PV_REPORT_END_TRACE, /* "---[ end trace" */
    PV_REPORT_END_TASK,  /* "</TASK>" */
    PV_REPORT_END_FRAME, /* "=====", or the end of a trace */
    PV_REPORT_END_OOM,   /* the line that names the killed process */
    PV_REPORT_END_PANIC
};

enum {
    PV_REPORT_FAULT = 1, /* a line with "[#1]" belongs to the report before it when that has none yet */
};

/* A message fits that begins with `start` (NULL: with any text) and holds `part` behind it. */
struct pv_report_row {
    const char *start, *part;
    enum pv_finding_kind kind;
    enum pv_report_end end;
    unsigned flags;
};

/* The first row that fits a message; NULL: none. */
const struct pv_report_row *pv_report_row_of(const char *message);

/* True for the text of a panic that the kernel raises because of something that it has reported before. */
bool pv_report_is_consequence(const char *panic);

/* True if a line ends a report of that row. */
bool pv_report_ends(const struct pv_report_row *row, const char *message);

/* "=====": frames a report of a sanitizer. */
bool pv_report_is_frame(const char *message);

#endif
