/* SPDX-License-Identifier: MIT */
/*
 * Streams (JSON lines, TAP) are written as files end.  Wholes (JUnit, HTML) are head, parts, foot: the head
 * has counts, so they are put together anew each time, from parts that lie in a nameless file beside the
 * report. The new report is nameless too until it is complete: a crash leaves nothing behind.
 */
#include "report/outputs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop/loop.h"
#include "loop/out.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/path.h"

/* Rewriting a whole report may take one part in this many of the run's time. */
enum { REWRITE_SHARE = 20 };

/* A page above this size gets no consoles and no calls, because a browser holds all of it in memory. */
enum { HTML_BRIEF_PASSED = 32 << 20, HTML_BRIEF_FAILED = 96 << 20 };

struct stream {
    int fd;
    bool open, opened_here;
    struct pv_loop *loop; /* NULL: written at once */
    struct pv_out out;
    int error;
};

enum whole_kind { JUNIT, HTML, WHOLES };

struct whole {
    bool wanted;
    char *dir, *base; /* NULL: the target is not a regular file, and `stream` writes it once, at the end */
    int dirfd, parts;
    struct stream stream;
    size_t n_bytes; /* of parts */
    int64_t written_at, cost_ns;
    int error;
};

struct pv_outputs {
    const struct pv_run_info *info;
    struct pv_output_opts o;
    struct stream json, tap;
    size_t tap_points;
    struct whole wholes[WHOLES];
    struct pv_totals totals;
    int64_t started;
};

void pv_totals_add(struct pv_totals *t, const struct pv_file_report *f)
{
    pv_junit_count(f, &t->junit);
    if (!f->ran)
        return;
    t->files++;
    if (f->interrupted)
        t->interrupted++;
    else if (pv_report_failed(f))
        t->failed++;
    else if (f->outcome == PV_SKIP || f->outcome == PV_TODO)
        t->skipped++;
    else if (f->outcome == PV_HELPER)
        t->helpers++;
    else
        t->passed++;
    if (f->flaky)
        t->flaky++;
    for (size_t i = 0; i < f->n_tests; i++) {
        enum pv_outcome o = f->tests[i].outcome;

        *(o == PV_OK      ? &t->tests_passed
          : o == PV_FAIL  ? &t->tests_failed
          : o == PV_XFAIL ? &t->tests_xfailed
                          : &t->tests_skipped) += 1;
        t->tests_flaky += pv_report_test_flaky(&f->tests[i]);
    }
    t->tests += f->n_tests;
}

bool pv_outputs_want_steps(const struct pv_output_opts *o)
{
    return o->json || o->html;
}

static bool is_stdout(const char *path)
{
    return path && !strcmp(path, "-");
}

bool pv_outputs_take_stdout(const struct pv_output_opts *o)
{
    return o->tap || is_stdout(o->json) || is_stdout(o->junit) || is_stdout(o->html);
}

/* ---- streams ---- */

static void on_stream_error(struct pv_out *out)
{
    PV_CONTAINER_OF(out, struct stream, out)->error = out->error;
}

static void stream_init(struct stream *s, struct pv_loop *loop, int fd, bool opened_here)
{
    *s = (struct stream){.fd = fd, .open = true, .opened_here = opened_here, .loop = loop};
    if (loop) {
        pv_out_init(&s->out, loop, fd);
        s->out.on_error = on_stream_error;
    }
}

/* Queues or writes the bytes of b, and leaves b empty. */
static void stream_put(struct stream *s, struct pv_buf *b)
{
    if (s->loop) {
        pv_out_put(&s->out, b);
        return;
    }
    if (!s->error && pv_write_all(s->fd, b->data, b->len) < 0)
        s->error = errno;
    pv_buf_free(b);
}

static bool stream_done(void *arg)
{
    return pv_out_done(&((struct stream *)arg)->out);
}

