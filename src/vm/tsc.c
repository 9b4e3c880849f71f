/* SPDX-License-Identifier: MIT */
/*
 * Counter and clock cannot be read at one instant, so a sample reads the clock between two readings of the
 * counter, many times, and keeps the narrowest bracket: the error is then some tens of nanoseconds, a few
 * parts per million of 20 ms.
 */
#include "vm/tsc.h"

#include <cpuid.h>
#include <errno.h>
#include <stdbool.h>
#include <time.h>
#include <x86intrin.h>

#include "util/clock.h"

enum { BRACKETS = 64, TRIES = 3, SPAN_MS = 20, KHZ_MIN = 100000, KHZ_MAX = 20000000 };
/* A suspension is longer, what lies between the readings of two clocks shorter. */
#define ASLEEP_ERROR (5 * PV_NSEC_PER_MSEC)

int pv_tsc_invariant(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & (1U << 8));
}

/* CLOCK_BOOTTIME is CLOCK_MONOTONIC with the time that the host was suspended; a pause between makes that less. */
static int64_t asleep(void)
{
    int64_t most = INT64_MIN;

    for (int i = 0; i < TRIES; i++) {
        int64_t boot = pv_boot_now(), ns = boot - pv_now();

        most = ns > most ? ns : most;
    }
    return most;
}

static bool slept_between(const struct pv_tsc_sample *a, const struct pv_tsc_sample *b)
{
    return b->asleep_ns - a->asleep_ns > ASLEEP_ERROR;
}

struct pv_tsc_sample pv_tsc_sample(void)
{
    struct pv_tsc_sample best = {.ticks = 0};
    int64_t asleep_ns = asleep();
    uint64_t width = UINT64_MAX;

    for (int i = 0; i < BRACKETS; i++) {
        uint64_t before = __rdtsc(), after;
        int64_t ns = pv_now();

        after = __rdtsc();
        if (after - before < width) {
            width = after - before;
            best = (struct pv_tsc_sample){before + width / 2, ns, asleep_ns};
        }
    }
    return best;
}

/* The rate that the CPU or the hypervisor declares, in kHz; 0: none. */
static uint64_t khz_from_cpuid(void)
{
    unsigned a, b, c, d;

    /* Leaf 0x15 (Intel SDM, "Time Stamp Counter and Nominal Core Crystal Clock"): crystal Hz * EBX / EAX. */
    if (__get_cpuid_max(0, NULL) >= 0x15) {
        __cpuid(0x15, a, b, c, d);
        if (a && b && c)
            return (uint64_t)c * b / a / 1000;
    }
    /* The hypervisors' timing leaf: EAX is the TSC's kHz. Only where CPUID.1 ECX bit 31 says hypervisor. */
    if (__get_cpuid(1, &a, &b, &c, &d) && (c & (1U << 31))) {
        __cpuid(0x40000000, a, b, c, d);
        if (a >= 0x40000010 && a < 0x40010000) {
            __cpuid(0x40000010, a, b, c, d);
            return a;
        }
    }
    return 0;
}

/* A sample at least SPAN_MS after start. */
static struct pv_tsc_sample sample_after(const struct pv_tsc_sample *start)
{
    int64_t until = start->ns + SPAN_MS * PV_NSEC_PER_MSEC;
    struct timespec ts = {until / PV_NSEC_PER_SEC, until % PV_NSEC_PER_SEC};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
        ;
    return pv_tsc_sample();
}

uint32_t pv_tsc_measured_khz(const struct pv_tsc_sample *start)
{
    struct pv_tsc_sample from = *start, end;
    double khz;

    if (!pv_tsc_invariant())
        return 0;
    end = sample_after(&from);
    for (int i = 0; i < TRIES && slept_between(&from, &end); i++) {
        from = end;
        end = sample_after(&from);
    }
    if (slept_between(&from, &end) || end.ticks <= from.ticks || end.ns <= from.ns)
        return 0;
    khz = (double)(end.ticks - from.ticks) * 1e6 / (double)(end.ns - from.ns) + 0.5;
    return khz >= KHZ_MIN && khz <= KHZ_MAX ? (uint32_t)khz : 0;
}

uint32_t pv_tsc_khz_since(const struct pv_tsc_sample *start)
{
    uint32_t khz = pv_tsc_measured_khz(start);
    uint64_t told = khz ? khz_from_cpuid() : 0;

    return told > khz - khz / 1000 && told < khz + khz / 1000 ? (uint32_t)told : khz;
}
