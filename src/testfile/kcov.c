/* SPDX-License-Identifier: MIT */
#include "testfile/kcov.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest/guest.h"
#include "symbols/symbols.h"
#include "testfile/places.h"
#include "testfile/outname.h"
#include "testfile/testfile.h"
#include "util/err.h"
#include "util/mem.h"

enum {
    PCS_MAX = 4 << 20,    /* addresses of a file: 32 MiB */
    TIDY_FROM = 64 * 1024 /* addresses that come before they are sorted */
};

/* The addresses that one sub-test has reached in the kernel of one profile. */
struct tf_kcov_test {
    char *name;
    const struct pv_profile *profile;
    uint64_t *pcs;
    size_t n, tidy, cap; /* the first `tidy` are sorted, each there once */
    struct tf_kcov_test *next;
};

/* A source line, by the path's place in a list. */
struct kcov_line {
    size_t file;
    int line;
};

void pv_tf_kcov_free(struct tf_kcov *k)
{
    while (k->first) {
        struct tf_kcov_test *t = k->first;

        k->first = t->next;
        free(t->name);
        free(t->pcs);
        free(t);
    }
}

static int compare_pcs(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void kcov_tidy(struct tf_kcov *k, struct tf_kcov_test *t)
{
    size_t kept = 0;

    if (t->n)
        qsort(t->pcs, t->n, sizeof(*t->pcs), compare_pcs);
    for (size_t i = 0; i < t->n; i++)
        if (!kept || t->pcs[i] != t->pcs[kept - 1])
            t->pcs[kept++] = t->pcs[i];
    k->n -= t->n - kept;
    t->n = t->tidy = kept;
}

/* ---- as the addresses come ---- */

/* The file and the open sub-tests. */
static char *kcov_name(const struct pv_testfile *tf)
{
    size_t depth = pv_tf_depth(tf);
    cleanup_buf struct pv_buf name = {0};

    pv_buf_adds(&name, tf->path);
    for (size_t i = 0; i < depth; i++)
        pv_buf_addf(&name, "__%s", tf->tests.open[i].name);
    return pv_tf_lcov_name(name.data);
}

static struct tf_kcov_test *kcov_test(struct pv_testfile *tf, const struct pv_profile *profile)
{
    cleanup_free char *name = kcov_name(tf);
    struct tf_kcov_test *t = tf->kcov.first;

    while (t && (t->profile != profile || strcmp(t->name, name) != 0))
        t = t->next;
    if (t)
        return t;
    t = pv_xcalloc(1, sizeof(*t));
    *t = (struct tf_kcov_test){.name = pv_steal(&name), .profile = profile, .next = tf->kcov.first};
    tf->kcov.first = t;
    return t;
}

static void kcov_executed(const struct pv_guest *g, const uint64_t *pcs, size_t n, bool full, void *arg)
{
    struct pv_testfile *tf = arg;
    struct tf_kcov *k = &tf->kcov;
    struct tf_kcov_test *t;

    k->full |= full;
    if (k->n + n > PCS_MAX) {
        k->full = true;
        return;
    }
    t = kcov_test(tf, pv_guest_profile(g));
    if (t->n + n > t->cap) {
        t->cap = (t->n + n) * 2;
        t->pcs = pv_xrealloc(t->pcs, t->cap * sizeof(*t->pcs));
    }
    memcpy(t->pcs + t->n, pcs, n * sizeof(*pcs));
    t->n += n;
    k->n += n;
    if (t->n > t->tidy * 2 + TIDY_FROM)
        kcov_tidy(k, t);
}

void pv_tf_kcov_connect(struct pv_testfile *tf)
{
    if (tf->env->coverage_dir && !tf->builder)
        tf->guest_env.coverage = (struct pv_guest_coverage){kcov_executed, tf};
}

/* ---- the file ---- */

static size_t path_index(struct pv_strv *paths, const char *path)
{
    for (size_t i = paths->n; i > 0; i--)
        if (!strcmp(paths->v[i - 1], path))
            return i - 1;
    pv_strv_add(paths, path);
    return paths->n - 1;
}

static int compare_lines(const void *a, const void *b)
{
    const struct kcov_line *x = a, *y = b;

    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

/* A recorded address is the one behind the call of the tracer, whose own place is that of the line. */
static size_t lines_find(struct pv_symbols *s, const struct tf_kcov_test *t, struct pv_strv *paths,
                         struct kcov_line *lines)
{
    size_t n = 0;

    for (size_t i = 0; i < t->n; i++) {
        cleanup_buf struct pv_buf path = {0};
        struct kcov_line *l = &lines[n];

        if (!pv_symbols_source(s, t->pcs[i] - 1, &path, &l->line))
            continue;
        l->file = path_index(paths, path.data);
        n++;
    }
    if (n)
        qsort(lines, n, sizeof(*lines), compare_lines);
    return n;
}

/* The records of one sub-test: SF names the file, DA a line and how often it ran, LF and LH how many lines there are. */
static void records_write(FILE *f, const struct tf_kcov_test *t, const struct pv_strv *paths,
                          const struct kcov_line *lines, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t file = lines[i].file, count = 0;

        fprintf(f, "TN:%s\nSF:%s\n", t->name, paths->v[file]);
        for (int last = -1; i < n && lines[i].file == file; i++)
            if (lines[i].line != last) {
                last = lines[i].line;
                fprintf(f, "DA:%d,1\n", last);
                count++;
            }
        fprintf(f, "LF:%zu\nLH:%zu\nend_of_record\n", count, count);
    }
}

static void kcov_refuse(const struct pv_testfile *tf, const char *why)
{
    cleanup_free char *notice = pv_xasprintf("--coverage: KCOV of %s: %s", tf->path, why);

    pv_result_notice(tf->env->result, notice);
}

static void test_write(struct pv_testfile *tf, FILE *f, struct tf_kcov_test *t)
{
    struct pv_symbols *s = pv_tf_symbols(tf, t->profile);
    cleanup_strv struct pv_strv paths = {0};
    cleanup_free struct kcov_line *lines = NULL;
    size_t n;

    kcov_tidy(&tf->kcov, t);
    lines = pv_xcalloc(t->n, sizeof(*lines));
    n = lines_find(s, t, &paths, lines);
    if (!n && !tf->kcov.told) {
        const char *problem = pv_symbols_problem(s);

        tf->kcov.told = true;
        kcov_refuse(
            tf, problem ? problem
                        : "no vmlinux with debug information was found: the profile's key debug names one");
    }
    records_write(f, t, &paths, lines, n);
}

void pv_tf_kcov_write(struct pv_testfile *tf)
{
    cleanup_free char *name = NULL, *path = NULL;
    FILE *f;

    if (!tf->guest_env.coverage.executed)
        return;
    name = pv_tf_outname(tf->path);
    path = pv_xasprintf("%s/%s" TF_KCOV_INFO, tf->env->coverage_dir, name);
    unlink(path);
    if (!tf->kcov.first)
        return;
    if (tf->kcov.full)
        kcov_refuse(tf, "there was more than could be recorded: some lines are missing");
    f = fopen(path, "we");
    for (struct tf_kcov_test *t = tf->kcov.first; f && t; t = t->next)
        test_write(tf, f, t);
    if (!f || (ferror(f) | fclose(f)) != 0) {
        cleanup_free char *why = pv_xasprintf("cannot write '%s': %s", path, strerror(errno));

        kcov_refuse(tf, why);
    }
}
