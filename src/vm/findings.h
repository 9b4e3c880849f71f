/* SPDX-License-Identifier: MIT */
/*
 * What a guest's kernel complains of on its console: panic, oops, BUG, KASAN, lockdep, hung task, OOM,
 * WARNING...  A reader of lines: it is fed what the console's line assembler makes (harmless for a terminal,
 * at most 511 bytes), remembers one unfinished report and a few hashes, and tells of each report once.
 *
 * What can be told: kernel lines are known by their time stamp ("[   12.345678] "), as long as the kernel
 * prints one; a complaint counts only at the start of a message.  A program that writes "BUG: ..." to the
 * console is not taken for the kernel then; one that writes the stamp as well is, and so is one that writes
 * the kernel's own words while the kernel prints no stamps (printk.time=0).
 *
 *     struct pv_findings *f = pv_findings_new(on_finding, arg);
 *     pv_findings_line(f, "[    2.1] BUG: kernel NULL pointer dereference, address: ...", n);
 *     pv_findings_flush(f);      on_finding was called
 *     pv_findings_free(f);
 */
#ifndef PV_VM_FINDINGS_H
#define PV_VM_FINDINGS_H

#include <stdbool.h>
#include <stddef.h>

enum pv_finding_kind {
    PV_FINDING_PANIC,
    PV_FINDING_OOPS, /* bad access, general protection, divide error, double fault... */
    PV_FINDING_BUG,  /* "kernel BUG at", and every other "BUG: " */
    PV_FINDING_KASAN,
    PV_FINDING_KFENCE,
    PV_FINDING_KMSAN,
    PV_FINDING_KCSAN,
    PV_FINDING_SLUB, /* slub_debug */
    PV_FINDING_LIST, /* list corruption */
    PV_FINDING_BAD_PAGE,
    PV_FINDING_LOCKDEP,
    PV_FINDING_ATOMIC, /* sleeping or scheduling where that is forbidden */
    PV_FINDING_HUNG_TASK,
    PV_FINDING_SOFT_LOCKUP,
    PV_FINDING_HARD_LOCKUP,
    PV_FINDING_RCU_STALL,
    PV_FINDING_WORKQUEUE, /* workqueue lockup */
    PV_FINDING_OOM,
    PV_FINDING_OOM_CGROUP, /* of a memory cgroup: its limit did its work */
    PV_FINDING_WARNING,
    PV_FINDING_REFCOUNT,
    PV_FINDING_UBSAN,
    PV_FINDING_PAGE_ALLOC,
    PV_FINDING_LEAK,   /* kmemleak */
    PV_FINDING_NETDEV, /* unregister_netdevice waits */
    PV_FINDING_IRQ,    /* nobody cared */
    PV_FINDING_KINDS
};

enum pv_severity { PV_SEV_WARNING, PV_SEV_OOPS, PV_SEV_PANIC };

/* "panic", "oops", "kasan", "hung-task", ... */
const char *pv_finding_kind_name(enum pv_finding_kind kind);
enum pv_severity pv_finding_severity(enum pv_finding_kind kind);

struct pv_finding {
    enum pv_finding_kind kind;
    bool follows;         /* a panic that is what came of the finding before it ("Fatal exception") */
    const char *headline; /* one line without the stamp, at most PV_FINDING_HEADLINE bytes */
    const char *excerpt;  /* the report as on the console, its middle left out when it is long */
};

enum { PV_FINDING_HEADLINE = 400, PV_FINDING_HEAD_LINES = 40, PV_FINDING_TAIL_LINES = 12 };

struct pv_findings;

/* fn is called from within the two functions below; its strings live as long as the call. */
struct pv_findings *pv_findings_new(void (*fn)(const struct pv_finding *finding, void *arg), void *arg);
/* NULL is fine; tells nothing. */
void pv_findings_free(struct pv_findings *f);
/* The next line, without its end. */
void pv_findings_line(struct pv_findings *f, const char *line, size_t n);
/* Tells of a report that has not come to its end, as it is; what more of it comes makes no new one. */
void pv_findings_flush(struct pv_findings *f);

#endif
