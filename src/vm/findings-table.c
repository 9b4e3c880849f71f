/* SPDX-License-Identifier: MIT */
/*
 * The shapes are those of Linux 4.19 to 6.12, taken from real consoles and the kernel's documentation; see
 * tests/consoles.
 */
#include "vm/findings-table.h"

#include <string.h>

#include "util/mem.h"

static const struct {
    const char *name;
    enum pv_severity severity;
} kinds[] = {
    [PV_FINDING_PANIC] = {"panic", PV_SEV_PANIC},
    [PV_FINDING_OOPS] = {"oops", PV_SEV_OOPS},
    [PV_FINDING_BUG] = {"bug", PV_SEV_OOPS},
    [PV_FINDING_KASAN] = {"kasan", PV_SEV_OOPS},
    [PV_FINDING_KFENCE] = {"kfence", PV_SEV_OOPS},
    [PV_FINDING_KMSAN] = {"kmsan", PV_SEV_OOPS},
    [PV_FINDING_KCSAN] = {"kcsan", PV_SEV_OOPS},
    [PV_FINDING_SLUB] = {"slub", PV_SEV_OOPS},
    [PV_FINDING_LIST] = {"list-corruption", PV_SEV_OOPS},
    [PV_FINDING_BAD_PAGE] = {"bad-page", PV_SEV_OOPS},
    [PV_FINDING_LOCKDEP] = {"lockdep", PV_SEV_OOPS},
    [PV_FINDING_ATOMIC] = {"atomic", PV_SEV_OOPS},
    [PV_FINDING_HUNG_TASK] = {"hung-task", PV_SEV_OOPS},
    [PV_FINDING_SOFT_LOCKUP] = {"soft-lockup", PV_SEV_OOPS},
    [PV_FINDING_HARD_LOCKUP] = {"hard-lockup", PV_SEV_OOPS},
    [PV_FINDING_RCU_STALL] = {"rcu-stall", PV_SEV_OOPS},
    [PV_FINDING_WORKQUEUE] = {"workqueue-lockup", PV_SEV_OOPS},
    [PV_FINDING_OOM] = {"oom", PV_SEV_OOPS},
    [PV_FINDING_OOM_CGROUP] = {"oom-cgroup", PV_SEV_WARNING},
    [PV_FINDING_WARNING] = {"warning", PV_SEV_WARNING},
    [PV_FINDING_REFCOUNT] = {"refcount", PV_SEV_WARNING},
    [PV_FINDING_UBSAN] = {"ubsan", PV_SEV_WARNING},
    [PV_FINDING_PAGE_ALLOC] = {"page-alloc", PV_SEV_WARNING},
    [PV_FINDING_LEAK] = {"memory-leak", PV_SEV_WARNING},
    [PV_FINDING_NETDEV] = {"netdev-leak", PV_SEV_WARNING},
    [PV_FINDING_IRQ] = {"irq", PV_SEV_WARNING},
    [PV_FINDING_LOST] = {"console-lost", PV_SEV_WARNING},
};
_Static_assert(PV_ARRAY_LEN(kinds) == PV_FINDING_KINDS, "describe every kind");

const char *pv_finding_kind_name(enum pv_finding_kind kind)
{
    return kinds[kind].name;
}

enum pv_severity pv_finding_severity(enum pv_finding_kind kind)
{
    return kinds[kind].severity;
}

