/* SPDX-License-Identifier: MIT */
/* The fixture cache: writing, finding and verifying an entry with 100 MiB of data in 512 MiB of memory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/bench.h"
#include "fixture/store.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

enum { RUNS = 7, USED_MIB = 100, ALL_MIB = 512 };

static int make_memory(void)
{
    int fd = memfd_create("bench", MFD_CLOEXEC);
    char *mib = pv_xmalloc(1 << 20);
    struct pv_err err = PV_ERR_INIT;

    if (fd < 0 || ftruncate(fd, (off_t)ALL_MIB << 20) < 0)
        must(pv_err_sys(&err, errno, "no memory file"), &err);
    for (int i = 0; i < USED_MIB; i++) {
        for (size_t k = 0; k < 1 << 20; k += 8)
            *(uint64_t *)(void *)(mib + k) = (k + 1 + (uint64_t)i) * UINT64_C(0x9e3779b97f4a7c15);
        if (pwrite(fd, mib, 1 << 20, (off_t)(i * 5) << 20) != 1 << 20)
            must(pv_err_sys(&err, errno, "no memory file"), &err);
    }
    free(mib);
    return fd;
}

struct times {
    double add[RUNS], commit[RUNS], find[RUNS], verify[RUNS];
};

static void bench_entry(struct pv_store *s, int i, int memory, struct times *t)
{
    struct pv_fixture_id id = {.name = "bench", .project = "/", .script = "/bench", .variant = NULL};
    struct pv_recipe *r = pv_recipe_new(s, &id);
    struct pv_err err = PV_ERR_INIT;
    struct pv_build *b = pv_build_new(s, r, &err);
    struct pv_entry *e = NULL;
    int64_t start = pv_now();
    char value[16];

    snprintf(value, sizeof(value), "%d", i);
    must(b ? pv_recipe_string(r, "i", value, &err) : -1, &err);
    must(pv_build_add(b, "memory", memory, &err), &err);
    t->add[i] = ms_since(start);
    start = pv_now();
    e = pv_build_commit(b, "{}", &err);
    must(e ? 0 : -1, &err);
    t->commit[i] = ms_since(start);
    pv_entry_close(e);
    pv_build_free(b);
    pv_recipe_free(r);
    start = pv_now();
    must(pv_store_find(s, &id, NULL, &e, NULL, &err) - 1, &err);
    t->find[i] = ms_since(start);
    start = pv_now();
    must(pv_entry_verify(e, 0, &err), &err);
    t->verify[i] = ms_since(start);
    pv_entry_close(e);
}

void bench_cache(void)
{
    char dir[] = "/tmp/provium-bench.XXXXXX";
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *had = getenv("XDG_CACHE_HOME") ? pv_xstrdup(getenv("XDG_CACHE_HOME")) : NULL;
    cleanup_close int memory = make_memory();
    struct pv_store *s = NULL;
    struct times t;
    double verify;

    if (mkdtemp(dir) && setenv("XDG_CACHE_HOME", dir, 1) == 0)
        s = pv_store_open(PV_STORE_SIZE, &err);
    must(s ? 0 : -1, &err);
    for (int i = 0; i < RUNS; i++)
        bench_entry(s, i, memory, &t);
    verify = quantile(t.verify, RUNS, 0.5);
    printf("fixture cache, %d MiB used of %d MiB of memory, %d runs, in /tmp\n", USED_MIB, ALL_MIB, RUNS);
    printf("  copying in with digests     median %7.1f ms (%.1f GB/s)\n", quantile(t.add, RUNS, 0.5),
           USED_MIB * 1.048576 / quantile(t.add, RUNS, 0.5));
    printf("  commit, flushed to disk     median %7.1f ms\n", quantile(t.commit, RUNS, 0.5));
    printf("  finding and opening         median %7.2f ms\n", quantile(t.find, RUNS, 0.5));
    printf("  verifying all of it         median %7.1f ms (%.1f GB/s), once an hour and after changes\n",
           verify, USED_MIB * 1.048576 / verify);
    pv_store_free(s);
    pv_rm_rf(dir);
    if (had)
        setenv("XDG_CACHE_HOME", had, 1);
    else
        unsetenv("XDG_CACHE_HOME");
}
