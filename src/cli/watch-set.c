/* SPDX-License-Identifier: MIT */
#include "cli/watch-set.h"

#include <errno.h>
#include <limits.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/err.h"
#include "util/path.h"
#include "util/stamp.h"

enum {
    OWN_CHANGES = 5, /* in a row, after which a file's changes to its own input are no reason to run it */
    WATCHED = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB |
              IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR
};

/* A path that files read. */
struct input {
    char *path; /* absolute */
    bool tree;
    size_t users; /* files that read it */
    uint64_t now; /* stamp of the last look */
};

/* A path of one file. */
struct use {
    struct input *input;
    uint64_t stamp; /* before it was read */
    bool seen;      /* by the last run */
    unsigned own;   /* runs in a row during which it changed */
};

struct watched_file {
    char *path;
    bool due;
    bool begun; /* it was due in the last round, and did not run yet (--fail-fast) */
    bool ran;   /* in the last round */
    struct use *uses;
    size_t n;
    struct pv_strv wrote; /* by the last run */
};

struct pv_watchset {
    int fd;
    bool blind;   /* a directory could not be watched */
    void *inputs; /* tsearch(3) */
    struct watched_file common;
    struct watched_file *files;
    size_t n;
    struct watched_file *running; /* between pv_watchset_ran and pv_watchset_done */
};

/* ---- inotify ---- */

static void watch_one(const char *dir, void *arg)
{
    struct pv_watchset *s = arg;

    if (inotify_add_watch(s->fd, dir, WATCHED) < 0 && errno != ENOENT && errno != ENOTDIR)
        s->blind = true;
}

/* The directory that has the path, or the nearest one that exists. */
static void watch_above(struct pv_watchset *s, const char *path)
{
    cleanup_free char *dir = pv_path_dirname(path);
    struct stat st;

    while (stat(dir, &st) < 0 && strcmp(dir, "/") != 0 && strcmp(dir, ".") != 0) {
        char *up = pv_path_dirname(dir);

        free(dir);
        dir = up;
    }
    watch_one(dir, s);
}

/* Watches, then takes the stamp: a change after the stamp is seen. */
static void input_look(struct pv_watchset *s, struct input *in)
{
    char real[PATH_MAX];

    watch_above(s, in->path);
    if (realpath(in->path, real) && strcmp(real, in->path) != 0)
        watch_above(s, real);
    in->now = pv_stamp(in->path, in->tree, watch_one, s);
}

void pv_watchset_dir(struct pv_watchset *s, const char *dir)
{
    pv_stamp(dir, true, watch_one, s);
}

static void watch_drain(struct pv_watchset *s)
{
    char buf[16384] __attribute__((aligned(8)));

    while (read(s->fd, buf, sizeof(buf)) > 0)
        ;
}

/* ---- inputs ---- */

static int input_compare(const void *a, const void *b)
{
    const struct input *x = a, *y = b;
    int d = strcmp(x->path, y->path);

    return d ? d : x->tree - y->tree;
}

static struct input *input_get(struct pv_watchset *s, const char *path, bool tree)
{
    struct input key = {.path = (char *)path, .tree = tree}, *in;
    struct input **found = tfind(&key, &s->inputs, input_compare);

    if (found)
        return *found;
    in = pv_xcalloc(1, sizeof(*in));
    *in = (struct input){.path = pv_xstrdup(path), .tree = tree};
    tsearch(in, &s->inputs, input_compare);
    return in;
}

static void input_release(struct pv_watchset *s, struct input *in)
{
    if (--in->users)
        return;
    tdelete(in, &s->inputs, input_compare);
    free(in->path);
    free(in);
}

static struct use *file_use(struct pv_watchset *s, struct watched_file *f, const char *path, bool tree)
{
    struct input *in = input_get(s, path, tree);

