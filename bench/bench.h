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
/* The p-quantile (0..1) of n values; sorts them. */
double quantile(double *v, size_t n, double p);
/* Milliseconds since a pv_now() time. */
double ms_since(int64_t start);
/* Executes /bin/true in the guest. */
void exec_true(struct pv_guest *g);

/* The guest API against a bare vsock in the same VM. */
void bench_api(const struct pv_guest_env *env, const struct pv_profile *p);

/* Resuming a snapshot, against booting and against QEMU by hand. */
void bench_resume(const struct pv_guest_env *env, const struct pv_profile *p);

/* Requests in tasks, and boots at once.  Changes env->tasks. */
void bench_tasks(struct pv_guest_env *env, const struct pv_profile *p);

/* VM to VM, the switch alone, boots with and without the bridge for NICs.  Changes env->tasks. */
void bench_net(struct pv_guest_env *env, const struct pv_profile *p);

/* A disk with faults against a raw file, states of a recording; no VM. */
void bench_disk(void);

/* Writing, finding and verifying an entry of the fixture cache; no VM. */
void bench_cache(void);

#endif
