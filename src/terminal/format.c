/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "terminal/format.h"
#include "util/text.h"
#include "util/clock.h"
#include "util/path.h"

#define RED "31"
#define GREEN "32"
#define YELLOW "33"
#define DIM "2"
#define BOLD "1"

static void format_painted(struct pv_buf *out, const struct pv_format_style *st, const char *color,
                           const char *text)
{
    if (st->color)
        pv_buf_addf(out, "\033[%sm%s\033[0m", color, text);
    else
        pv_buf_adds(out, text);
}

static void format_clean(struct pv_buf *out, const char *s, const char *indent)
{
    if (s)
        pv_text_clean(out, s, strlen(s), indent);
}

static void format_block(struct pv_buf *out, const char *title, const char *s, size_t n)
{
    pv_buf_addf(out, "    %s\n    ", title);
    pv_text_clean(out, s, n, "    ");
    pv_buf_addc(out, '\n');
}

static unsigned count_lines(const char *s)
{
    unsigned n = *s ? 1 : 0;

    for (; *s; s++)
        if (*s == '\n' && s[1])
            n++;
    return n;
}

/* The console tails of sub-test `id`, or of the file (PV_NO_TEST). */
static void format_consoles(struct pv_buf *out, const struct pv_file_report *f, uint32_t id)
{
    for (size_t i = 0; i < f->n_consoles; i++) {
        const struct pv_console *c = &f->consoles[i];
        cleanup_buf struct pv_buf title = {0};

        if (c->id != id || !c->tail || !*c->tail)
            continue;
        pv_buf_adds(&title, pv_is_network_log(c->vm) ? "--- frames of " : "--- console of ");
        format_clean(&title, c->vm, NULL);
        if (count_lines(c->tail) == 1)
            pv_buf_adds(&title, " (last line) ---");
        else
            pv_buf_addf(&title, " (last %u lines) ---", count_lines(c->tail));
        format_block(out, title.data, c->tail, strlen(c->tail));
    }
}

/* The kernel findings during sub-test `id`, or outside of all (PV_NO_TEST). */
static void format_findings(struct pv_buf *out, const struct pv_file_report *f, uint32_t id)
{
    const size_t most = 6; /* a flood is summed up by its number */
    size_t shown = 0;

    for (size_t i = 0; i < f->n_findings; i++) {
        const struct pv_finding_report *d = &f->findings[i];
        cleanup_buf struct pv_buf title = {0};

        if (d->test_id != id || d->handled || !d->vm || !d->headline || shown++ >= most)
            continue;
        if (d->outcome != PV_FAIL || !d->excerpt) {
            pv_buf_adds(out, "    the kernel of ");
            format_clean(out, d->vm, NULL);
            pv_buf_adds(out, " reported: ");
            format_clean(out, d->headline, NULL);
            pv_buf_addc(out, '\n');
            continue;
        }
        pv_buf_adds(&title, "--- report of the kernel of ");
        format_clean(&title, d->vm, NULL);
        pv_buf_addf(&title, " (%s) ---", pv_class_name(d->cls));
        format_block(out, title.data, d->excerpt, strlen(d->excerpt));
    }
    if (shown > most)
        pv_buf_addf(out, "    (%zu more kernel reports)\n", shown - most);
}

static void format_outcome(struct pv_buf *out, const struct pv_format_style *st, enum pv_outcome o)
{
    static const struct {
        const char *word, *color;
    } words[] = {[PV_OK] = {"ok", GREEN},      [PV_FAIL] = {"FAIL", RED},      [PV_SKIP] = {"skip", YELLOW},
                 [PV_TODO] = {"todo", YELLOW}, [PV_XFAIL] = {"xfail", YELLOW}, [PV_HELPER] = {"ok", GREEN}};
    _Static_assert(sizeof(words) / sizeof(words[0]) == PV_OUTCOME_COUNT, "a word for every outcome");

    format_painted(out, st, words[o].color, words[o].word);
}