    for (size_t i = 0; i < f->n; i++)
        if (f->uses[i].input == in)
            return &f->uses[i];
    f->uses = pv_xrealloc(f->uses, (f->n + 1) * sizeof(*f->uses));
    f->uses[f->n] = (struct use){.input = in};
    in->users++;
    return &f->uses[f->n++];
}

static void file_drop_use(struct pv_watchset *s, struct watched_file *f, size_t i)
{
    input_release(s, f->uses[i].input);
    f->uses[i] = f->uses[--f->n];
}

static void file_fini(struct pv_watchset *s, struct watched_file *f)
{
    while (f->n)
        file_drop_use(s, f, f->n - 1);
    free(f->uses);
    free(f->path);
    pv_strv_free(&f->wrote);
}

/* ---- the set ---- */

struct pv_watchset *pv_watchset_new(struct pv_err *err)
{
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    struct pv_watchset *s;

    if (fd < 0) {
        pv_err_sys(err, errno, "cannot watch files%s",
                   errno == EMFILE ? " (raise fs.inotify.max_user_instances)" : "");
        return NULL;
    }
    s = pv_xcalloc(1, sizeof(*s));
    s->fd = fd;
    return s;
}

void pv_watchset_free(struct pv_watchset *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        file_fini(s, &s->files[i]);
    file_fini(s, &s->common);
    free(s->files);
    pv_close(&s->fd);
    free(s);
}

int pv_watchset_fd(const struct pv_watchset *s)
{
    return s->fd;
}

bool pv_watchset_sees_all(const struct pv_watchset *s)
{
    return !s->blind;
}

static struct watched_file *set_file(const struct pv_watchset *s, const char *path)
{
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->files[i].path, path))
            return &s->files[i];
    return NULL;
}

/* The path as the file's process will name it. */
static char *full_path(const char *path)
{
    cleanup_free char *cwd = getcwd(NULL, 0);

    while (!strncmp(path, "./", 2))
        path += 2;
    return pv_path_join(cwd ? cwd : "/", path);
}

static void file_use_now(struct pv_watchset *s, struct watched_file *f, const char *path)
{
    cleanup_free char *full = full_path(path);
    struct use *u = file_use(s, f, full, false);

    input_look(s, u->input);
    u->stamp = u->input->now;
    u->seen = true;
}

void pv_watchset_add(struct pv_watchset *s, const char *path)
{
    struct watched_file *f = set_file(s, path);

    if (f)
        return;
    s->files = pv_xrealloc(s->files, (s->n + 1) * sizeof(*s->files));
    f = &s->files[s->n++];
    *f = (struct watched_file){.path = pv_xstrdup(path), .due = true};
    file_use_now(s, f, path);
}

void pv_watchset_keep(struct pv_watchset *s, const char *const *paths, size_t n, struct pv_strv *gone)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->n; i++) {
        bool keep = false;

        for (size_t k = 0; k < n && !keep; k++)
            keep = !strcmp(s->files[i].path, paths[k]);
        if (keep) {
            s->files[kept++] = s->files[i];
            continue;
        }
        pv_strv_add(gone, s->files[i].path);
        file_fini(s, &s->files[i]);
    }
    s->n = kept;
}

void pv_watchset_common(struct pv_watchset *s, const char *path)
{
    file_use_now(s, &s->common, path);
}

/* ---- a run's paths ---- */

void pv_watchset_ran(struct pv_watchset *s, const char *path)
{
    struct watched_file *f = set_file(s, path);

    s->running = f;
    if (!f)
        return;
    f->ran = true;
    f->begun = false;
    pv_strv_free(&f->wrote);
    for (size_t i = 0; i < f->n; i++)
        f->uses[i].seen = false;
}

void pv_watchset_input(struct pv_watchset *s, enum pv_input_kind kind, const char *path, uint64_t stamp)
{
    struct use *u;

    if (!s->running)
        return;
    if (kind == PV_INPUT_WROTE) {
        pv_strv_add(&s->running->wrote, path);
        return;
    }
    u = file_use(s, s->running, path, kind == PV_INPUT_TREE);
    if (!u->seen)
        u->stamp = stamp; /* the first read's: the oldest */
    u->seen = true;
}