static void stream_flush(struct stream *s, int64_t deadline)
{
    if (s->open && s->loop && !stream_done(s) && pv_loop_run(s->loop, stream_done, s, deadline, NULL) != 0 &&
        !s->error)
        s->error = ETIMEDOUT;
}

static void stream_close(struct stream *s)
{
    if (!s->open)
        return;
    if (s->loop)
        pv_out_fini(&s->out);
    if (s->opened_here)
        pv_close(&s->fd);
    s->open = false;
}

/* ---- paths ---- */

/* Opens a file without a name in the directory. */
static int open_nameless(int dirfd, const char *base)
{
    cleanup_free char *name = NULL;
    int fd = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);

    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    name = pv_xasprintf(".%.180s.%d.parts", base, (int)getpid());
    fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd >= 0)
        unlinkat(dirfd, name, 0);
    return fd;
}

static int output_bad_path(const char *option, const char *path, const char *why, struct pv_err *err)
{
    return pv_err_set(err, PV_E_USAGE, "test: %s '%s': %s", option, path, why);
}

/*
 * The real directory and name of a report in *dir and *base; for a target that is no regular file (a
 * pipe, /dev/null) both stay NULL.  Links are followed, so that the rename replaces their target.
 */
static int output_resolve(const char *option, const char *path, char **dir, char **base, struct pv_err *err)
{
    cleanup_free char *real = pv_realpath(path), *above = NULL, *real_above = NULL;
    struct stat st;

    if (real) {
        if (stat(real, &st) == 0 && S_ISDIR(st.st_mode))
            return output_bad_path(option, path, "is a directory; expected a file", err);
        if (access(path, W_OK) < 0)
            return output_bad_path(option, path, strerror(errno), err);
        if (stat(real, &st) == 0 && !S_ISREG(st.st_mode))
            return 0;
        *dir = pv_path_dirname(real);
        *base = pv_xstrdup(pv_path_basename(real));
        return 0;
    }
    if (stat(path, &st) == 0) /* /dev/fd/63 has no real path */
        return 0;
    above = pv_path_dirname(path);
    real_above = pv_realpath(above);
    if (!real_above || !*pv_path_basename(path)) {
        pv_err_set(err, PV_E_USAGE, "test: %s '%s': there is no directory '%s'; make it first", option, path,
                   above);
        return -1;
    }
    *base = pv_xstrdup(pv_path_basename(path));
    *dir = pv_steal(&real_above);
    return 0;
}

static int open_stream(struct stream *s, const char *option, const char *path, struct pv_loop *loop,
                       struct pv_err *err)
{
    int fd;

    if (is_stdout(path)) {
        stream_init(s, loop, STDOUT_FILENO, false);
        return 0;
    }
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return output_bad_path(option, path, strerror(errno), err);
    stream_init(s, loop, fd, true);
    return 0;
}

static int open_whole(struct whole *w, const char *option, const char *path, struct pv_loop *loop,
                      struct pv_err *err)
{
    const char *dir = w->dir ? w->dir : "/tmp";

    w->wanted = true;
    if (!w->dir && open_stream(&w->stream, option, path, loop, err) < 0)
        return -1;
    w->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->parts = w->dirfd < 0 ? -1 : open_nameless(w->dirfd, w->base ? w->base : "provium");
    if (w->parts < 0)
        return output_bad_path(option, path, strerror(errno), err);
    return 0;
}

/* ---- wholes ---- */

static void junit_head(struct pv_buf *out, const struct pv_run_info *info, const struct pv_run_end *end)
{
    (void)info;
    pv_junit_head(out, end);
}

static const struct {
    const char *option;
    void (*head)(struct pv_buf *out, const struct pv_run_info *info, const struct pv_run_end *end);
    void (*foot)(struct pv_buf *out);
} whole_kinds[WHOLES] = {
    [JUNIT] = {"--junit", junit_head, pv_junit_foot}, [HTML] = {"--html", pv_html_head, pv_html_foot}};

