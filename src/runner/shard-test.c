/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/shard.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

/* ---- properties of the division ---- */

enum { SUITES = 10000, FILES_MAX = 2600, COUNT_MAX = 64 };

static uint64_t seed = 88172645463325252u;

static uint64_t random_below(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

struct suite {
    struct pv_shard_file files[FILES_MAX];
    char names[FILES_MAX][24];
    size_t n;
    unsigned count;
    bool planted; /* a division exists whose parts are all within 5 % of the mean */
};

static void suite_add(struct suite *s, int64_t ns)
{
    snprintf(s->names[s->n], sizeof(s->names[0]), "d%llu/f%zu.lua", (unsigned long long)random_below(9),
             s->n);
    s->files[s->n] = (struct pv_shard_file){s->names[s->n], ns};
    s->n++;
}

/* Any number of files with similar, uniform or heavy-tailed durations, some of them unknown. */
static void suite_make_random(struct suite *s)
{
    size_t n = (size_t)random_below(random_below(4) ? 100 : 700);
    unsigned kind = (unsigned)random_below(5), unknown = (unsigned)random_below(3);

    s->planted = false;
    while (s->n < n) {
        int64_t ns = (int64_t)random_below(1000000000);

        if (kind == 0)
            ns = 5;
        else if (kind == 1)
            ns = ns / (int64_t)(1 + random_below(10000));
        else if (kind == 2)
            ns = (int64_t)random_below(2) * 7;
        else if (kind == 3)
            ns = INT64_MAX - ns;
        suite_add(s, unknown == 1 && random_below(3) == 0 ? -1 : unknown == 2 && random_below(50) ? -1 : ns);
    }
}

/* `count` parts, each cut into up to 40 files. */
static void suite_make_planted(struct suite *s)
{
    int64_t whole = 1000000 + (int64_t)random_below(1000000000);
    unsigned pieces = (unsigned)(1 + random_below(random_below(2) ? 4 : 40));

    s->planted = true;
    for (unsigned k = 0; k < s->count; k++) {
        int64_t part = whole - (int64_t)random_below((uint64_t)whole / 20), left = part;

        for (unsigned i = 1; i < pieces && left > 1; i++) {
            int64_t ns = random_below(2) ? (int64_t)random_below((uint64_t)left) : part / pieces;

            ns = ns < left ? ns : left - 1;
            suite_add(s, ns);
            left -= ns;
        }
        suite_add(s, left);
    }
}

static void suite_shuffle(struct suite *s)
{
    for (size_t i = s->n; i > 1; i--) {
        size_t j = (size_t)random_below(i);
        struct pv_shard_file t = s->files[j];

        s->files[j] = s->files[i - 1];
        s->files[i - 1] = t;
    }
}

static int longest_first(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? 1 : x > y ? -1 : 0;
}

/*
 * A lower bound of the longest shard: the mean; the longest file; and, for each k, some shard has k + 1 of
 * the k * count + 1 longest files, at best the shortest of them.
 */
static double lower_bound(const double *sorted, size_t n, unsigned count, double mean)
{
    double best = n && sorted[0] > mean ? sorted[0] : mean;

    for (size_t k = 1; k * count + 1 <= n; k++) {
        double sum = 0;

        for (size_t i = 0; i <= k; i++)
            sum += sorted[k * count - i];
        best = sum > best ? sum : best;
    }
    return best;
}

/*
 * True when the files certainly do not fit into `count` shards of `room` each: Martello and Toth's second
 * bound of bin packing.  For every t, a file longer than room - t shares its shard with no file of t or more,
 * two files longer than room / 2 share none, and the rest of their shards bounds the other files of t or
 * more.
 */
static bool cannot_fit(const double *sorted, size_t n, unsigned count, double room)
{
    for (size_t at = 0; at < n; at++) {
        double t = sorted[at], middle = 0, left = 0, shards = 0;

        if (t > room / 2)
            continue;
        for (size_t i = 0; i < n && sorted[i] >= t; i++)
            if (sorted[i] > room - t) {
                shards++;
            } else if (sorted[i] > room / 2) {
                shards++;
                left += room - sorted[i];
            } else {
                middle += sorted[i];
            }
        if (shards + (middle > left ? (middle - left) / room : 0) > count * (1 + 1e-9))
            return true;
    }
    return false;
}

struct loads {
    double sorted[FILES_MAX];
    double total, largest, bound;
};

static void shards_weigh(const struct suite *s, const unsigned *shard_of, struct loads *l)
{
    static const double longest = (double)(INT64_C(1) << 46); /* the cap of a duration */
    double part[COUNT_MAX] = {0}, *ns = l->sorted;

    l->total = l->largest = 0;
    for (size_t i = 0; i < s->n; i++) {
        ns[i] = (double)s->files[i].duration_ns < longest ? (double)s->files[i].duration_ns : longest;
        l->total += ns[i];
        part[shard_of[i]] += ns[i];
        l->largest = part[shard_of[i]] > l->largest ? part[shard_of[i]] : l->largest;
    }
    qsort(ns, s->n, sizeof(ns[0]), longest_first);
    l->bound = lower_bound(ns, s->n, s->count, l->total / s->count);
}

static void check_balance(const struct suite *s, const unsigned *shard_of, int suite)
{
    static struct loads l;
    double mean;

    for (size_t i = 0; i < s->n; i++)
        if (s->files[i].duration_ns < 0)
            return; /* balance is promised for known durations only */
    shards_weigh(s, shard_of, &l);
    mean = l.total / s->count;
    if (s->planted && l.largest > 1.1 * mean)
        fail_msg("suite %d, %zu files in %u shards: the largest is %.3f of the mean, though 1.05 is possible",
                 suite, s->n, s->count, l.largest / mean);
    if (l.largest > 1.1 * l.bound && !cannot_fit(l.sorted, s->n, s->count, l.largest / 1.1))
        fail_msg("suite %d, %zu files in %u shards: the largest is %.3f of what may be possible", suite, s->n,
                 s->count, l.largest / l.bound);
}

/* Each file has one shard from 0 to count - 1, so the shards are whole and disjoint; the division does not
 * depend on the order of the files. */
static void check_shards(struct suite *s, const unsigned *first, int suite)
{
    static unsigned again[FILES_MAX];
    size_t per[COUNT_MAX] = {0};

    for (size_t i = 0; i < s->n; i++) {
        if (first[i] >= s->count)
            fail_msg("suite %d: file %zu is in shard %u of %u", suite, i, first[i], s->count);
        per[first[i]]++;
    }
    if (s->n >= s->count)
        for (unsigned k = 0; k < s->count; k++)
            if (per[k] == 0 && s->files[0].duration_ns == 5)
                fail_msg("suite %d: files are alike, and shard %u of %u has none of %zu", suite, k, s->count,
                         s->n);
    suite_shuffle(s);
    pv_shard_divide(s->files, s->n, s->count, again);
    for (size_t i = 0; i < s->n; i++) {
        /* a name's address tells the file's index before the shuffle */
        size_t was = (size_t)((const char(*)[24])s->files[i].name - s->names);

        if (again[i] != first[was])
            fail_msg("suite %d: %s is in shard %u, and in %u when the files come in another order", suite,
                     s->files[i].name, first[was], again[i]);
    }
}

static void test_properties(void **state)
{
    static struct suite s;
    static unsigned shard_of[FILES_MAX];
    bool seen[COUNT_MAX + 1] = {false};

    (void)state;
    for (int i = 0; i < SUITES; i++) {
        s.n = 0;
        s.count = (unsigned)(1 + random_below(COUNT_MAX));
        seen[s.count] = true;
        if (random_below(3))
            suite_make_random(&s);
        else
            suite_make_planted(&s);
        memset(shard_of, 0xff, sizeof(shard_of));
        pv_shard_divide(s.files, s.n, s.count, shard_of);
        check_balance(&s, shard_of, i);
        check_shards(&s, shard_of, i);
    }
    for (unsigned n = 1; n <= COUNT_MAX; n++)
        assert_true(seen[n]);
}

static void test_by_name(void **state)
{
    static const struct pv_shard_file files[] = {{"c", -1}, {"a", -1}, {"e", -1}, {"b", -1}, {"d", -1}};
    unsigned shard_of[5];

    (void)state;
    pv_shard_divide(files, 5, 2, shard_of); /* no duration is known: round-robin by name */
    assert_int_equal(shard_of[1], 0);
    assert_int_equal(shard_of[3], 1);
    assert_int_equal(shard_of[0], 0);
    assert_int_equal(shard_of[4], 1);
    assert_int_equal(shard_of[2], 0);
}

static void test_unknown(void **state)
{
    static const struct pv_shard_file files[] = {{"a", 20}, {"b", -1}, {"c", -1}, {"d", 40}};
    unsigned shard_of[4];

    (void)state;
    pv_shard_divide(files, 4, 2, shard_of); /* 20 30 30 40 */
    assert_int_equal(shard_of[3], shard_of[0]);
    assert_int_equal(shard_of[1], shard_of[2]);
    assert_int_not_equal(shard_of[0], shard_of[1]);
}

/* Asserts that all shards of many short files have about the same load. */
static void check_load(const struct pv_shard_file *files, const unsigned *shard_of, size_t n, unsigned count)
{
    cleanup_free double *load = pv_xcalloc(count, sizeof(*load));
    double total = 0;

    for (size_t i = 0; i < n; i++) {
        assert_true(shard_of[i] < count);
        load[shard_of[i]] += (double)files[i].duration_ns;
        total += (double)files[i].duration_ns;
    }
    for (unsigned k = 0; k < count; k++)
        if (load[k] > 1.1 * total / count || load[k] < 0.9 * total / count)
            fail_msg("shard %u of %u has %.3f of the mean load", k, count, load[k] / (total / count));
}

/* The time of a division is bounded for any number of files. */
static void test_large(void **state)
{
    enum { N = 20000, SHARDS = 100 };
    int64_t start;
    struct pv_shard_file *files = pv_xcalloc(N, sizeof(*files));
    unsigned *shard_of = pv_xcalloc(N, sizeof(*shard_of));
    char(*names)[16] = pv_xcalloc(N, sizeof(*names));

    (void)state;
    for (size_t i = 0; i < N; i++) {
        snprintf(names[i], sizeof(names[i]), "%zu", i);
        files[i] = (struct pv_shard_file){names[i], (int64_t)random_below(1000000000)};
    }
    start = pv_now();
    pv_shard_divide(files, N, 2, shard_of);
    check_load(files, shard_of, N, 2);
    pv_shard_divide(files, N, SHARDS, shard_of);
    check_load(files, shard_of, N, SHARDS);
    pv_shard_divide(files, N, PV_SHARDS_MAX, shard_of);
    for (size_t i = 0; i < N; i++)
        assert_true(shard_of[i] < PV_SHARDS_MAX);
    assert_true(pv_now() - start < 20 * PV_NSEC_PER_SEC);
    free(files);
    free(shard_of);
    free(names);
}

/* ---- the shard from the environment ---- */

static const char *const variables[] = {"SLURM_ARRAY_TASK_ID",
                                        "SLURM_ARRAY_TASK_MIN",
                                        "SLURM_ARRAY_TASK_MAX",
                                        "SLURM_ARRAY_TASK_STEP",
                                        "SLURM_ARRAY_TASK_COUNT",
                                        "JOB_COMPLETION_INDEX",
                                        "PROVIUM_SHARDS",
                                        "CI_NODE_INDEX",
                                        "CI_NODE_TOTAL",
                                        "CIRCLE_NODE_INDEX",
                                        "CIRCLE_NODE_TOTAL",
                                        "BUILDKITE_PARALLEL_JOB",
                                        "BUILDKITE_PARALLEL_JOB_COUNT"};

/* env: "NAME=VALUE NAME=VALUE"; want: "3/8", or a part of the error's text. */
static void check_env(const char *env, const char *want)
{
    cleanup_free char *copy = pv_xstrdup(env);
    struct pv_err err = PV_ERR_INIT;
    struct pv_shard shard = {0};
    char got[PV_ERR_TEXT + 32];

    for (size_t i = 0; i < PV_ARRAY_LEN(variables); i++)
        unsetenv(variables[i]);
    for (char *save, *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        char *eq = strchr(w, '=');

        *eq = '\0';
        setenv(w, eq + 1, 1);
    }
    if (pv_shard_parse("auto", "--shard", &shard, &err) < 0)
        snprintf(got, sizeof(got), "error: %s", err.text);
    else
        snprintf(got, sizeof(got), "%u/%u", shard.index, shard.count);
    if (want[0] >= '0' && want[0] <= '9' ? strcmp(got, want) != 0
                                         : strncmp(got, "error: --shard auto: ", 21) || !strstr(got, want))
        fail_msg("'%s' gives '%s', expected '%s'", env, got, want);
}

static void test_engines(void **state)
{
    (void)state;
#define SLURM(id, min, max, step, count) \
    "SLURM_ARRAY_TASK_ID=" id " SLURM_ARRAY_TASK_MIN=" min " SLURM_ARRAY_TASK_MAX=" max \
    " SLURM_ARRAY_TASK_STEP=" step " SLURM_ARRAY_TASK_COUNT=" count
    check_env(SLURM("0", "0", "7", "1", "8"), "1/8");
    check_env(SLURM("3", "1", "8", "1", "8"), "3/8");
    check_env(SLURM("9", "1", "9", "4", "3"), "3/3");
    check_env(SLURM("5", "1", "9", "1", "3"), "Slurm: task 5 of an array from 1 to 9");
    check_env(SLURM("2", "1", "9", "4", "3"), "--array=1-8");
    check_env(SLURM("x", "1", "9", "4", "3"), "Slurm: SLURM_ARRAY_TASK_ID is 'x'");
    check_env(SLURM("1", "1", "9", "0", "3"), "is no shard");
    check_env("SLURM_ARRAY_TASK_ID=1", "SLURM_ARRAY_TASK_MIN is not set");
    check_env("SLURM_ARRAY_TASK_ID=2 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_MAX=4 SLURM_ARRAY_TASK_COUNT=4",
              "2/4");
    check_env("JOB_COMPLETION_INDEX=0 PROVIUM_SHARDS=4", "1/4");
    check_env("JOB_COMPLETION_INDEX=3 PROVIUM_SHARDS=4", "4/4");
    check_env("JOB_COMPLETION_INDEX=4 PROVIUM_SHARDS=4",
              "Kubernetes: JOB_COMPLETION_INDEX is 4 and PROVIUM_SHARDS is 4; expected an index from 0 to 3");
    check_env("JOB_COMPLETION_INDEX=3", "Kubernetes: PROVIUM_SHARDS is not set");
    check_env("PROVIUM_SHARDS=3", "JOB_COMPLETION_INDEX is not set");
    check_env("PROVIUM_SHARDS=0", "is not set");
    check_env("PROVIUM_SHARDS=0 JOB_COMPLETION_INDEX=0", "PROVIUM_SHARDS is 0");
    check_env("CI_NODE_INDEX=1 CI_NODE_TOTAL=5", "1/5");
    check_env("CI_NODE_INDEX=5 CI_NODE_TOTAL=5", "5/5");
    check_env("CI_NODE_INDEX=0 CI_NODE_TOTAL=5", "expected an index from 1 to 5");
    check_env("CI_NODE_INDEX=6 CI_NODE_TOTAL=5", "expected an index from 1 to 5");
    check_env("CI_NODE_TOTAL=1", "1/1");
    check_env("CIRCLE_NODE_INDEX=0 CIRCLE_NODE_TOTAL=2", "1/2");
    check_env("CIRCLE_NODE_INDEX=-1 CIRCLE_NODE_TOTAL=2", "CIRCLE_NODE_INDEX is '-1'");
    check_env("BUILDKITE_PARALLEL_JOB=1 BUILDKITE_PARALLEL_JOB_COUNT=2", "2/2");
    check_env("BUILDKITE_PARALLEL_JOB=1 BUILDKITE_PARALLEL_JOB_COUNT=2000000", "'2000000'");
    check_env("", "SLURM_ARRAY_TASK_ID");
    check_env("", "JOB_COMPLETION_INDEX and PROVIUM_SHARDS (Kubernetes)");
    check_env("", "CI_NODE_INDEX and CI_NODE_TOTAL (GitLab)");
    check_env("", "CIRCLE_NODE_INDEX and CIRCLE_NODE_TOTAL (CircleCI)");
    check_env("", "BUILDKITE_PARALLEL_JOB and BUILDKITE_PARALLEL_JOB_COUNT (Buildkite)");
    check_env("CI_NODE_TOTAL= CI_NODE_INDEX=", "the environment tells no shard");
    check_env(SLURM("2", "1", "4", "1", "4") " CI_NODE_TOTAL=1", "2/4");
    check_env("JOB_COMPLETION_INDEX=0 PROVIUM_SHARDS=1 CI_NODE_TOTAL=4 CI_NODE_INDEX=2", "2/4");
    check_env("JOB_COMPLETION_INDEX=1 PROVIUM_SHARDS=4 CI_NODE_TOTAL=4 CI_NODE_INDEX=2", "2/4");
    check_env("JOB_COMPLETION_INDEX=2 PROVIUM_SHARDS=4 CI_NODE_TOTAL=4 CI_NODE_INDEX=2",
              "Kubernetes says shard 3/4 and GitLab says 2/4");
}

static void test_parse(void **state)
{
    static const char *const bad[] = {"",      "/",    "1",    "1/",      "/1",
                                      "0/1",   "2/1",  "1/0",  "-1/2",    "1/-2",
                                      "1/2/3", " 1/2", "1/2 ", "1/10001", "9999999999/9999999999",
                                      "a/b",   "Auto"};
    struct pv_err err = PV_ERR_INIT;
    struct pv_shard s;

    (void)state;
    assert_int_equal(pv_shard_parse("3/8", "--shard", &s, &err), 0);
    assert_int_equal(s.index, 3);
    assert_int_equal(s.count, 8);
    assert_int_equal(pv_shard_parse("10000/10000", "--shard", &s, &err), 0);
    for (size_t i = 0; i < PV_ARRAY_LEN(bad); i++) {
        if (pv_shard_parse(bad[i], "--shard", &s, &err) == 0)
            fail_msg("'%s' was taken", bad[i]);
        assert_non_null(strstr(err.text, "such as 3/8"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_properties), cmocka_unit_test(test_by_name), cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_large),      cmocka_unit_test(test_engines), cmocka_unit_test(test_parse),
    };

    return cmocka_run_group_tests_name("runner-shard", tests, NULL, NULL);
}
