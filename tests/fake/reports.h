/* SPDX-License-Identifier: MIT */
/* Kernel reports for the fake guest's console, as lines without time stamps, and the class of each. */
#ifndef TESTS_FAKE_REPORTS_H
#define TESTS_FAKE_REPORTS_H

#define REPORT_PANIC_LINE "Kernel panic - not syncing: the fake kernel gives up"
#define REPORT_PANIC_END "---[ end Kernel panic - not syncing: the fake kernel gives up ]---"

#define REPORT_TRACE "Call Trace:\n <TASK>\n fake+0x1/0x2\n </TASK>\n---[ end trace 0000000000000000 ]---"

static const struct fake_report {
    const char *name;
    const char *cls; /* as in reports */
    const char *text;
} fake_reports[] = {
    {"null", "guest-oops", "BUG: kernel NULL pointer dereference, address: 0000000000000000\n" REPORT_TRACE},
    {"paging", "guest-oops", "BUG: unable to handle page fault for address: ffffc90000000000\n" REPORT_TRACE},
    {"gpf", "guest-oops",
     "general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP\n" REPORT_TRACE},
    {"bug", "guest-oops", "kernel BUG at mm/fake.c:12!\n" REPORT_TRACE},
    {"kasan", "guest-oops", "BUG: KASAN: slab-out-of-bounds in fake+0x1/0x2\n====="},
    {"kfence", "guest-oops", "BUG: KFENCE: use-after-free read in fake+0x1/0x2\n====="},
    {"atomic", "guest-oops", "BUG: scheduling while atomic: fake/1/0x2\n" REPORT_TRACE},
    {"softlockup", "guest-oops", "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [fake:1]\n" REPORT_TRACE},
    {"hung", "guest-oops", "INFO: task fake:1 blocked for more than 120 seconds.\n" REPORT_TRACE},
    {"lockdep", "guest-oops",
     "WARNING: possible circular locking dependency detected\nfake/1 is trying to acquire lock:"},
    {"rcu", "guest-oops", "rcu: INFO: rcu_sched self-detected stall on CPU\n" REPORT_TRACE},
    {"warning", "guest-warning", "WARNING: CPU: 0 PID: 1 at kernel/fake.c:1 fake+0x1/0x2\n" REPORT_TRACE},
    {"ubsan", "guest-warning", "UBSAN: array-index-out-of-bounds in kernel/fake.c:1:2\n====="},
    {0},
};

#endif