static void whole_add(struct whole *w, struct pv_buf *part)
{
    if (!w->error && pv_write_all(w->parts, part->data, part->len) < 0)
        w->error = errno;
    w->n_bytes += part->len;
    pv_buf_free(part);
}

/* Passes head, parts and foot to `sink`, a piece at a time. */
static int whole_copy(struct pv_outputs *rs, enum whole_kind k, const struct pv_run_end *end,
                      int (*sink)(void *arg, struct pv_buf *piece), void *arg)
{
    struct whole *w = &rs->wholes[k];
    struct pv_buf piece = {0};
    off_t at = 0;

    whole_kinds[k].head(&piece, rs->info, end);
    if (sink(arg, &piece) < 0)
        return -1;
    for (;;) {
        ssize_t n = pv_pread_all(w->parts, pv_buf_reserve(&piece, 1 << 18), 1 << 18, at);

        if (n < 0) {
            pv_buf_free(&piece);
            return -1;
        }
        if (n == 0)
            break;
        piece.len = (size_t)n;
        at += n;
        if (sink(arg, &piece) < 0)
            return -1;
    }
    pv_buf_free(&piece);
    whole_kinds[k].foot(&piece);
    return sink(arg, &piece);
}

static int piece_to_fd(void *arg, struct pv_buf *piece)
{
    int rc = pv_write_all(*(int *)arg, piece->data, piece->len);

    pv_buf_free(piece);
    return rc;
}

static int piece_to_stream(void *arg, struct pv_buf *piece)
{
    struct stream *s = arg;

    stream_put(s, piece);
    stream_flush(s, pv_deadline(10 * PV_NSEC_PER_SEC));
    errno = s->error;
    return s->error ? -1 : 0;
}

/* Links the nameless file, then renames it over the old report. */
static int whole_replace(struct whole *w, int fd)
{
    cleanup_free char *name = pv_xasprintf(".%.180s.%d.new", w->base, (int)getpid());
    char self[40];

    snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    unlinkat(w->dirfd, name, 0);
    if (linkat(AT_FDCWD, self, w->dirfd, name, AT_SYMLINK_FOLLOW) < 0)
        return -1;
    if (renameat(w->dirfd, name, w->dirfd, w->base) == 0)
        return 0;
    unlinkat(w->dirfd, name, 0);
    return -1;
}

/* For file systems without O_TMPFILE or linkat: a hidden file, which a crash may leave behind. */
static int whole_write_by_name(struct pv_outputs *rs, enum whole_kind k, const struct pv_run_end *end)
{
    struct whole *w = &rs->wholes[k];
    cleanup_free char *name = pv_xasprintf(".%.180s.%d.new", w->base, (int)getpid());
    cleanup_close int fd = -1;

    unlinkat(w->dirfd, name, 0);
    fd = openat(w->dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd >= 0 && whole_copy(rs, k, end, piece_to_fd, &fd) == 0 &&
        renameat(w->dirfd, name, w->dirfd, w->base) == 0)
        return 0;
    if (fd >= 0)
        unlinkat(w->dirfd, name, 0);
    return -1;
}

