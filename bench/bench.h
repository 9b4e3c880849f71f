/* SPDX-License-Identifier: MIT */
/* Shared by the benchmarks. */
#ifndef PV_BENCH_BENCH_H
#define PV_BENCH_BENCH_H

#include <stddef.h>
#include <stdint.h>

#include "guest/agent.h"
#include "guest/guest.h"

struct pv_err;

/* Ends the program with the error when r < 0. */
void must(int r, const struct pv_err *err);
/* The p-th fraction of n values, which it sorts. */
double quantile(double *v, size_t n, double p);
double ms_since(int64_t start);
void exec_true(struct pv_guest *g);

/* What the guest API costs over a bare vsock in the same VM. */
void bench_api(const struct pv_guest_env *env, const struct pv_profile *p);

/* Resuming a machine that stands still, against booting it and against QEMU by hand. */
void bench_resume(const struct pv_guest_env *env, const struct pv_profile *p);

/* Writing, finding and verifying an entry of the fixture cache; no VM. */
void bench_cache(void);

#endif
