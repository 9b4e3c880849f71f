/* SPDX-License-Identifier: MIT */
/*
 * CPU registers as QEMU's `info registers -a` prints them, and whether CPUs advance between several prints.
 * Pure.  Private to vm.
 *
 *     struct pv_cpus c = {0};
 *     while (pv_cpus_add(&c, text))    // one print each
 *         ...
 *     what = pv_cpus_judge(&c);
 */
#ifndef PV_VM_CPUS_H
#define PV_VM_CPUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_buf;

enum { PV_CPUS_MAX = 256, PV_CPUS_SAMPLES = 64, PV_CPUS_ENOUGH = 24 };

struct pv_cpu {
    uint64_t digest[PV_CPUS_SAMPLES]; /* of the general registers, instruction pointer and flags */
    uint64_t ip;                      /* of the last print */
    bool halted;                      /* in all prints */
};

/* Prints of one window. */
struct pv_cpus {
    struct pv_cpu *cpu;
    size_t n_cpus, n; /* prints */
};

enum pv_cpus_verdict {
    PV_CPUS_UNKNOWN,  /* fewer than PV_CPUS_ENOUGH prints, or some CPU advances */
    PV_CPUS_SPINNING, /* no CPU takes interrupts, none advances, and at least one runs */
    PV_CPUS_HALTED    /* all CPUs are halted for good: no CPU takes interrupts */
};

/*
 * Adds a print.  False when this window cannot show a guest that stands still: a CPU takes interrupts, the
 * number of CPUs has changed, the window is full, or the text is none that QEMU prints.
 */
bool pv_cpus_add(struct pv_cpus *c, const char *text);
/*
 * A CPU that spins takes the same states again and again; a loop that does something (memset, decompression, a
 * counter) does not, even where it takes no interrupts: half of all prints have to repeat an earlier one.
 */
enum pv_cpus_verdict pv_cpus_judge(const struct pv_cpus *c);
/* "CPU 0 at ffffffff81a04ffe, CPU 1 at ...", the first 8. */
void pv_cpus_places(const struct pv_cpus *c, struct pv_buf *out);
void pv_cpus_fini(struct pv_cpus *c); /* and zeroes */

#endif
