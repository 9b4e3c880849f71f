/* SPDX-License-Identifier: MIT */
/*
 * Two passes over the reports.  The first reads and checks all of them, so that nothing is written when they
 * are not of one run; the second passes one file after the other to the writers, so that large reports do not
 * have to be in memory at once.
 */
#include "runner/merge.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <dirent.h>
#include <errno.h>

#include "runner/history.h"
#include "report/readback.h"
#include "util/text.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/path.h"

enum { NOBODY = -1, DEPTH_MAX = 16 };

struct shard {
    const char *path; /* borrowed */
    struct pv_readback_run run;
    struct pv_readback_end end;
    int64_t offset; /* of its start to that of the first one */
};

/* A file of the run. */
struct entry {
    const char *name; /* borrowed */
    int owner;        /* the shard that ran it, in the list */
    unsigned seen;    /* results, as many as it was repeated */
};

struct merge {
    const struct pv_merge_opts *o;
    struct pv_strv paths;
    struct shard *shards;
    size_t n_shards;
    unsigned count;  /* of shards that the run has */
    unsigned repeat; /* runs of each file */
    struct entry *entries;
    size_t n_entries;
    struct pv_strv missing; /* shards, "3/8" */
    struct pv_strv hosts;
    struct pv_file_report *reports; /* shed reports, for the summary */
    size_t n_reports;
    struct pv_buf text;
    int fd;
    int text_errno; /* of the first failed write of text */
};

/* ---- paths ---- */

static bool is_report_name(const char *name)
{
    const char *dot = strrchr(name, '.');

    return name[0] != '.' && dot && (!strcmp(dot, ".json") || !strcmp(dot, ".jsonl"));
}

static int merge_search(struct merge *m, const char *dir, int depth, struct pv_err *err)
{
    struct dirent **list = NULL;
    int n = scandir(dir, &list, NULL, alphasort), rc = 0;

    if (n < 0)
        return pv_err_sys(err, errno, "cannot read directory '%s'", dir);
    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name;
        cleanup_free char *path = pv_path_join(dir, name);
        struct stat st;

        if (rc == 0 && name[0] != '.' && lstat(path, &st) == 0) {
            if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
                rc = merge_search(m, path, depth + 1, err);
            else if (!S_ISDIR(st.st_mode) && is_report_name(name))
                pv_strv_add(&m->paths, path);
        }
        free(list[i]);
    }
    free(list);
    return rc;
}

static int merge_collect_paths(struct merge *m, const struct pv_strv *paths, struct pv_err *err)
{
    for (size_t i = 0; i < paths->n; i++) {
        size_t before = m->paths.n;
        struct stat st;

        if (stat(paths->v[i], &st) < 0)
            return pv_err_sys(err, errno, "cannot open '%s'", paths->v[i]);
        if (!S_ISDIR(st.st_mode)) {
            pv_strv_add(&m->paths, paths->v[i]);
            continue;
        }
        if (merge_search(m, paths->v[i], 0, err) < 0)
            return -1;
        if (m->paths.n == before)
            return pv_err_set(err, PV_E_USAGE,
                              "there is no report in '%s'; expected files *.json, as made by "
                              "provium test --shard K/N --json FILE",
                              paths->v[i]);
    }
    return 0;
}

/* ---- the first pass ---- */