/* "guest-oops"; NULL for classes that the message itself shows: assertions, Lua errors, timeouts. */
static const char *telling_class(enum pv_class cls)
{
    if (cls == PV_CLASS_NONE || cls == PV_CLASS_ASSERTION || cls == PV_CLASS_LUA || cls == PV_CLASS_TIMEOUT)
        return NULL;
    return pv_class_name(cls);
}

/* Colour of a line of a message: expected and actual values, positions, source lines. NULL: none. */
static const char *line_color(const char *line)
{
    if (!strncmp(line, "- ", 2))
        return RED;
    if (!strncmp(line, "+ ", 2))
        return GREEN;
    if (!strncmp(line, "at ", 3) || !strncmp(line, "called from ", 12) || !strncmp(line, "@@ ", 3))
        return DIM;
    return !strncmp(line, "  > ", 4) ? BOLD : NULL;
}

/* A message of several lines: the first goes on the current line, the others get `indent`. */
static void format_message(struct pv_buf *out, const char *msg, const char *indent,
                           const struct pv_format_style *st)
{
    cleanup_buf struct pv_buf text = {0};
    bool first = true;

    format_clean(&text, msg, "");
    for (char *line = text.data, *next; line; line = next, first = false) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        if (!first) {
            pv_buf_addc(out, '\n');
            pv_buf_adds(out, indent);
        }
        if (!first && line_color(line))
            format_painted(out, st, line_color(line), line);
        else
            pv_buf_adds(out, line);
    }
}

/* "passed at attempt 2", "3 attempts", or the reason of an expected failure, in parentheses. */
static void format_test_remark(struct pv_buf *out, const struct pv_test_report *t)
{
    if (t->outcome == PV_XFAIL) {
        pv_buf_adds(out, " (");
        format_clean(out, t->expect_fail, NULL);
        pv_buf_addc(out, ')');
    } else if (pv_report_test_flaky(t)) {
        pv_buf_addf(out, " (flaky: passed at attempt %zu)", t->n_attempts + 1);
    } else if (t->n_attempts) {
        pv_buf_addf(out, " (%zu attempts)", t->n_attempts + 1);
    }
}

/* The texts of log(). */
static void format_log(struct pv_buf *out, const struct pv_strv *log, const char *indent,
                       const struct pv_format_style *st)
{
    for (size_t i = 0; i < log->n; i++) {
        cleanup_buf struct pv_buf text = {0};

        pv_buf_addf(&text, "log: ");
        pv_text_clean(&text, log->v[i], strlen(log->v[i]), indent);
        pv_buf_adds(out, indent);
        format_painted(out, st, DIM, text.data);
        pv_buf_addc(out, '\n');
    }
}

/* Below a sub-test's line: its earlier attempts, its meta when it failed or `-v` asks for it, its log. */
static void format_test_details(struct pv_buf *out, const struct pv_test_report *t,
                                const struct pv_format_style *st)
{
    for (size_t i = 0; i < t->n_attempts; i++) {
        pv_buf_addf(out, "        attempt %zu ... ", i + 1);
        format_outcome(out, st, PV_FAIL);
        pv_buf_adds(out, ": ");
        format_message(out, t->attempts[i].msg, "            ", st);
        pv_buf_addc(out, '\n');
    }
    if (t->n_meta && (t->outcome == PV_FAIL || st->verbose)) {
        pv_buf_adds(out, "        meta:");
        for (size_t i = 0; i < t->n_meta; i++)
            for (size_t j = 0; j < t->meta[i].values.n; j++) {
                pv_buf_addc(out, ' ');
                format_clean(out, t->meta[i].key, NULL);
                pv_buf_addc(out, '=');
                format_clean(out, t->meta[i].values.v[j], NULL);
            }
        pv_buf_addc(out, '\n');
    }
    format_log(out, &t->log, "        ", st);
}

