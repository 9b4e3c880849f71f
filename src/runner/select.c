/* SPDX-License-Identifier: MIT */
#include "runner/select.h"

#include <inttypes.h>
#include <string.h>

#include "runner/history.h"
#include "util/err.h"

/* splitmix64: short, and the same on every machine. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void pv_shuffle(void *base, size_t n, size_t size, uint64_t seed)
{
    cleanup_free char *t = pv_xmalloc(size);
    char *v = base;

    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)(next_random(&seed) % i);

        memcpy(t, v + (i - 1) * size, size);
        memmove(v + (i - 1) * size, v + j * size, size);
        memcpy(v + j * size, t, size);
    }
}

/* Keeps the files for which `keep` is true, in their order. */
static void keep_some(struct pv_test_list *l, const bool *keep)
{
    size_t kept = 0;

    for (size_t i = 0; i < l->n; i++)
        if (keep[i])
            l->v[kept++] = l->v[i];
        else
            pv_test_file_fini(&l->v[i]);
    l->n = kept;
}

static int keep_failed(const struct pv_history *h, struct pv_selection *s, struct pv_err *err)
{
    cleanup_free bool *keep = pv_xcalloc(s->files.n, sizeof(*keep));
    size_t before = s->files.n;

    if (!*pv_history_path(h))
        return pv_err_set(err, PV_E_USAGE,
                          "--rerun-failed: earlier runs are not recorded, because the cache is not used; set "
                          "XDG_CACHE_HOME to a directory of your own, or name a file with --history");
    if (!pv_history_known(h))
        return pv_err_set(
            err, PV_E_USAGE,
            "--rerun-failed: no earlier run of this project is recorded here, in %s; run the tests "
            "without it first",
            pv_history_path(h));
    for (size_t i = 0; i < s->files.n; i++)
        keep[i] = pv_history_failed(h, s->files.v[i].path);
    keep_some(&s->files, keep);
    if (s->files.n)
        pv_strv_addf(&s->notes, "--rerun-failed: %zu of %zu files", s->files.n, before);
    else
        pv_strv_addf(&s->notes, "--rerun-failed: none of the %zu files failed when it last ran", before);
    return 0;
}

static void keep_shard(const struct pv_shard *shard, const struct pv_history *h, struct pv_selection *s)
{
    size_t n = s->files.n;
    cleanup_free struct pv_shard_file *files = pv_xcalloc(n, sizeof(*files));
    cleanup_free unsigned *shard_of = pv_xcalloc(n, sizeof(*shard_of));
    cleanup_free bool *keep = pv_xcalloc(n, sizeof(*keep));

    for (size_t i = 0; i < n; i++)
        files[i] = (struct pv_shard_file){s->files.v[i].name, pv_history_duration(h, s->files.v[i].path)};
    pv_shard_divide(files, n, shard->count, shard_of);
    for (size_t i = 0; i < n; i++)
        keep[i] = shard_of[i] == shard->index - 1;
    keep_some(&s->files, keep);
    pv_strv_addf(&s->notes, "shard %u/%u: %zu of %zu files", shard->index, shard->count, s->files.n, n);
}

int pv_select(const struct pv_select_opts *o, const struct pv_history *h, struct pv_selection *out,
              struct pv_err *err)
{
    if (pv_find_tests(&o->paths, &o->rule, &o->only, o->allow_none, &out->files, err) < 0)
        return -1;
    if (out->files.n == 0)
        pv_strv_add(&out->notes, "there are no test files, which --allow-none allows");
    if (o->rerun_failed && keep_failed(h, out, err) < 0)
        return -1;
    for (size_t i = 0; i < out->files.n; i++)
        pv_strv_add(&out->all, out->files.v[i].name);
    if (o->shard.count)
        keep_shard(&o->shard, h, out);
    if (o->shuffle) {
        pv_shuffle(out->files.v, out->files.n, sizeof(*out->files.v), o->seed);
        pv_strv_addf(&out->notes, "shuffled; --shuffle=%" PRIu64 " gives this order again", o->seed);
    }
    return 0;
}

void pv_selection_free(struct pv_selection *s)
{
    pv_test_list_free(&s->files);
    pv_strv_free(&s->all);
    pv_strv_free(&s->notes);
}
