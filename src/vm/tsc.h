/* SPDX-License-Identifier: MIT */
/* The rate of the host's time stamp counter.  Private to vm. */
#ifndef PV_VM_TSC_H
#define PV_VM_TSC_H

#include <stdint.h>

struct pv_tsc_sample {
    uint64_t ticks;
    int64_t ns;        /* pv_now() at that tick */
    int64_t asleep_ns; /* how long the host has been suspended since its boot, to some microseconds */
};

/* True if the counter runs at one rate in all power states (CPUID 0x80000007, EDX bit 8). */
int pv_tsc_invariant(void);

/* One reading of counter and clock together, the best of many. Takes a few microseconds. */
struct pv_tsc_sample pv_tsc_sample(void);

/*
 * The rate in kHz from a sample taken earlier and one taken now; sleeps until 20 ms lie between.  0 when the
 * counter is not invariant or the result is out of range.  When the host was suspended since the earlier sample, it
 * is another one, of now: the counter may have gone on meanwhile, or begun anew, and the clock stood still.
 */
uint32_t pv_tsc_measured_khz(const struct pv_tsc_sample *start);

/*
 * The same, or the exact rate of CPUID (leaf 0x15, the hypervisor's 0x40000010) if it agrees with the
 * measurement to 0.1 %.
 */
uint32_t pv_tsc_khz_since(const struct pv_tsc_sample *start);

#endif
