/* SPDX-License-Identifier: MIT */
/*
 * Two passes: the first one visits the trees without following links, the second one visits the links, so
 * that a file is listed by its own path and not by that of a link to it.  Device and inode identify a file.
 */
#include "runner/find.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "util/err.h"
#include "util/glob.h"
#include "util/path.h"

enum { NO_FILE = -1 };

struct seen {
    dev_t dev;
    ino_t ino;
    ssize_t file; /* its index in the list; NO_FILE: a directory */
};

struct link {
    char *path;
    const char *root; /* the given path that led to the link */
};

struct finder {
    const struct pv_find_rule *rule;
    char *base; /* the rule's, without links; NULL: none */
    struct pv_test_list *out;
    struct seen *seen;
    size_t n_seen;
    struct link *links;
    size_t n_links;
};

static struct seen *seen_find(const struct finder *f, const struct stat *st)
{
    for (size_t i = 0; i < f->n_seen; i++)
        if (f->seen[i].dev == st->st_dev && f->seen[i].ino == st->st_ino)
            return &f->seen[i];
    return NULL;
}

static void seen_add(struct finder *f, const struct stat *st, ssize_t file)
{
    f->seen = pv_xrealloc(f->seen, (f->n_seen + 1) * sizeof(*f->seen));
    f->seen[f->n_seen++] = (struct seen){st->st_dev, st->st_ino, file};
}

static void list_add_file(struct finder *f, const struct stat *st, const char *path, const char *name,
                          char *root)
{
    struct pv_test_list *l = f->out;

    seen_add(f, st, (ssize_t)l->n);
    l->v = pv_xrealloc(l->v, (l->n + 1) * sizeof(*l->v));
    l->v[l->n++] = (struct pv_test_file){.path = pv_xstrdup(path), .name = pv_xstrdup(name), .root = root};
}

static bool name_ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);

    return n > m && !strcmp(name + n - m, end);
}

/* `path` without links, below the directory that the patterns are relative to; NULL: it is elsewhere. */
static const char *path_below_base(const struct finder *f, const char *real)
{
    size_t n = f->base ? strlen(f->base) : 0;

    if (!n || !real || strncmp(real, f->base, n) != 0)
        return NULL;
    if (real[n] == '/')
        return real + n + 1;
    return n == 1 ? real + 1 : NULL;
}

/* Whether the rule makes the file at `path`, below the given directory `root`, a candidate. */
static bool find_fits(const struct finder *f, const char *path, const char *root)
{
    const struct pv_strv *patterns = f->rule->patterns;
    cleanup_free char *dir = NULL, *real_dir = NULL, *real = NULL;
    const char *below = path + strlen(root);

    if (!patterns || !patterns->n)
        return name_ends_in(pv_path_basename(path), ".lua");
    dir = pv_path_dirname(path);
    real_dir = pv_realpath(dir);
    real = real_dir ? pv_path_join(real_dir, pv_path_basename(path)) : NULL;
    if (path_below_base(f, real))
        below = path_below_base(f, real);
    below += strspn(below, "/");
    for (size_t i = 0; i < patterns->n; i++)
        if (pv_glob_match(patterns->v[i], below))
            return true;
    return false;
}

static int find_walk_once(struct finder *f, const struct stat *st, const char *dir, const char *root,
                          struct pv_err *err);

