/* SPDX-License-Identifier: MIT */
#include "runner/plan.h"

#include <stdlib.h>

#include "util/mem.h"

struct entry {
    int64_t ns;
    size_t at;
};

static int longest_first(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    if (x->ns != y->ns)
        return x->ns > y->ns ? -1 : 1;
    return x->at < y->at ? -1 : 1;
}

void pv_plan_order(const int64_t *duration_ns, size_t n, size_t *order)
{
    cleanup_free struct entry *v = pv_xcalloc(n + 1, sizeof(*v));
    double sum = 0;
    size_t known = 0;

    for (size_t i = 0; i < n; i++)
        if (duration_ns[i] >= 0) {
            sum += (double)duration_ns[i];
            known++;
        }
    for (size_t i = 0; i < n; i++)
        v[i] = (struct entry){
            duration_ns[i] >= 0 ? duration_ns[i] : (int64_t)(sum / (double)(known ? known : 1)), i};
    qsort(v, n, sizeof(*v), longest_first);
    for (size_t i = 0; i < n; i++)
        order[i] = v[i].at;
}

unsigned pv_plan_jobs(const struct pv_plan_limits *l)
{
    size_t jobs = l->cpus / 2, most = PV_PLAN_JOBS_MAX;

    if (jobs < 2)
        jobs = 2;
    if (l->budget)
        jobs = l->files;
    if (l->descriptors < PV_PLAN_FDS_SPARE + (uint64_t)most * PV_PLAN_FDS_PER_JOB)
        most = l->descriptors > PV_PLAN_FDS_SPARE
                   ? (size_t)(l->descriptors - PV_PLAN_FDS_SPARE) / PV_PLAN_FDS_PER_JOB
                   : 1;
    if (jobs > most)
        jobs = most;
    if (jobs > l->files)
        jobs = l->files;
    return jobs ? (unsigned)jobs : 1;
}
