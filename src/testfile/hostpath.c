/* SPDX-License-Identifier: MIT */
#include "testfile/hostpath.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "testfile/testfile.h"
#include "util/mem.h"
#include "util/path.h"

bool pv_tf_find(struct pv_testfile *tf, const char *path, char out[static PATH_MAX])
{
    const char *dirs[] = {NULL, tf->env->config ? tf->env->config->dir : NULL, tf->dir};

    for (size_t i = 0; i < PV_ARRAY_LEN(dirs); i++) {
        int n;

        if (i > 0 && (!dirs[i] || path[0] == '/'))
            continue;
        n = dirs[i] ? snprintf(out, PATH_MAX, "%s/%s", dirs[i], path) : snprintf(out, PATH_MAX, "%s", path);
        if (n <= 0 || n >= PATH_MAX)
            continue;
        pv_tf_reads(tf, out);
        if (access(out, F_OK) == 0)
            return true;
    }
    return false;
}

static void dirs_add(struct pv_strv *dirs, const char *dir)
{
    if (!strcmp(dir, "."))
        dir = "";
    for (size_t i = 0; i < dirs->n; i++)
        if (!strcmp(dirs->v[i], dir))
            return;
    pv_strv_add(dirs, dir);
}

/* dir and its parents up to root, by their names alone; false: dir is not below root, nothing was added. */
static bool dirs_add_upward(struct pv_strv *dirs, const char *dir, const char *root)
{
    size_t n = root ? strlen(root) : 0;
    cleanup_free char *at = pv_xstrdup(dir), *top = NULL;

    while (n > 1 && root[n - 1] == '/')
        n--;
    top = pv_xstrndup(root ? root : "", n);
    if (!n || !pv_path_is_below(dir, top))
        return false;
    for (;;) {
        char *up;

        dirs_add(dirs, at);
        if (!strcmp(at, top) || !strcmp(at, "/") || !strcmp(at, "."))
            return true;
        up = pv_path_dirname(at);
        free(at);
        at = up;
    }
}

/*
 * The relative dir and its parents up to the absolute root, named as the user does as far as the working directory,
 * because messages name scripts so; false: it is not relative, or a link leads out of root on the way.
 */
static bool dirs_add_relative(struct pv_strv *dirs, const char *dir, const char *root)
{
    cleanup_free char *at = pv_xstrdup(dir);

    while (root && at[0] != '/' && !strstr(at, "..")) {
        cleanup_free char *real = pv_realpath(at);
        char *up;

        if (!real || !pv_path_is_below(real, root))
            return false;
        dirs_add(dirs, at);
        if (!strcmp(real, root))
            return true;
        if (!strcmp(at, "."))
            return dirs_add_upward(dirs, real, root);
        up = pv_path_dirname(at);
        free(at);
        at = up;
    }
    return false;
}

void pv_tf_require_dirs(const struct pv_testfile *tf, struct pv_strv *dirs)
{
    const char *project = tf->env->config ? tf->env->config->dir : NULL;
    const char *given = tf->builder || !tf->env->root ? project : tf->env->root;
    /* A fixture's script may have a path without links, or a relative one below an absolute project. */
    cleanup_free char *root = given ? pv_realpath(given) : NULL, *dir = root ? pv_realpath(tf->dir) : NULL;
    bool named = !tf->builder && !tf->env->root && dirs_add_relative(dirs, tf->dir, root);

    if (!named && !dirs_add_upward(dirs, tf->dir, given) && !dirs_add_upward(dirs, tf->dir, root) &&
        (!dir || !dirs_add_upward(dirs, dir, root)))
        dirs_add(dirs, tf->dir);
    if (project)
        dirs_add(dirs, project);
    dirs_add(dirs, "");
}