/* One entry of a directory; `follow` is false in the first pass. */
static int find_visit(struct finder *f, const char *path, const char *root, bool follow, struct pv_err *err)
{
    const char *base = pv_path_basename(path);
    size_t root_len = strlen(root);
    struct stat st;

    if ((follow ? stat(path, &st) : lstat(path, &st)) < 0) {
        if (errno == ENOENT && !find_fits(f, path, root))
            return 0; /* removed since it was listed, or a dangling link below a directory */
        return pv_err_sys(err, errno, "cannot look at '%s'", path);
    }
    if (S_ISLNK(st.st_mode)) {
        f->links = pv_xrealloc(f->links, (f->n_links + 1) * sizeof(*f->links));
        f->links[f->n_links++] = (struct link){pv_xstrdup(path), root};
        return 0;
    }
    if (S_ISDIR(st.st_mode))
        return !strcmp(base, "fixtures") ? 0 : find_walk_once(f, &st, path, root, err);
    if (!S_ISREG(st.st_mode) || !find_fits(f, path, root) || seen_find(f, &st))
        return 0;
    while (path[root_len] == '/')
        root_len++;
    list_add_file(f, &st, path, path + root_len, pv_xstrdup(root));
    return 0;
}

static int find_walk(struct finder *f, const char *dir, const char *root, struct pv_err *err)
{
    struct dirent **list = NULL;
    int n = scandir(dir, &list, NULL, alphasort), rc = 0;

    if (n < 0)
        return pv_err_sys(err, errno, "cannot read directory '%s'", dir);
    for (int i = 0; i < n; i++) {
        if (rc == 0 && list[i]->d_name[0] != '.') {
            cleanup_free char *path = pv_path_join(dir, list[i]->d_name);

            rc = find_visit(f, path, root, false, err);
        }
        free(list[i]);
    }
    free(list);
    return rc;
}

/* The same, unless the directory, which *st is of, was visited already. */
static int find_walk_once(struct finder *f, const struct stat *st, const char *dir, const char *root,
                          struct pv_err *err)
{
    if (seen_find(f, st))
        return 0;
    seen_add(f, st, NO_FILE);
    return find_walk(f, dir, root, err);
}

static int find_add_given(struct finder *f, const char *path, struct pv_err *err)
{
    struct seen *seen;
    struct stat st;
    bool alone;

    if (stat(path, &st) < 0) {
        if (errno == ENOENT)
            return pv_err_set(err, PV_E_USAGE, "'%s' does not exist; expected a test file or a directory",
                              path);
        return pv_err_sys(err, errno, "cannot look at '%s'", path);
    }
    if (S_ISDIR(st.st_mode))
        return find_walk_once(f, &st, path, path, err);
    if (!S_ISREG(st.st_mode))
        return pv_err_set(err, PV_E_USAGE, "'%s' is neither a file nor a directory", path);
    alone = !seen_find(f, &st);
    if (alone)
        list_add_file(f, &st, path, path, pv_path_dirname(path));
    seen = seen_find(f, &st);
    f->out->v[seen->file].given = true;
    f->out->v[seen->file].alone |= alone;
    return 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct pv_test_file *)a)->path, ((const struct pv_test_file *)b)->path);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct pv_test_file *const *)a)->name, (*(struct pv_test_file *const *)b)->name);
}

/* Files of the same name in two directories are shown by their paths. */
static void settle_names(struct pv_test_list *l)
{
    cleanup_free struct pv_test_file **p = pv_xcalloc(l->n, sizeof(*p));
    cleanup_free bool *clash = pv_xcalloc(l->n, sizeof(*clash));

    for (size_t i = 0; i < l->n; i++)
        p[i] = &l->v[i];
    qsort(p, l->n, sizeof(*p), by_name);
    for (size_t i = 1; i < l->n; i++)
        if (!strcmp(p[i - 1]->name, p[i]->name))
            clash[i - 1] = clash[i] = true;
    for (size_t i = 0; i < l->n; i++) {
        if (!clash[i])
            continue;
        free(p[i]->name);
        p[i]->name = pv_xstrdup(p[i]->path);
    }
}

void pv_test_file_fini(struct pv_test_file *t)
{
    free(t->path);
    free(t->name);
    free(t->root);
}