static void format_test(struct pv_buf *out, const struct pv_test_report *t, enum pv_class file_cls,
                        const struct pv_format_style *st)
{
    pv_buf_adds(out, "    \xc2\xb7 ");
    format_clean(out, t->name, NULL);
    pv_buf_adds(out, " ... ");
    format_outcome(out, st, t->outcome);
    if (t->outcome == PV_FAIL && t->cls != file_cls && telling_class(t->cls))
        pv_buf_addf(out, " (%s)", telling_class(t->cls));
    format_test_remark(out, t);
    if (st->verbose && t->duration_ns) {
        char took[32];

        snprintf(took, sizeof(took), " (%.2fs)", (double)t->duration_ns / PV_NSEC_PER_SEC);
        format_painted(out, st, DIM, took);
    }
    if (t->msg && *t->msg) {
        pv_buf_adds(out, ": ");
        format_message(out, t->msg, "        ", st);
    }
    pv_buf_addc(out, '\n');
    format_test_details(out, t, st);
}

/* The attempts before the last one, each with its message. */
static void format_attempts(struct pv_buf *out, const struct pv_file_report *f,
                            const struct pv_format_style *st)
{
    for (size_t i = 0; i < f->n_attempts; i++) {
        const struct pv_attempt_report *a = &f->attempts[i];

        pv_buf_addf(out, "    attempt %zu ... ", i + 1);
        format_outcome(out, st, a->outcome);
        pv_buf_addf(out, " (%.1fs)", (double)a->duration_ns / PV_NSEC_PER_SEC);
        if (a->msg && *a->msg) {
            pv_buf_adds(out, ": ");
            format_message(out, a->msg, "        ", st);
        }
        if (a->log) {
            pv_buf_adds(out, "\n        \xe2\x86\x92 ");
            format_clean(out, a->log, NULL);
        }
        pv_buf_addc(out, '\n');
    }
}

static void format_file_line(struct pv_buf *out, const struct pv_file_report *f,
                             const struct pv_format_style *st)
{
    /* Without the time that the file waited for the pool. */
    double seconds = (double)(f->duration_ns - f->waited_ns) / PV_NSEC_PER_SEC;

    pv_buf_adds(out, "  ");
    format_clean(out, f->name, NULL);
    pv_buf_adds(out, " ... ");
    if (f->interrupted) {
        format_painted(out, st, YELLOW, "interrupted");
    } else if (pv_report_failed(f)) {
        format_outcome(out, st, PV_FAIL);
        pv_buf_addf(out, " (%s%s", telling_class(f->cls) ? telling_class(f->cls) : "",
                    telling_class(f->cls) ? ", " : "");
        if (f->n_attempts)
            pv_buf_addf(out, "%zu attempts, ", f->n_attempts + 1);
        pv_buf_addf(out, "%.1fs)", seconds);
    } else if (f->flaky) {
        format_painted(out, st, YELLOW, "flaky");
        pv_buf_adds(out, " (");
        if (f->n_attempts)
            pv_buf_addf(out, "passed at attempt %zu, ", f->n_attempts + 1);
        pv_buf_addf(out, "%zu test%s, %.1fs)", f->n_tests, f->n_tests == 1 ? "" : "s", seconds);
    } else {
        format_outcome(out, st, f->outcome);
        if (f->outcome == PV_SKIP || f->outcome == PV_TODO) {
            if (f->msg && *f->msg) {
                pv_buf_adds(out, ": ");
                format_clean(out, f->msg, NULL);
            }
        } else if (f->outcome == PV_HELPER) {
            pv_buf_adds(out, " (nothing to test)");
        } else if (f->n_tests) {
            pv_buf_addf(out, " (%zu test%s, %.1fs)", f->n_tests, f->n_tests == 1 ? "" : "s", seconds);
        } else {
            pv_buf_addf(out, " (%.1fs)", seconds);
        }
    }
    pv_buf_addc(out, '\n');
}

static void command_add_path(struct pv_buf *command, const char *path)
{
    if (path[0] == '-')
        pv_buf_adds(command, "./");
    pv_text_shell(command, path);
}

/* True when the file stands in its root itself, so that naming the file finds the same scripts. */
static bool file_is_in_root(const struct pv_file_report *f)
{
    cleanup_free char *dir = pv_path_dirname(f->path);

    return !f->root || !strcmp(dir, f->root) || !strcmp(f->path, f->root);
}

