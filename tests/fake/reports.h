/* SPDX-License-Identifier: MIT */
/*
 * Kernel reports for the fake guest's console, and the class of each.  Each line gets a time stamp, unless the text has
 * its own ("raw"): other configurations of printk, and lines of two CPUs that alternate.
 */
#ifndef TESTS_FAKE_REPORTS_H
#define TESTS_FAKE_REPORTS_H

#include <stdbool.h>

#define REPORT_PANIC_LINE "Kernel panic - not syncing: the fake kernel gives up"
#define REPORT_PANIC_END "---[ end Kernel panic - not syncing: the fake kernel gives up ]---"

#define REPORT_TRACE "Call Trace:\n <TASK>\n fake+0x1/0x2\n </TASK>\n---[ end trace 0000000000000000 ]---"

static const struct fake_report {
    const char *name;
    const char *cls; /* as in reports */
    const char *text;
    bool raw;
    bool program; /* a program's words, which are not in the kernel's log */
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
    {"kcsan", "guest-oops", "BUG: KCSAN: data-race in fake_read / fake_write\n====="},
    {"kmsan", "guest-oops", "BUG: KMSAN: uninit-value in fake+0x1/0x2\n====="},
    {"hardlockup", "guest-oops", "watchdog: Watchdog detected hard LOCKUP on cpu 1\n" REPORT_TRACE},
    {"rcu-expedited", "guest-oops",
     "rcu: INFO: rcu_sched detected expedited stalls on CPUs/tasks: { 1-... } 5250 jiffies s: 81 root: "
     "0x2/.\n"},
    {"oom", "guest-oops", "Out of memory: Killed process 99 (fake) total-vm:1kB, anon-rss:1kB\n"},
    {"bad-page", "guest-oops", "BUG: Bad page state in process fake  pfn:00001\n" REPORT_TRACE},
    {"refcount", "guest-warning",
     "refcount_t: underflow; use-after-free.\nWARNING: CPU: 0 PID: 1 at lib/refcount.c:28 "
     "fake+0x1/0x2\n" REPORT_TRACE},
    {"caller", "guest-oops",
     "[    9.000001][  T123] BUG: KASAN: slab-out-of-bounds in fake+0x1/0x2\r\n"
     "[    9.000002][  T123] Read of size 1 at addr ffff888000000000 by task fake/123\r\n",
     true},
    {"level", "guest-oops",
     "<1>[    9.000001] BUG: unable to handle page fault for address: ffffc90000000000\r\n", true},
    {"crcrlf", "guest-oops", "[    9.000001] kernel BUG at mm/fake.c:12!\r\r\n", true},
    {"two-cpus", "guest-oops",
     "[    9.000001][    C0] BUG: kernel NULL pointer dereference, address: 0000000000000000\r\n"
     "[    9.000001][    C1] fake: a driver's line\r\n"
     "[    9.000002][    C0] #PF: supervisor read access in kernel mode\r\n"
     "[    9.000002][    C1] fake: another one\r\n"
     "[    9.000003][    C0] Oops: 0000 [#1] PREEMPT SMP\r\n",
     true},
    {"unfinished", "guest-oops", "[    9.000001] BUG: spinlock bad magic on CPU#0, fake/1", true},
    {"no-time", "guest-oops",
     "BUG: kernel NULL pointer dereference, address: 0000000000000000\r\n#PF: supervisor read access\r\n",
     true},
    {"no-time-vague", "guest-oops", "BUG: spinlock bad magic on CPU#0, fake/1\r\n", true},
    {"program", "",
     "BUG: kernel NULL pointer dereference, address: 0000000000000000\r\nBUG: of a program\r\n", true, true},
    {0},
};

#endif
