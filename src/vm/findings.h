/* SPDX-License-Identifier: MIT */
/*
 * Findings: the kernel reports that a guest prints on its console, such as panic, oops, BUG, KASAN, lockdep,
 * hung task, OOM and WARNING.  The reader is fed the console's lines (harmless for a terminal, at most 511
 * bytes), keeps one unfinished report and a few hashes, and tells each report once.
 *
 * A kernel line has a time stamp ("[   12.345678] "), and a report begins at the start of a message.  A report
 * whose first line has no stamp is the kernel's (printk.time=0) or a program's, which the console cannot tell: the
 * finding is "unstamped", and the kernel's own log decides.
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
#include <stdint.h>

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
    PV_FINDING_OOM_CGROUP, /* a memory cgroup's limit was hit */
    PV_FINDING_WARNING,
    PV_FINDING_REFCOUNT,
    PV_FINDING_UBSAN,
    PV_FINDING_PAGE_ALLOC,
    PV_FINDING_LEAK,   /* kmemleak */
    PV_FINDING_NETDEV, /* unregister_netdevice waits for a reference */
    PV_FINDING_IRQ,    /* nobody cared */
    PV_FINDING_LOST,   /* console output that was not read in time: reports may be missing */
    PV_FINDING_KINDS
};

enum pv_severity { PV_SEV_WARNING, PV_SEV_OOPS, PV_SEV_PANIC };

/* "panic", "oops", "kasan", "hung-task", ... */
const char *pv_finding_kind_name(enum pv_finding_kind kind);
enum pv_severity pv_finding_severity(enum pv_finding_kind kind);

struct pv_finding {
    enum pv_finding_kind kind;
    bool follows;         /* a panic that the finding before it caused ("Fatal exception") */
    const char *headline; /* one line without the stamp, at most PV_FINDING_HEADLINE bytes */
    const char *excerpt;  /* the report as on the console, its middle left out when it is long */
    const char *first;    /* the message of its first line; NULL: not known */
    bool unstamped;       /* that line had no time stamp */
    uint64_t after_us;    /* the last stamp on the console before that line; 0: none */
};

enum { PV_FINDING_HEADLINE = 400, PV_FINDING_HEAD_LINES = 40, PV_FINDING_TAIL_LINES = 12 };

struct pv_findings;

/* pv_findings_line and _flush call fn; the strings of a finding live as long as that call. */
struct pv_findings *pv_findings_new(void (*fn)(const struct pv_finding *finding, void *arg), void *arg);
/* Drops an unfinished report; NULL is fine. */
void pv_findings_free(struct pv_findings *f);
/* The next line, without its end. */
void pv_findings_line(struct pv_findings *f, const char *line, size_t n);
/* Tells that output may be missing after what was read and `size` bytes more. */
void pv_findings_lost(struct pv_findings *f, int size);
/* Tells an unfinished report as it is; its further lines make no new finding. */
void pv_findings_flush(struct pv_findings *f);

#endif