static const struct pv_report_row rows[] = {
    {"Kernel panic - not syncing", NULL, PV_FINDING_PANIC, PV_REPORT_END_PANIC, 0},

    {"BUG: KASAN: ", NULL, PV_FINDING_KASAN, PV_REPORT_END_FRAME, 0},
    {"BUG: KFENCE: ", NULL, PV_FINDING_KFENCE, PV_REPORT_END_FRAME, 0},
    {"BUG: KMSAN: ", NULL, PV_FINDING_KMSAN, PV_REPORT_END_FRAME, 0},
    {"BUG: KCSAN: ", NULL, PV_FINDING_KCSAN, PV_REPORT_END_FRAME, 0},
    {"UBSAN: ", " in ", PV_FINDING_UBSAN, PV_REPORT_END_FRAME, 0},
    {"BUG ", "ainted", PV_FINDING_SLUB, PV_REPORT_END_TASK, 0},

    {"BUG: kernel NULL pointer dereference", NULL, PV_FINDING_OOPS, PV_REPORT_END_TRACE, 0},
    {"BUG: unable to handle ", NULL, PV_FINDING_OOPS, PV_REPORT_END_TRACE, 0},
    {"BUG: ", "stack guard page was hit", PV_FINDING_OOPS, PV_REPORT_END_TRACE, 0},
    {"Unable to handle kernel ", NULL, PV_FINDING_OOPS, PV_REPORT_END_TRACE, 0},
    {"kernel BUG at ", NULL, PV_FINDING_BUG, PV_REPORT_END_TRACE, 0},
    {"Oops: ", "[#", PV_FINDING_OOPS, PV_REPORT_END_TRACE, PV_REPORT_FAULT},
    {"general protection fault", "[#", PV_FINDING_OOPS, PV_REPORT_END_TRACE, PV_REPORT_FAULT},
    {"divide error: ", "[#", PV_FINDING_OOPS, PV_REPORT_END_TRACE, PV_REPORT_FAULT},
    {"invalid opcode: ", "[#", PV_FINDING_OOPS, PV_REPORT_END_TRACE, PV_REPORT_FAULT},
    {"stack segment: ", "[#", PV_FINDING_OOPS, PV_REPORT_END_TRACE, PV_REPORT_FAULT},
    {"double fault: ", "[#", PV_FINDING_OOPS, PV_REPORT_END_TRACE, PV_REPORT_FAULT},
    {"int3: ", "[#", PV_FINDING_OOPS, PV_REPORT_END_TRACE, PV_REPORT_FAULT},
    {"alignment check: ", "[#", PV_FINDING_OOPS, PV_REPORT_END_TRACE, PV_REPORT_FAULT},
    {"bounds: ", "[#", PV_FINDING_OOPS, PV_REPORT_END_TRACE, PV_REPORT_FAULT},
    {"segment not present: ", "[#", PV_FINDING_OOPS, PV_REPORT_END_TRACE, PV_REPORT_FAULT},
    {"invalid TSS: ", "[#", PV_FINDING_OOPS, PV_REPORT_END_TRACE, PV_REPORT_FAULT},
    {"control protection fault: ", "[#", PV_FINDING_OOPS, PV_REPORT_END_TRACE, PV_REPORT_FAULT},
    {"stack guard page: ", "[#", PV_FINDING_OOPS, PV_REPORT_END_TRACE, PV_REPORT_FAULT},
    {"kernel stack overflow ", "[#", PV_FINDING_OOPS, PV_REPORT_END_TRACE, PV_REPORT_FAULT},
    {"PANIC: double fault", NULL, PV_FINDING_OOPS, PV_REPORT_END_TRACE, 0},
    {"traps: PANIC: double fault", NULL, PV_FINDING_OOPS, PV_REPORT_END_TRACE, 0},

    {"BUG: sleeping function called from invalid context", NULL, PV_FINDING_ATOMIC, PV_REPORT_END_TASK, 0},
    {"BUG: scheduling while atomic: ", NULL, PV_FINDING_ATOMIC, PV_REPORT_END_TASK, 0},
    {"BUG: Bad page ", NULL, PV_FINDING_BAD_PAGE, PV_REPORT_END_TASK, 0},
    {"BUG: workqueue lockup ", NULL, PV_FINDING_WORKQUEUE, PV_REPORT_END_TRACE, 0},
    {"watchdog: BUG: soft lockup ", NULL, PV_FINDING_SOFT_LOCKUP, PV_REPORT_END_TASK, 0},
    {"BUG: soft lockup ", NULL, PV_FINDING_SOFT_LOCKUP, PV_REPORT_END_TASK, 0},
    {NULL, "Watchdog detected hard LOCKUP on cpu", PV_FINDING_HARD_LOCKUP, PV_REPORT_END_TASK, 0},
    {"[ BUG: Invalid wait context ]", NULL, PV_FINDING_LOCKDEP, PV_REPORT_END_TASK, 0},
    {"BUG: bad unlock balance detected", NULL, PV_FINDING_LOCKDEP, PV_REPORT_END_TASK, 0},
    {"BUG: held lock freed", NULL, PV_FINDING_LOCKDEP, PV_REPORT_END_TASK, 0},
    {"BUG: ", NULL, PV_FINDING_BUG, PV_REPORT_END_TASK, 0},

    {"WARNING: possible ", "lock", PV_FINDING_LOCKDEP, PV_REPORT_END_TASK, 0},
    {"WARNING: inconsistent lock state", NULL, PV_FINDING_LOCKDEP, PV_REPORT_END_TASK, 0},
    {"WARNING: bad unlock balance detected", NULL, PV_FINDING_LOCKDEP, PV_REPORT_END_TASK, 0},
    {"WARNING: bad contention detected", NULL, PV_FINDING_LOCKDEP, PV_REPORT_END_TASK, 0},
    {"WARNING: held lock freed", NULL, PV_FINDING_LOCKDEP, PV_REPORT_END_TASK, 0},
    {"WARNING: lock held when returning to user space", NULL, PV_FINDING_LOCKDEP, PV_REPORT_END_TASK, 0},
    {"WARNING: Nested lock was not taken", NULL, PV_FINDING_LOCKDEP, PV_REPORT_END_TASK, 0},
    {"WARNING: ", "-unsafe lock order detected", PV_FINDING_LOCKDEP, PV_REPORT_END_TASK, 0},
    {"WARNING: suspicious RCU usage", NULL, PV_FINDING_LOCKDEP, PV_REPORT_END_TASK, 0},
    {"INFO: trying to register non-static key", NULL, PV_FINDING_LOCKDEP, PV_REPORT_END_TASK, 0},

    {"INFO: task ", " blocked for more than ", PV_FINDING_HUNG_TASK, PV_REPORT_END_TASK, 0},
    {"rcu: INFO: rcu_", "stall", PV_FINDING_RCU_STALL, PV_REPORT_END_TASK, 0},
    {"INFO: rcu_", "stall", PV_FINDING_RCU_STALL, PV_REPORT_END_TASK, 0},

    {NULL, " invoked oom-killer: ", PV_FINDING_OOM, PV_REPORT_END_OOM, 0},
    {"Memory cgroup out of memory: ", NULL, PV_FINDING_OOM_CGROUP, PV_REPORT_END_NOW, 0},
    {"Out of memory: Killed process ", NULL, PV_FINDING_OOM, PV_REPORT_END_NOW, 0},
    {"Out of memory", "Kill", PV_FINDING_OOM, PV_REPORT_END_NOW, 0},

    {"list_add corruption", NULL, PV_FINDING_LIST, PV_REPORT_END_TRACE, 0},
    {"list_del corruption", NULL, PV_FINDING_LIST, PV_REPORT_END_TRACE, 0},
    {"list_add double add", NULL, PV_FINDING_LIST, PV_REPORT_END_TRACE, 0},
    {"refcount_t: ", NULL, PV_FINDING_REFCOUNT, PV_REPORT_END_TRACE, 0},
    {"WARNING: ", NULL, PV_FINDING_WARNING, PV_REPORT_END_TRACE, 0},
    {"unchecked MSR access error: ", NULL, PV_FINDING_WARNING, PV_REPORT_END_TASK, 0},
    {NULL, ": page allocation failure: order:", PV_FINDING_PAGE_ALLOC, PV_REPORT_END_TASK, 0},
    {"kmemleak: ", " new suspected memory leaks", PV_FINDING_LEAK, PV_REPORT_END_NOW, 0},
    {"unregister_netdevice: waiting for ", NULL, PV_FINDING_NETDEV, PV_REPORT_END_NOW, 0},
    {"irq ", ": nobody cared", PV_FINDING_IRQ, PV_REPORT_END_TASK, 0},
};

