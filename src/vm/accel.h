/* SPDX-License-Identifier: MIT */
/* Whether KVM accelerates here, and the rate of the host's TSC. */
#ifndef PV_VM_ACCEL_H
#define PV_VM_ACCEL_H

#include <stdbool.h>
#include <stdint.h>

struct pv_accel_probe {
    bool kvm;      /* KVM works and is fast */
    bool works;    /* KVM runs guest code, be it slowly: for who asks for KVM */
    char why[256]; /* one line for people in either case: "KVM works", "no /dev/kvm", "/dev/kvm is there but
                         runs guest code 1,200 times slower than hardware: software emulation is used" */
    uint32_t tsc_khz; /* the host's TSC rate, 0: unknown (no invariant TSC) */
};

/*
 * Probes /dev/kvm by running a 64-bit guest (a few ms) and measures the TSC's rate; the cache directory keeps the
 * result per boot of the host (boot ID).  Never fails; without a cache directory it probes each time.
 */
void pv_accel_probe(struct pv_accel_probe *out);

/* Probes without reading or writing the cached result: for doctor and tests. */
void pv_accel_probe_now(struct pv_accel_probe *out);

/* The length of what `why` says about KVM, without what follows from it ("... : software emulation is used"). */
int pv_accel_fact_len(const struct pv_accel_probe *p);

#endif
