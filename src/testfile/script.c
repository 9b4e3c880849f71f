/* SPDX-License-Identifier: MIT */
#include "testfile/script.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "testfile/testfile.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/path.h"

enum { MAX_NAMES = 256 };

/* Appends PARENT/fixtures to the search path, once. */
static void script_add_dir(struct pv_strv *dirs, const char *parent)
{
    cleanup_free char *dir = pv_xasprintf("%s/fixtures", strcmp(parent, "/") ? parent : "");

    for (size_t i = 0; i < dirs->n; i++)
        if (!strcmp(dirs->v[i], dir))
            return;
    pv_strv_add(dirs, dir);
}

/*
 * From the script's directory upward: for a test file to the test root; for a test file that was given itself, and for a
 * fixture's script, which test files of any root may need, to the project root.  A script outside of that root has its own
 * directory alone.
 */
static void script_list_dirs(const struct pv_testfile *tf, struct pv_strv *dirs)
{
    const char *project = tf->env->config ? tf->env->config->dir : NULL;
    const char *given = tf->builder || !tf->env->root ? project : tf->env->root;
    cleanup_free char *dir = pv_realpath(tf->dir), *root = given ? pv_realpath(given) : NULL;
    cleanup_free char *top = project ? pv_realpath(project) : NULL, *tests = NULL;

    while (dir) {
        /* in fixtures/a.lua, "b" is fixtures/b.lua */
        bool inner = strcmp(pv_path_basename(dir), "fixtures") == 0;
        char *up;

        if (!inner)
            script_add_dir(dirs, dir);
        if (!strcmp(dir, "/") || (!inner && !(root && pv_path_is_below(dir, root) && strcmp(dir, root) != 0)))
            break;
        up = pv_path_dirname(dir);
        free(dir);
        dir = up;
    }
    if (!top)
        return;
    script_add_dir(dirs, top);
    tests = pv_path_join(top, "tests");
    script_add_dir(dirs, tests);
}

static int script_check_name(const char *name, struct pv_err *err)
{
    size_t n = strlen(name);

    if (n == 0)
        return pv_err_set(err, PV_E_USAGE, "a fixture's name is empty");
    if (n > 200)
        return pv_err_set(err, PV_E_USAGE, "a fixture's name has %zu bytes; at most 200", n);
    if (n > 4 && !strcmp(name + n - 4, ".lua"))
        return pv_err_set(err, PV_E_USAGE,
                          "a fixture is called by its name: provium.fixture(\"%.*s\") is fixtures/%s",
                          (int)n - 4, name, name);
    if (name[0] == '/' || !strncmp(name, "./", 2) || !strncmp(name, "../", 3) || strstr(name, "/../"))
        return pv_err_set(err, PV_E_USAGE,
                          "'%s' is a path; a fixture is called by its name: \"x\" is fixtures/x.lua", name);
    return 0;
}

/* Adds the names of the scripts in a directory. */
static void script_list_names(const char *dir, struct pv_strv *names)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    while (d && names->n < MAX_NAMES && (e = readdir(d))) {
        size_t n = strlen(e->d_name);

        if (n > 4 && !strcmp(e->d_name + n - 4, ".lua") && e->d_name[0] != '.')
            pv_strv_addf(names, "%.*s", (int)n - 4, e->d_name);
    }
    if (d)
        closedir(d);
}

static int script_not_found(const struct pv_strv *dirs, const char *name, struct pv_err *err)
{
    cleanup_strv struct pv_strv names = {0};
    cleanup_buf struct pv_buf looked = {0};
    const char *near;

    for (size_t i = 0; i < dirs->n; i++) {
        pv_buf_addf(&looked, "%s%s", i ? ", " : "", dirs->v[i]);
        script_list_names(dirs->v[i], &names);
    }
    near = names.n ? pv_nearest(name, (const char *const *)names.v) : NULL;
    if (near)
        return pv_err_set(err, PV_E_USAGE,
                          "there is no fixture '%s' (did you mean '%s'?); looked for %s.lua in %s", name,
                          near, name, looked.data ? looked.data : "-");
    return pv_err_set(err, PV_E_USAGE, "there is no fixture '%s'; looked for %s.lua in %s", name, name,
                      looked.data ? looked.data : "-");
}

char *pv_tf_script_find(struct pv_testfile *tf, const char *name, struct pv_err *err)
{
    cleanup_strv struct pv_strv dirs = {0};

    if (script_check_name(name, err) < 0)
        return NULL;
    script_list_dirs(tf, &dirs);
    for (size_t i = 0; i < dirs.n; i++) {
        cleanup_free char *path = pv_xasprintf("%s/%s.lua", dirs.v[i], name);
        struct stat st;

        if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
            return pv_realpath(path);
        pv_tf_reads(tf, path); /* created later, it would come first in the search */
    }
    script_not_found(&dirs, name, err);
    return NULL;
}

char *pv_tf_script_name(const char *script)
{
    const char *name = script, *at, *base;
    size_t n;

    for (at = strstr(script, "/fixtures/"); at; at = strstr(at + 1, "/fixtures/"))
        name = at + strlen("/fixtures/");
    base = name == script ? pv_path_basename(script) : name;
    n = strlen(base);
    return pv_xstrndup(base, n > 4 && !strcmp(base + n - 4, ".lua") ? n - 4 : n);
}