static int by_entry_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static int by_index(const void *a, const void *b)
{
    const struct shard *x = a, *y = b;

    return x->run.shard != y->run.shard ? (x->run.shard < y->run.shard ? -1 : 1) : strcmp(x->path, y->path);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static struct entry *merge_find_file(const struct merge *m, const char *name)
{
    const struct entry key = {.name = name};

    return m->n_entries ? bsearch(&key, m->entries, m->n_entries, sizeof(key), by_entry_name) : NULL;
}

/* The file of a result, which with --repeat is called "NAME (2 of 3)"; NULL: none. */
static struct entry *merge_find_result(const struct merge *m, const char *name)
{
    const char *at = strrchr(name, '(');
    cleanup_free char *plain = NULL;
    unsigned round, rounds;
    int end = 0;

    if (m->repeat == 1)
        return merge_find_file(m, name);
    if (!at || at - name < 2 || sscanf(at, "(%u of %u)%n", &round, &rounds, &end) != 2 || !end || at[end] ||
        rounds != m->repeat)
        return NULL;
    plain = pv_xstrndup(name, (size_t)(at - name) - 1);
    return merge_find_file(m, plain);
}

static int merge_read_heads(struct merge *m, struct pv_err *err)
{
    m->shards = pv_xcalloc(m->paths.n, sizeof(*m->shards));
    for (; m->n_shards < m->paths.n; m->n_shards++) {
        struct shard *s = &m->shards[m->n_shards];
        struct pv_readback *r = pv_readback_open(m->paths.v[m->n_shards], err);

        if (!r)
            return -1;
        s->path = m->paths.v[m->n_shards];
        s->run = r->run;
        r->run = (struct pv_readback_run){0};
        pv_readback_free(r);
    }
    qsort(m->shards, m->n_shards, sizeof(*m->shards), by_index);
    return 0;
}

static int merge_check_shards(struct merge *m, struct pv_err *err)
{
    unsigned next = 1;

    m->count = m->shards[0].run.shards;
    m->repeat = m->shards[0].run.repeat;
    for (size_t i = 0; i < m->n_shards; i++) {
        const struct shard *s = &m->shards[i];

        if (s->run.shards == 0 && m->n_shards > 1)
            return pv_err_set(err, PV_E_USAGE,
                              "'%s' is the report of a run without --shard, and there are other reports",
                              s->path);
        if (s->run.shards != m->count)
            return pv_err_set(err, PV_E_USAGE, "'%s' is of shard %u/%u, and '%s' of shard %u/%u",
                              m->shards[0].path, m->shards[0].run.shard, m->count, s->path, s->run.shard,
                              s->run.shards);
        if (s->run.repeat != m->repeat)
            return pv_err_set(err, PV_E_USAGE, "'%s' and '%s' are not of the same run: --repeat %u and %u",
                              m->shards[0].path, s->path, m->repeat, s->run.repeat);
        if (i && s->run.shard == s[-1].run.shard)
            return pv_err_set(err, PV_E_USAGE, "shard %u/%u is there twice: '%s' and '%s'", s->run.shard,
                              m->count, s[-1].path, s->path);
        for (; next < s->run.shard; next++)
            pv_strv_addf(&m->missing, "%u/%u", next, m->count);
        next = s->run.shard + 1;
    }
    for (; next <= m->count; next++)
        pv_strv_addf(&m->missing, "%u/%u", next, m->count);
    return 0;
}

/* All shards know the same files, and each file is selected by at most one shard. */
static int merge_check_files(struct merge *m, struct pv_err *err)
{
    struct pv_strv *first = &m->shards[0].run.files;

    m->entries = pv_xcalloc(first->n, sizeof(*m->entries));
    for (; m->n_entries < first->n; m->n_entries++)
        m->entries[m->n_entries] = (struct entry){.name = first->v[m->n_entries], .owner = NOBODY};
    if (first->n)
        qsort(m->entries, m->n_entries, sizeof(*m->entries), by_entry_name);
    for (size_t i = 0; i < m->n_shards; i++) {
        struct shard *s = &m->shards[i];

        if (s->run.files.n)
            qsort(s->run.files.v, s->run.files.n, sizeof(char *), by_text);
        for (size_t j = 0; j < s->run.files.n || j < m->n_entries; j++) {
            const char *has = j < s->run.files.n ? s->run.files.v[j] : NULL;
            const char *want = j < m->n_entries ? m->entries[j].name : NULL;

            if (!has || !want || strcmp(has, want) != 0)
                return pv_err_set(err, PV_E_USAGE,
                                  "'%s' and '%s' are not of the same run: only one of them has the file '%s'",
                                  m->shards[0].path, s->path,
                                  !has || (want && strcmp(want, has) < 0) ? want : has);
        }
        for (size_t j = 0; j < s->run.selected.n; j++) {
            struct entry *e = merge_find_file(m, s->run.selected.v[j]);

            if (!e)
                return pv_err_set(err, PV_E_USAGE, "'%s' selects '%s', which is not among its files", s->path,
                                  s->run.selected.v[j]);
            if (e->owner != NOBODY)
                return pv_err_set(
                    err, PV_E_USAGE,
                    "the file '%s' is there twice: in '%s' and in '%s'; shards divide alike only with "
                    "the same history (--history)",
                    e->name, m->shards[e->owner].path, s->path);
            e->owner = (int)i;
        }
    }
    return 0;
}

static int merge_note_result(struct merge *m, size_t shard, const char *name, struct pv_err *err)
{
    struct entry *e = merge_find_result(m, name);

    if (!e || e->owner != (int)shard)
        return pv_err_set(err, PV_E_USAGE, "'%s' has a result of '%s', which this shard did not select",
                          m->shards[shard].path, name);
    if (++e->seen > m->repeat)
        return pv_err_set(err, PV_E_USAGE, "'%s' has the result of '%s' twice", m->shards[shard].path, name);
    return 0;
}

static int merge_read_results(struct merge *m, struct pv_err *err)
{
    for (size_t i = 0; i < m->n_shards; i++) {
        struct shard *s = &m->shards[i];
        struct pv_readback *r = pv_readback_open(s->path, err);
        struct pv_file_report f;
        int rc = r ? 1 : -1;

        while (rc > 0 && (rc = pv_readback_next(r, &f, err)) > 0) {
            if (merge_note_result(m, i, f.name, err) < 0)
                rc = -1;
            pv_readback_fini(&f);
            m->n_reports++;
        }
        if (rc == 0) {
            s->end = r->end;
            r->end = (struct pv_readback_end){0};
        }
        pv_readback_free(r);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* ---- the second pass ---- */

/* Turns times since the start of the shard into times since the start of the first shard. */
static void report_shift(struct pv_file_report *f, int64_t offset)
{
    f->begin_ns += offset;
    for (size_t i = 0; i < f->n_tests; i++)
        f->tests[i].begin_ns += offset;
    for (size_t i = 0; i < f->n_attempts; i++)
        f->attempts[i].begin_ns += offset;
    for (size_t i = 0; i < f->n_steps; i++) {
        f->steps[i].begin_ns += offset;
        f->steps[i].end_ns += f->steps[i].ended ? offset : 0;
    }
}

/* A failure is told at the end: the reports do not depend on it. */
static void merge_put_text(struct merge *m)
{
    if (m->text.len && !m->text_errno && pv_write_all(m->fd, m->text.data, m->text.len) < 0)
        m->text_errno = errno;
    pv_buf_free(&m->text);
}

/* Takes f, its name included. */
static void merge_put_report(struct merge *m, struct pv_outputs *rs, const struct pv_file_report *f)
{
    struct pv_file_report *kept = &m->reports[m->n_reports++];

    *kept = *f;
    if (rs)
        pv_outputs_file(rs, kept);
    if (m->o->history && f->path && f->ran && !f->interrupted)
        pv_history_put(m->o->history, f->path, pv_report_failed(f), f->duration_ns);
    pv_format_file(&m->text, kept, &m->o->style);
    merge_put_text(m);
    pv_report_shed(kept);
}

/* The message of a file without all its results. The caller frees. */
static char *merge_why_missing(const struct merge *m, const struct entry *e)
{
    const struct shard *s = e->owner == NOBODY ? NULL : &m->shards[e->owner];
    struct pv_buf b = {0};

    if (s && !s->end.there)
        pv_buf_addf(&b, "no result: the run that '%s' tells of was killed", s->path);
    else if (s)
        pv_buf_addf(&b, "no result: '%s' should have it", s->path);
    else if (m->missing.n == 0)
        pv_buf_adds(&b, "no result: no shard has selected it; shards divide alike only with the same history "
                        "(--history)");
    else
        pv_buf_addf(&b, "no result: shard %s is missing", m->missing.v[0]);
    for (size_t i = 1; !s && i < m->missing.n && i < 20; i++)
        pv_buf_addf(&b, ", and %s", m->missing.v[i]);
    return b.data;
}

/* Reports files without a result as failed; returns their number. */
static size_t merge_put_missing(struct merge *m, struct pv_outputs *rs)
{
    size_t n = 0;

    for (size_t i = 0; i < m->n_entries; i++) {
        const struct entry *e = &m->entries[i];
        struct pv_file_report f = {.ran = true, .verdict = true, .outcome = PV_FAIL, .cls = PV_CLASS_HARNESS};

        if (e->seen == m->repeat)
            continue;
        f.name = pv_xstrdup(e->name);
        f.msg = merge_why_missing(m, e);
        merge_put_report(m, rs, &f);
        n++;
    }
    return n;
}

static int merge_put_results(struct merge *m, struct pv_outputs *rs, struct pv_err *err)
{
    for (size_t i = 0; i < m->n_shards; i++) {
        struct pv_readback *r = pv_readback_open(m->shards[i].path, err);
        struct pv_file_report f;
        int rc = r ? 1 : -1;

        while (rc > 0 && (rc = pv_readback_next(r, &f, err)) > 0) {
            report_shift(&f, m->shards[i].offset);
            merge_put_report(m, rs, &f);
        }
        pv_readback_free(r);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* ---- the whole ---- */

/* Sets the shards' offsets; returns the start of the first one. */
static int64_t merge_align_shards(struct merge *m)
{
    int64_t first = m->shards[0].run.started_ns;

    for (size_t i = 1; i < m->n_shards; i++)
        if (m->shards[i].run.started_ns < first)
            first = m->shards[i].run.started_ns;
    for (size_t i = 0; i < m->n_shards; i++)
        m->shards[i].offset = m->shards[i].run.started_ns - first;
    return first;
}

static int64_t merge_duration(const struct merge *m)
{
    int64_t d = 1;

    for (size_t i = 0; i < m->n_shards; i++)
        if (m->shards[i].offset + m->shards[i].end.duration_ns > d)
            d = m->shards[i].offset + m->shards[i].end.duration_ns;
    return d;
}

/* "a, b", each once. */
static char *merge_hosts(const struct merge *m)
{
    struct pv_buf b = {0};

    pv_buf_adds(&b, "");
    for (size_t i = 0; i < m->n_shards; i++) {
        bool known = false;

        for (size_t j = 0; j < i && !known; j++)
            known = !strcmp(m->shards[j].run.host, m->shards[i].run.host);
        if (!known)
            pv_buf_addf(&b, "%s%s", b.len ? ", " : "", m->shards[i].run.host);
    }
    return b.data;
}

/* The exit code of the whole run: an error comes before a signal, a signal before a failure. */
static int merge_exit_code(const struct merge *m, size_t without_result)
{
    int code = without_result || m->missing.n ? 1 : 0, stopped = 0, broken = 0;

    for (size_t i = 0; i < m->n_shards; i++) {
        int c = m->shards[i].end.there ? m->shards[i].end.exit_code : 1;

        if (c == 2)
            broken = c;
        else if (c > 128)
            stopped = c;
        else if (c)
            code = 1;
    }
    for (size_t i = 0; i < m->n_reports; i++)
        if (pv_report_failed(&m->reports[i]))
            code = 1;
    return broken ? broken : stopped ? stopped : code;
}

static const char *merge_stopped_by(const struct merge *m)
{
    for (size_t i = 0; i < m->n_shards; i++)
        if (m->shards[i].end.stopped_by)
            return m->shards[i].end.stopped_by;
    return NULL;
}

static void merge_put_head(struct merge *m)
{
    pv_buf_addf(&m->text, "provium merge\n\n  %zu report%s, %zu file%s\n", m->n_shards,
                m->n_shards == 1 ? "" : "s", m->n_entries, m->n_entries == 1 ? "" : "s");
    for (size_t i = 0; i < m->missing.n; i++)
        pv_buf_addf(&m->text, "  missing: shard %s\n", m->missing.v[i]);
    for (size_t i = 0; i < m->n_shards; i++) {
        if (m->shards[i].end.there)
            continue;
        pv_buf_adds(&m->text, "  killed: the run of ");
        pv_text_clean(&m->text, m->shards[i].path, strlen(m->shards[i].path), NULL);
        pv_buf_addc(&m->text, '\n');
    }
    merge_put_text(m);
}

static int merge_write_all(struct merge *m, struct pv_err *err)
{
    cleanup_free char *all_hosts = merge_hosts(m);
    cleanup_free const char **names = pv_xcalloc(m->n_entries + 1, sizeof(*names));
    struct pv_run_info info = {.version = m->o->version,
                               .host = all_hosts,
                               .directory = m->shards[0].run.directory,
                               .started_ns = merge_align_shards(m),
                               .args = (const char *const *)m->o->args.v,
                               .n_args = m->o->args.n,
                               .files = names,
                               .n_files = m->n_entries,
                               .n_selected = m->n_entries,
                               .repeat = m->repeat,
                               .duration_ns = merge_duration(m)};
    const struct pv_output_opts *w = &m->o->reports;
    struct pv_err note = PV_ERR_INIT;
    struct pv_outputs *rs = NULL;
    size_t without = 0;
    int rc = 0, code;

    for (size_t i = 0; i < m->n_entries; i++)
        names[i] = m->entries[i].name;
    if (w->json || w->junit || w->html || w->tap) {
        rs = pv_outputs_open(w, &info, NULL, err);
        if (!rs)
            return -1;
    }
    merge_put_head(m);
    m->reports = pv_xcalloc(m->n_reports + m->n_entries, sizeof(*m->reports));
    m->n_reports = 0;
    rc = merge_put_results(m, rs, err);
    without = merge_put_missing(m, rs);
    code = rc < 0 ? 2 : merge_exit_code(m, without);
    if (rs && pv_outputs_end(rs, code, merge_stopped_by(m), rc < 0 ? NULL : err) < 0)
        rc = -1;
    pv_outputs_free(rs);
    if (rc < 0)
        return -1;
    if (m->o->history && pv_history_save(m->o->history, &note) < 0) {
        pv_buf_adds(&m->text, "  note: how long files took and which failed is not kept: ");
        pv_text_clean(&m->text, note.text, strlen(note.text), NULL);
        pv_buf_addc(&m->text, '\n');
    }
    pv_buf_addc(&m->text, '\n');
    pv_format_summary(&m->text, m->reports, m->n_reports, merge_stopped_by(m), &m->o->style);
    merge_put_text(m);
    return code;
}

static void merge_fini(struct merge *m)
{
    for (size_t i = 0; i < m->n_shards; i++) {
        struct shard *s = &m->shards[i];

        free(s->run.version);
        free(s->run.host);
        free(s->run.directory);
        pv_strv_free(&s->run.args);
        pv_strv_free(&s->run.files);
        pv_strv_free(&s->run.selected);
        free(s->end.stopped_by);
    }
    for (size_t i = 0; m->reports && i < m->n_reports; i++)
        pv_readback_fini(&m->reports[i]);
    free(m->reports);
    free(m->shards);
    free(m->entries);
    pv_strv_free(&m->paths);
    pv_strv_free(&m->missing);
    pv_buf_free(&m->text);
}

int pv_merge(const struct pv_strv *paths, const struct pv_merge_opts *o, struct pv_err *err)
{
    struct merge m = {.o = o, .fd = pv_outputs_take_stdout(&o->reports) ? STDERR_FILENO : STDOUT_FILENO};
    int rc = merge_collect_paths(&m, paths, err);

    if (rc == 0)
        rc = merge_read_heads(&m, err);
    if (rc == 0)
        rc = merge_check_shards(&m, err);
    if (rc == 0)
        rc = merge_check_files(&m, err);
    if (rc == 0)
        rc = merge_read_results(&m, err);
    if (rc == 0)
        rc = merge_write_all(&m, err);
    if (rc >= 0 && m.text_errno)
        rc = pv_err_sys(err, m.text_errno, "cannot write the report to standard %s",
                        m.fd == STDOUT_FILENO ? "output" : "error");
    merge_fini(&m);
    return rc;
}