/* Drops the files below `root` that are not called *.test.lua, if there is one that is. */
static void list_keep_test_lua(struct pv_test_list *l, const char *root)
{
    bool any = false;
    size_t kept = 0;

    for (size_t i = 0; i < l->n; i++)
        any |= !l->v[i].given && !strcmp(l->v[i].root, root) && name_ends_in(l->v[i].path, ".test.lua");
    for (size_t i = 0; i < l->n; i++) {
        if (!any || l->v[i].given || strcmp(l->v[i].root, root) != 0 ||
            name_ends_in(l->v[i].path, ".test.lua"))
            l->v[kept++] = l->v[i];
        else
            pv_test_file_fini(&l->v[i]);
    }
    l->n = kept;
}

static void list_keep_only(struct pv_test_list *l, const struct pv_strv *only)
{
    size_t kept = 0;

    for (size_t i = 0; i < l->n; i++) {
        bool match = only->n == 0;

        for (size_t j = 0; j < only->n && !match; j++)
            match = strstr(l->v[i].name, only->v[j]) != NULL;
        if (match)
            l->v[kept++] = l->v[i];
        else
            pv_test_file_fini(&l->v[i]);
    }
    l->n = kept;
}

static int find_none_err(const struct pv_strv *paths, const struct pv_find_rule *rule,
                         const struct pv_strv *only, size_t before, struct pv_err *err)
{
    const struct pv_strv *patterns = rule->patterns;
    cleanup_buf struct pv_buf where = {0}, what = {0}, names = {0};

    for (size_t i = 0; i < paths->n; i++)
        pv_buf_addf(&where, "%s'%s'", i ? ", " : "", paths->v[i]);
    for (size_t i = 0; i < only->n; i++)
        pv_buf_addf(&what, "%s'%s'", i ? " or " : "", only->v[i]);
    if (before)
        return pv_err_set(err, PV_E_USAGE, "none of the %zu test file%s in %s has a name that contains %s",
                          before, before == 1 ? "" : "s", where.data, what.data);
    for (size_t i = 0; patterns && i < patterns->n; i++)
        pv_buf_addf(&names, "%s'%s'", i ? " or " : "that match ", patterns->v[i]);
    if (names.len)
        pv_buf_addf(&names, " (`tests` in %s/provium.toml)", rule->base);
    return pv_err_set(err, PV_E_USAGE,
                      "no test files in %s; expected files %s, not below a directory 'fixtures'",
                      where.data ? where.data : "(no paths)", names.len ? names.data : "called *.lua");
}

static int find_all_paths(struct finder *f, const struct pv_strv *paths, struct pv_err *err)
{
    for (size_t i = 0; i < paths->n; i++)
        if (find_add_given(f, paths->v[i], err) < 0)
            return -1;
    /* find_visit may append further links */
    for (size_t i = 0; i < f->n_links; i++) {
        cleanup_free char *path = pv_xstrdup(f->links[i].path);

        if (find_visit(f, path, f->links[i].root, true, err) < 0)
            return -1;
    }
    return 0;
}

int pv_find_tests(const struct pv_strv *paths, const struct pv_find_rule *rule, const struct pv_strv *only,
                  bool allow_none, struct pv_test_list *out, struct pv_err *err)
{
    struct finder f = {.rule = rule, .base = rule->base ? pv_realpath(rule->base) : NULL, .out = out};
    size_t before;
    int rc = find_all_paths(&f, paths, err);

    for (size_t i = 0; i < f.n_links; i++)
        free(f.links[i].path);
    free(f.links);
    free(f.seen);
    free(f.base);
    if (rc < 0)
        return -1;
    for (size_t i = 0; (!rule->patterns || !rule->patterns->n) && i < paths->n; i++)
        list_keep_test_lua(out, paths->v[i]);
    if (out->n)
        qsort(out->v, out->n, sizeof(*out->v), by_path);
    settle_names(out);
    before = out->n;
    list_keep_only(out, only);
    return out->n || allow_none ? 0 : find_none_err(paths, rule, only, before, err);
}

void pv_test_list_free(struct pv_test_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        pv_test_file_fini(&l->v[i]);
    free(l->v);
    *l = (struct pv_test_list){0};
}