static bool file_wrote(const struct watched_file *f, const char *path)
{
    for (size_t i = 0; i < f->wrote.n; i++)
        if (pv_path_is_below(path, f->wrote.v[i]))
            return true;
    return false;
}

void pv_watchset_done(struct pv_watchset *s, bool passed)
{
    struct watched_file *f = s->running;

    s->running = NULL;
    if (!f)
        return;
    for (size_t i = f->n; i-- > 1;) /* the first is the file itself */
        if ((passed && !f->uses[i].seen) || file_wrote(f, f->uses[i].input->path))
            file_drop_use(s, f, i);
}

/* ---- changes ---- */

static void on_input_look(const void *node, VISIT which, void *arg)
{
    if (which == postorder || which == leaf)
        input_look(arg, *(struct input *const *)node);
}

static void changed_add(struct pv_strv *list, const char *path)
{
    cleanup_free char *cwd = getcwd(NULL, 0);
    size_t n = cwd ? strlen(cwd) : 0;

    if (n > 1 && !strncmp(path, cwd, n) && path[n] == '/')
        path += n + 1;
    for (size_t i = 0; i < list->n; i++)
        if (!strcmp(list->v[i], path))
            return;
    pv_strv_add(list, path);
}

/* The file changes its own input: whether that is a reason to run it again. */
static bool own_change_counts(const struct watched_file *f, struct use *u, struct pv_strv *notes)
{
    if (u == f->uses || ++u->own < OWN_CHANGES)
        return true;
    if (u->own == OWN_CHANGES)
        pv_strv_addf(notes, "%s changes whenever %s runs, so that is no reason to run it again",
                     u->input->path, f->path);
    return false;
}

static bool file_look(struct watched_file *f, bool after_round, struct pv_strv *changed,
                      struct pv_strv *notes)
{
    bool due = false;

    for (size_t i = 0; i < f->n; i++) {
        struct use *u = &f->uses[i];
        bool differs = u->stamp != u->input->now, own = after_round && f->ran;

        u->stamp = u->input->now;
        if (differs != own)
            u->own = 0;
        if (!differs || (own && !own_change_counts(f, u, notes)))
            continue;
        due = true;
        changed_add(changed, u->input->path);
    }
    f->due |= due;
    f->ran = f->ran && !after_round;
    return due;
}

void pv_watchset_look(struct pv_watchset *s, bool after_round, struct pv_strv *changed, struct pv_strv *notes)
{
    watch_drain(s);
    twalk_r(s->inputs, on_input_look, s);
    for (size_t i = 0; i < s->n; i++)
        file_look(&s->files[i], after_round, changed, notes);
    if (file_look(&s->common, after_round, changed, notes))
        pv_watchset_all_due(s);
}

bool pv_watchset_is_due(const struct pv_watchset *s, const char *path)
{
    const struct watched_file *f = set_file(s, path);

    return f && (f->due || f->begun);
}

void pv_watchset_all_due(struct pv_watchset *s)
{
    for (size_t i = 0; i < s->n; i++)
        s->files[i].due = true;
}

void pv_watchset_begin(struct pv_watchset *s)
{
    for (size_t i = 0; i < s->n; i++) {
        s->files[i].begun |= s->files[i].due;
        s->files[i].due = false;
    }
}

size_t pv_watchset_count_due(const struct pv_watchset *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++)
        n += s->files[i].due;
    return n;
}

static void on_input_count(const void *node, VISIT which, void *arg)
{
    (void)node;
    if (which == postorder || which == leaf)
        ++*(size_t *)arg;
}

size_t pv_watchset_count(const struct pv_watchset *s, size_t *inputs)
{
    *inputs = 0;
    twalk_r(s->inputs, on_input_count, inputs);
    return s->n;
}
