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
#include "util/path.h"

struct seen {
    dev_t dev;
    ino_t ino;
};

struct link {
    char *path;
    const char *root; /* the given path that led to the link */
};

struct finder {
    struct pv_test_list *out;
    struct seen *seen;
    size_t n_seen;
    struct link *links;
    size_t n_links;
};

static bool seen_before(struct finder *f, const struct stat *st)
{
    for (size_t i = 0; i < f->n_seen; i++)
        if (f->seen[i].dev == st->st_dev && f->seen[i].ino == st->st_ino)
            return true;
    f->seen = pv_xrealloc(f->seen, (f->n_seen + 1) * sizeof(*f->seen));
    f->seen[f->n_seen++] = (struct seen){st->st_dev, st->st_ino};
    return false;
}

static void list_add_file(struct finder *f, const char *path, const char *name, char *root)
{
    struct pv_test_list *l = f->out;

    l->v = pv_xrealloc(l->v, (l->n + 1) * sizeof(*l->v));
    l->v[l->n++] = (struct pv_test_file){.path = pv_xstrdup(path), .name = pv_xstrdup(name), .root = root};
}

static bool is_lua(const char *name)
{
    size_t n = strlen(name);

    return n > 4 && !strcmp(name + n - 4, ".lua");
}

static int find_walk(struct finder *f, const char *dir, const char *root, struct pv_err *err);

/* One entry of a directory; `follow` is false in the first pass. */
static int find_visit(struct finder *f, const char *path, const char *root, bool follow, struct pv_err *err)
{
    const char *base = pv_path_basename(path);
    size_t root_len = strlen(root);
    struct stat st;

    if ((follow ? stat(path, &st) : lstat(path, &st)) < 0) {
        if (errno == ENOENT && !is_lua(base))
            return 0; /* removed since it was listed, or a dangling link below a directory */
        return pv_err_sys(err, errno, "cannot look at '%s'", path);
    }
    if (S_ISLNK(st.st_mode)) {
        f->links = pv_xrealloc(f->links, (f->n_links + 1) * sizeof(*f->links));
        f->links[f->n_links++] = (struct link){pv_xstrdup(path), root};
        return 0;
    }
    if (S_ISDIR(st.st_mode))
        return !strcmp(base, "fixtures") || seen_before(f, &st) ? 0 : find_walk(f, path, root, err);
    if (!S_ISREG(st.st_mode) || !is_lua(base) || seen_before(f, &st))
        return 0;
    while (path[root_len] == '/')
        root_len++;
    list_add_file(f, path, path + root_len, pv_xstrdup(root));
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

static int find_add_given(struct finder *f, const char *path, struct pv_err *err)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        if (errno == ENOENT)
            return pv_err_set(err, PV_E_USAGE, "'%s' does not exist; expected a test file or a directory",
                              path);
        return pv_err_sys(err, errno, "cannot look at '%s'", path);
    }
    if (S_ISDIR(st.st_mode))
        return seen_before(f, &st) ? 0 : find_walk(f, path, path, err);
    if (!S_ISREG(st.st_mode))
        return pv_err_set(err, PV_E_USAGE, "'%s' is neither a file nor a directory", path);
    if (!seen_before(f, &st))
        list_add_file(f, path, path, pv_path_dirname(path));
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

static int find_none_err(const struct pv_strv *paths, const struct pv_strv *only, size_t before,
                         struct pv_err *err)
{
    cleanup_buf struct pv_buf where = {0}, what = {0};

    for (size_t i = 0; i < paths->n; i++)
        pv_buf_addf(&where, "%s'%s'", i ? ", " : "", paths->v[i]);
    for (size_t i = 0; i < only->n; i++)
        pv_buf_addf(&what, "%s'%s'", i ? " or " : "", only->v[i]);
    if (before)
        return pv_err_set(err, PV_E_USAGE, "none of the %zu test file%s in %s has a name that contains %s",
                          before, before == 1 ? "" : "s", where.data, what.data);
    return pv_err_set(err, PV_E_USAGE,
                      "no test files in %s; expected files called *.lua, not below a directory 'fixtures'",
                      where.data ? where.data : "(no paths)");
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

int pv_find_tests(const struct pv_strv *paths, const struct pv_strv *only, bool allow_none,
                  struct pv_test_list *out, struct pv_err *err)
{
    struct finder f = {.out = out};
    size_t before;
    int rc = find_all_paths(&f, paths, err);

    for (size_t i = 0; i < f.n_links; i++)
        free(f.links[i].path);
    free(f.links);
    free(f.seen);
    if (rc < 0)
        return -1;
    if (out->n)
        qsort(out->v, out->n, sizeof(*out->v), by_path);
    settle_names(out);
    before = out->n;
    list_keep_only(out, only);
    return out->n || allow_none ? 0 : find_none_err(paths, only, before, err);
}

void pv_test_list_free(struct pv_test_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        pv_test_file_fini(&l->v[i]);
    free(l->v);
    *l = (struct pv_test_list){0};
}