/* The file's path below its root, for -f: its name may have the number of a repetition. */
static const char *path_below_root(const struct pv_file_report *f)
{
    size_t n = strlen(f->root);

    if (strncmp(f->path, f->root, n) != 0)
        return f->name;
    return f->path + n + strspn(f->path + n, "/");
}

/* The command that runs just this file again, below the same root, because fixtures are found from there. */
static void format_rerun(struct pv_buf *out, const struct pv_file_report *f, const struct pv_format_style *st)
{
    cleanup_buf struct pv_buf command = {0};

    if (!st->rerun || !f->path)
        return;
    pv_buf_addf(&command, "%s ", st->rerun);
    if (file_is_in_root(f)) {
        command_add_path(&command, f->path);
    } else {
        pv_buf_adds(&command, "-f ");
        pv_text_shell(&command, path_below_root(f));
        pv_buf_addc(&command, ' ');
        command_add_path(&command, f->root);
    }
    pv_buf_adds(out, "    rerun: ");
    format_clean(out, command.data, NULL);
    pv_buf_addc(out, '\n');
}

void pv_format_file(struct pv_buf *out, const struct pv_file_report *f, const struct pv_format_style *st)
{
    bool failed = pv_report_failed(f);

    if (!f->ran || (f->outcome == PV_HELPER && !failed && !st->verbose) ||
        (st->quiet && !failed && !f->flaky))
        return;
    format_file_line(out, f, st);
    format_attempts(out, f, st);
    for (size_t i = 0; i < f->n_tests; i++) {
        format_test(out, &f->tests[i], f->cls, st);
        format_findings(out, f, (uint32_t)i);
        format_consoles(out, f, (uint32_t)i);
    }
    format_log(out, &f->log, "    ", st);
    if (failed && !f->interrupted && f->msg && *f->msg) {
        pv_buf_adds(out, "    ");
        format_message(out, f->msg, "    ", st);
        pv_buf_addc(out, '\n');
    }
    format_findings(out, f, PV_NO_TEST);
    if (f->cut)
        pv_buf_adds(out, "    (the file said more than is kept)\n");
    if (failed && !f->interrupted)
        format_consoles(out, f, PV_NO_TEST);
    if (f->output.len && (failed || st->verbose)) {
        size_t n = f->output.len < PV_OUTPUT_MAX ? f->output.len : PV_OUTPUT_MAX;
        uint64_t cut = f->output_cut + f->output.len - n;
        char title[80] = "--- output ---";

        if (cut)
            snprintf(title, sizeof(title), "--- output (without the first %" PRIu64 " bytes) ---", cut);
        format_block(out, title, f->output.data + f->output.len - n, n);
    }
    if (failed && !f->interrupted)
        format_rerun(out, f, st);
}

static int text_width(const char *s)
{
    int n = 0;

    for (; *s; s++)
        if (((unsigned char)*s & 0xc0) != 0x80)
            n++;
    return n;
}

static void format_failed_logs(struct pv_buf *out, const struct pv_file_report *files, size_t n)
{
    int width = 0;
    bool any = false;

    for (size_t i = 0; i < n; i++)
        if (pv_report_failed(&files[i]) && files[i].n_logs && text_width(files[i].name) > width)
            width = text_width(files[i].name);
    for (size_t i = 0; i < n; i++) {
        const struct pv_file_report *f = &files[i];

        for (size_t j = 0; pv_report_failed(f) && j < f->n_logs; j++) {
            cleanup_buf struct pv_buf name = {0};

            if (!any)
                pv_buf_adds(out, "Failed test logs:\n");
            any = true;
            format_clean(&name, f->name, NULL);
            pv_buf_addf(out, "  %s%*s    \xe2\x86\x92 ", name.data ? name.data : "",
                        width - text_width(f->name) > 0 ? width - text_width(f->name) : 0, "");
            format_clean(out, f->logs[j].path, NULL);
            pv_buf_addc(out, '\n');
        }
    }
    if (any)
        pv_buf_addc(out, '\n');
}