const struct pv_report_row *pv_report_row_of(const char *message)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(rows); i++) {
        const struct pv_report_row *r = &rows[i];
        size_t n = r->start ? strlen(r->start) : 0;

        if (r->start && (message[0] != r->start[0] || strncmp(message, r->start, n) != 0))
            continue;
        if (r->part && !strstr(message + n, r->part))
            continue;
        return r;
    }
    return NULL;
}

bool pv_report_is_consequence(const char *panic)
{
    static const char *const consequences[] = {
        "Fatal exception",   "panic_on_warn set", "hung_task: blocked tasks",
        "softlockup: hung",  "RCU Stall",         "Hard LOCKUP",
        "out of memory",     "Out of memory",     "Attempted to kill init! exitcode=0x0000000",
        "Fatal hardware",    "stack guard",       "workqueue: panic_on",
        "System is deadlock"};

    for (size_t i = 0; i < PV_ARRAY_LEN(consequences); i++)
        if (strstr(panic, consequences[i]))
            return true;
    return false;
}

bool pv_report_is_frame(const char *message)
{
    return !strncmp(message, "=====", 5);
}

bool pv_report_ends(const struct pv_report_row *row, const char *message)
{
    while (*message == ' ')
        message++;
    if (!strncmp(message, "---[ end ", 9))
        return true;
    switch (row->end) {
    case PV_REPORT_END_TASK:
        return !strncmp(message, "</TASK>", 7);
    case PV_REPORT_END_FRAME:
        return pv_report_is_frame(message);
    case PV_REPORT_END_PANIC:
        return !strncmp(message, "Rebooting in ", 13) || !strncmp(message, "Kernel Offset: ", 15);
    case PV_REPORT_END_NOW:
    case PV_REPORT_END_TRACE:
    case PV_REPORT_END_OOM:
        break;
    }
    return false;
}
