/* SPDX-License-Identifier: MIT */
/* The shard of this run, from --shard or from the environment variables of a job engine. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "runner/shard.h"
#include "util/err.h"
#include "util/mem.h"

/* Engines with one variable for the index and one for the count. */
static const struct engine {
    const char *name, *index, *total;
    unsigned first; /* index of the first shard */
} engines[] = {
    {"Kubernetes", "JOB_COMPLETION_INDEX", "PROVIUM_SHARDS", 0},
    {"GitLab", "CI_NODE_INDEX", "CI_NODE_TOTAL", 1},
    {"CircleCI", "CIRCLE_NODE_INDEX", "CIRCLE_NODE_TOTAL", 0},
    {"Buildkite", "BUILDKITE_PARALLEL_JOB", "BUILDKITE_PARALLEL_JOB_COUNT", 0},
};

static const char *env_value(const char *name)
{
    const char *v = getenv(name);

    return v && *v ? v : NULL;
}

/* Parses a number of digits only, at most `max`. */
static bool text_number(const char *s, size_t len, unsigned max, unsigned *out)
{
    unsigned long v = 0;

    if (len == 0 || len > 9 || strspn(s, "0123456789") < len)
        return false;
    for (size_t i = 0; i < len; i++)
        v = v * 10 + (unsigned)(s[i] - '0');
    *out = (unsigned)v;
    return v <= max;
}

static int env_number(const char *name, unsigned max, unsigned *out, struct pv_err *err)
{
    const char *v = env_value(name);

    if (!v)
        return pv_err_set(err, PV_E_USAGE, "%s is not set", name);
    if (!text_number(v, strlen(v), max, out))
        return pv_err_set(err, PV_E_USAGE, "%s is '%s'; expected a number up to %u", name, v, max);
    return 0;
}

/* 1: *out is set; 0: the engine's variables are absent; -1 with *err: they are invalid. */
static int engine_shard(const struct engine *e, struct pv_shard *out, struct pv_err *err)
{
    unsigned index = e->first;

    if (!env_value(e->index) && !env_value(e->total))
        return 0;
    if (env_number(e->total, PV_SHARDS_MAX, &out->count, err) < 0)
        goto bad;
    /* without `parallel` GitLab sets the count to 1, and no index */
    if ((out->count != 1 || env_value(e->index)) && env_number(e->index, PV_SHARDS_MAX, &index, err) < 0)
        goto bad;
    if (index < e->first || index - e->first >= out->count) {
        pv_err_set(err, PV_E_USAGE, "%s is %u and %s is %u; expected an index from %u to %u", e->index, index,
                   e->total, out->count, e->first, out->count ? out->count - 1 + e->first : e->first);
        goto bad;
    }
    out->index = index - e->first + 1;
    return 1;
bad:
    return pv_err_wrap(err, "%s", e->name);
}

/* The array has the tasks MIN, MIN + STEP, ... MAX; without gaps their number is COUNT. */
static int slurm_shard(struct pv_shard *out, struct pv_err *err)
{
    enum { LARGEST = 100 * 1000 * 1000 };
    unsigned id, min, max, step = 1;

    if (!env_value("SLURM_ARRAY_TASK_ID"))
        return 0;
    if (env_number("SLURM_ARRAY_TASK_ID", LARGEST, &id, err) < 0 ||
        env_number("SLURM_ARRAY_TASK_MIN", LARGEST, &min, err) < 0 ||
        env_number("SLURM_ARRAY_TASK_MAX", LARGEST, &max, err) < 0 ||
        env_number("SLURM_ARRAY_TASK_COUNT", PV_SHARDS_MAX, &out->count, err) < 0 ||
        (env_value("SLURM_ARRAY_TASK_STEP") && env_number("SLURM_ARRAY_TASK_STEP", LARGEST, &step, err) < 0))
        return pv_err_wrap(err, "Slurm");
    if (step == 0 || id < min || id > max || (id - min) % step || (max - min) / step + 1 != out->count)
        return pv_err_set(err, PV_E_USAGE,
                          "Slurm: task %u of an array from %u to %u in steps of %u with %u tasks "
                          "(SLURM_ARRAY_TASK_ID, _MIN, _MAX, _STEP, _COUNT) is no shard; expected an array "
                          "without gaps, such as --array=1-8, or --shard K/N",
                          id, min, max, step, out->count);
    out->index = (id - min) / step + 1;
    return 1;
}

/* A shard "1 of 1" yields to the other engine's: GitLab sets it inside a Slurm job. */
static int shard_settle(struct pv_shard *out, const char **from, const struct pv_shard *one, const char *name,
                        struct pv_err *err)
{
    if (*from && one->count > 1 && out->count > 1 && (one->count != out->count || one->index != out->index))
        return pv_err_set(err, PV_E_USAGE,
                          "%s says shard %u/%u and %s says %u/%u; say which with --shard K/N", *from,
                          out->index, out->count, name, one->index, one->count);
    if (!*from || out->count == 1) {
        *out = *one;
        *from = name;
    }
    return 0;
}

static int shard_err_none(struct pv_err *err)
{
    cleanup_buf struct pv_buf text = {0};

    for (size_t i = 0; i < PV_ARRAY_LEN(engines); i++)
        pv_buf_addf(&text, ", %s and %s (%s)", engines[i].index, engines[i].total, engines[i].name);
    return pv_err_set(
        err, PV_E_USAGE,
        "the environment tells no shard; looked for SLURM_ARRAY_TASK_ID and its like (Slurm job "
        "array)%s. Say which with --shard K/N",
        text.data);
}

int pv_shard_auto(struct pv_shard *out, struct pv_err *err)
{
    struct pv_shard one = {0};
    const char *from = NULL;
    int rc = slurm_shard(&one, err);

    if (rc < 0 || (rc && shard_settle(out, &from, &one, "Slurm", err) < 0))
        return -1;
    for (size_t i = 0; i < PV_ARRAY_LEN(engines); i++) {
        rc = engine_shard(&engines[i], &one, err);
        if (rc < 0 || (rc && shard_settle(out, &from, &one, engines[i].name, err) < 0))
            return -1;
    }
    return from ? 0 : shard_err_none(err);
}

int pv_shard_parse(const char *text, const char *option, struct pv_shard *out, struct pv_err *err)
{
    const char *slash = strchr(text, '/');

    if (!strcmp(text, "auto"))
        return pv_shard_auto(out, err) < 0 ? pv_err_wrap(err, "%s auto", option) : 0;
    if (!slash || !text_number(text, (size_t)(slash - text), PV_SHARDS_MAX, &out->index) ||
        !text_number(slash + 1, strlen(slash + 1), PV_SHARDS_MAX, &out->count) || out->index < 1 ||
        out->index > out->count)
        return pv_err_set(err, PV_E_USAGE,
                          "%s '%s' is no shard; expected K/N with 1 <= K <= N <= %d, such as 3/8, or auto",
                          option, text, PV_SHARDS_MAX);
    return 0;
}