/* The files of --save-failed, and the command that goes into them. */
static void format_saved(struct pv_buf *out, const struct pv_file_report *files, size_t n)
{
    bool any = false;

    for (size_t i = 0; i < n; i++) {
        const struct pv_file_report *f = &files[i];

        if (!f->saved)
            continue;
        if (!any)
            pv_buf_adds(out, "Saved at the failure (provium resume FILE):\n");
        any = true;
        pv_buf_adds(out, "  ");
        format_clean(out, f->saved, NULL);
        pv_buf_adds(out, "    ");
        format_clean(out, f->saved_vms, NULL);
        pv_buf_addc(out, '\n');
    }
    if (any)
        pv_buf_addc(out, '\n');
}

/* The files of --vmcore, as the command that opens them. */
static void format_cores(struct pv_buf *out, const struct pv_file_report *files, size_t n)
{
    bool any = false;

    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < files[i].n_cores; j++) {
            const struct pv_core_file *c = &files[i].cores[j];

            pv_buf_adds(out, any ? "  " : "Cores of VMs' kernels:\n  ");
            any = true;
            if (c->vmlinux) {
                pv_buf_adds(out, "crash ");
                format_clean(out, c->vmlinux, NULL);
                pv_buf_addc(out, ' ');
            }
            format_clean(out, c->path, NULL);
            pv_buf_adds(out, "    ");
            format_clean(out, c->vm, NULL);
            if (!c->vmlinux)
                pv_buf_adds(out, "; no vmlinux is known (the profile's key debug)");
            pv_buf_addc(out, '\n');
        }
    if (any)
        pv_buf_addc(out, '\n');
}

void pv_format_summary(struct pv_buf *out, const struct pv_file_report *files, size_t n,
                       const char *stopped_by, const struct pv_format_style *st)
{
    size_t passed = 0, failed = 0, flaky = 0, skipped = 0, not_run = 0;

    for (size_t i = 0; i < n; i++) {
        if (!files[i].ran || files[i].interrupted)
            not_run++;
        else if (pv_report_failed(&files[i]))
            failed++;
        else if (files[i].flaky)
            flaky++;
        else if (files[i].outcome == PV_SKIP || files[i].outcome == PV_TODO)
            skipped++;
        else
            passed++;
    }
    if (!stopped_by)
        format_failed_logs(out, files, n);
    format_cores(out, files, n);
    format_saved(out, files, n);
    if (failed || stopped_by || (flaky && st->fail_on_flaky))
        format_painted(out, st, RED, "FAIL:");
    else
        format_painted(out, st, GREEN, "OK:");
    pv_buf_addf(out, " %zu passed, %zu failed", passed, failed);
    if (flaky)
        pv_buf_addf(out, ", %zu flaky", flaky);
    if (skipped)
        pv_buf_addf(out, ", %zu skipped", skipped);
    if (not_run)
        pv_buf_addf(out, ", %zu not run to the end", not_run);
    if (stopped_by)
        pv_buf_addf(out, " (stopped by %s)", stopped_by);
    pv_buf_addc(out, '\n');
}

struct took {
    int64_t ns;
    size_t at;
};

static int slowest_first(const void *a, const void *b)
{
    const struct took *x = a, *y = b;

    if (x->ns != y->ns)
        return x->ns > y->ns ? -1 : 1;
    return x->at < y->at ? -1 : 1;
}

void pv_format_durations(struct pv_buf *out, const struct pv_file_report *files, size_t n, size_t most)
{
    cleanup_free struct took *v = pv_xcalloc(n + 1, sizeof(*v));
    size_t ran = 0;

    for (size_t i = 0; i < n; i++)
        if (files[i].ran)
            v[ran++] = (struct took){files[i].duration_ns - files[i].waited_ns, i};
    qsort(v, ran, sizeof(*v), slowest_first);
    if (ran > most)
        ran = most;
    if (ran == 0)
        return;
    pv_buf_addf(out, "Slowest file%s:\n", ran == 1 ? "" : "s");
    for (size_t i = 0; i < ran; i++) {
        pv_buf_addf(out, "  %8.2fs  ", (double)v[i].ns / PV_NSEC_PER_SEC);
        format_clean(out, files[v[i].at].name, NULL);
        pv_buf_addc(out, '\n');
    }
    pv_buf_addc(out, '\n');
}