static void whole_write(struct pv_outputs *rs, enum whole_kind k, const struct pv_run_end *end)
{
    struct whole *w = &rs->wholes[k];
    int64_t start = pv_now();
    cleanup_close int fd = -1;

    if (w->error)
        return;
    if (!w->base) {
        if (end->exit_code >= 0 && whole_copy(rs, k, end, piece_to_stream, &w->stream) < 0)
            w->error = errno;
        return;
    }
    fd = openat(w->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    if (fd < 0 || whole_copy(rs, k, end, piece_to_fd, &fd) < 0 || whole_replace(w, fd) < 0) {
        int e = errno;

        if (e == ENOSPC || e == EDQUOT || e == EFBIG || whole_write_by_name(rs, k, end) < 0)
            w->error = e == ENOSPC || e == EDQUOT || e == EFBIG ? e : errno;
    }
    w->written_at = pv_now();
    w->cost_ns = w->written_at - start;
}

static struct pv_run_end outputs_end_so_far(const struct pv_outputs *rs)
{
    size_t all = rs->info->n_selected * (rs->info->repeat ? rs->info->repeat : 1);

    return (struct pv_run_end){.totals = rs->totals,
                               .not_run = all > rs->totals.files ? all - rs->totals.files : 0,
                               .exit_code = -1,
                               .duration_ns =
                                   rs->info->duration_ns ? rs->info->duration_ns : pv_now() - rs->started};
}

/* ---- all outputs ---- */

static int outputs_check_paths(struct pv_outputs *rs, struct pv_err *err)
{
    const struct {
        const char *option, *path;
        char **dir, **base;
    } all[] = {{"--json", rs->o.json, NULL, NULL},
               {"--junit", rs->o.junit, &rs->wholes[JUNIT].dir, &rs->wholes[JUNIT].base},
               {"--html", rs->o.html, &rs->wholes[HTML].dir, &rs->wholes[HTML].base}};
    cleanup_strv struct pv_strv taken = {0};
    const char *has_stdout = rs->o.tap ? "--tap" : NULL;

    for (size_t i = 0; i < PV_ARRAY_LEN(all); i++) {
        cleanup_free char *dir = NULL, *base = NULL;

        if (!all[i].path)
            continue;
        if (is_stdout(all[i].path)) {
            if (has_stdout)
                return pv_err_set(err, PV_E_USAGE,
                                  "test: %s and %s can not both have standard output; give one a file",
                                  has_stdout, all[i].option);
            has_stdout = all[i].option;
            continue;
        }
        if (output_resolve(all[i].option, all[i].path, &dir, &base, err) < 0)
            return -1;
        if (!dir)
            continue;
        pv_strv_addf(&taken, "%s/%s", dir, base);
        for (size_t j = 0; j + 1 < taken.n; j++)
            if (!strcmp(taken.v[j], taken.v[taken.n - 1]))
                return output_bad_path(all[i].option, all[i].path, "is the file of another report too", err);
        if (all[i].dir) {
            *all[i].dir = pv_steal(&dir);
            *all[i].base = pv_steal(&base);
        }
    }
    return 0;
}

static int outputs_open_all(struct pv_outputs *rs, struct pv_loop *loop, struct pv_err *err)
{
    const char *paths[WHOLES] = {[JUNIT] = rs->o.junit, [HTML] = rs->o.html};
    struct pv_run_end end = outputs_end_so_far(rs);
    struct pv_buf b = {0};

    if (rs->o.json && open_stream(&rs->json, "--json", rs->o.json, loop, err) < 0)
        return -1;
    if (rs->o.tap && open_stream(&rs->tap, "--tap", "-", loop, err) < 0)
        return -1;
    for (int k = 0; k < WHOLES; k++)
        if (paths[k] && open_whole(&rs->wholes[k], whole_kinds[k].option, paths[k], loop, err) < 0)
            return -1;
    if (rs->json.open) {
        pv_json_run(&b, rs->info);
        stream_put(&rs->json, &b);
    }
    if (rs->tap.open) {
        pv_tap_head(&b);
        stream_put(&rs->tap, &b);
    }
    for (enum whole_kind k = 0; k < WHOLES; k++) {
        if (!rs->wholes[k].wanted)
            continue;
        whole_write(rs, k, &end);
        if (rs->wholes[k].error)
            return output_bad_path(whole_kinds[k].option, paths[k], strerror(rs->wholes[k].error), err);
    }
    return 0;
}

struct pv_outputs *pv_outputs_open(const struct pv_output_opts *o, const struct pv_run_info *info,
                                   struct pv_loop *loop, struct pv_err *err)
{
    struct pv_outputs *rs = pv_xcalloc(1, sizeof(*rs));

    rs->info = info;
    rs->o = *o;
    rs->started = pv_now();
    for (int k = 0; k < WHOLES; k++)
        rs->wholes[k].dirfd = rs->wholes[k].parts = -1;
    if (outputs_check_paths(rs, err) == 0 && outputs_open_all(rs, loop, err) == 0)
        return rs;
    pv_outputs_free(rs);
    return NULL;
}

void pv_outputs_begin(struct pv_outputs *rs, const struct pv_file_report *f)
{
    struct pv_buf b = {0};

    if (!rs->json.open)
        return;
    pv_json_begin(&b, f);
    stream_put(&rs->json, &b);
}

void pv_outputs_file(struct pv_outputs *rs, const struct pv_file_report *f)
{
    struct pv_buf b = {0};
    struct pv_run_end end;

    pv_totals_add(&rs->totals, f);
    if (rs->json.open) {
        pv_json_file(&b, f, false);
        stream_put(&rs->json, &b);
    }
    if (rs->tap.open) {
        pv_tap_file(&b, f, &rs->tap_points);
        stream_put(&rs->tap, &b);
    }
    if (rs->wholes[JUNIT].wanted) {
        pv_junit_file(&b, f, rs->info);
        whole_add(&rs->wholes[JUNIT], &b);
    }
    if (rs->wholes[HTML].wanted) {
        pv_html_file(
            &b, f, rs->wholes[HTML].n_bytes > (pv_report_failed(f) ? HTML_BRIEF_FAILED : HTML_BRIEF_PASSED));
        whole_add(&rs->wholes[HTML], &b);
    }
    end = outputs_end_so_far(rs);
    for (enum whole_kind k = 0; k < WHOLES; k++) {
        const struct whole *w = &rs->wholes[k];

        if (w->wanted && w->base && pv_now() - w->written_at >= REWRITE_SHARE * w->cost_ns)
            whole_write(rs, k, &end);
    }
}

int pv_outputs_end(struct pv_outputs *rs, int exit_code, const char *stopped_by, struct pv_err *err)
{
    struct pv_run_end end = outputs_end_so_far(rs);
    int64_t deadline = pv_deadline((stopped_by ? 2 : 10) * PV_NSEC_PER_SEC);
    const char *paths[WHOLES] = {[JUNIT] = rs->o.junit, [HTML] = rs->o.html};
    const char *option = NULL, *path = NULL;
    struct pv_buf b = {0};
    int error = 0;

    end.exit_code = exit_code;
    end.stopped_by = stopped_by;
    if (rs->json.open) {
        pv_json_end(&b, &end);
        stream_put(&rs->json, &b);
        stream_flush(&rs->json, deadline);
        option = "--json", path = rs->o.json, error = rs->json.error;
    }
    if (rs->tap.open) {
        pv_tap_foot(&b, &end, rs->tap_points);
        stream_put(&rs->tap, &b);
        stream_flush(&rs->tap, deadline);
        if (!error)
            option = "--tap", path = "standard output", error = rs->tap.error;
    }
    for (enum whole_kind k = 0; k < WHOLES; k++) {
        if (!rs->wholes[k].wanted)
            continue;
        whole_write(rs, k, &end);
        if (!error)
            option = whole_kinds[k].option, path = paths[k], error = rs->wholes[k].error;
    }
    if (!error)
        return 0;
    return pv_err_sys(err, error, "cannot write the report %s '%s'", option, path);
}

void pv_outputs_free(struct pv_outputs *rs)
{
    if (!rs)
        return;
    stream_close(&rs->json);
    stream_close(&rs->tap);
    for (int k = 0; k < WHOLES; k++) {
        struct whole *w = &rs->wholes[k];

        stream_close(&w->stream);
        pv_close(&w->dirfd);
        pv_close(&w->parts);
        free(w->dir);
        free(w->base);
    }
    free(rs);
}
