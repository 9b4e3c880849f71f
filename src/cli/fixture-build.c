/* SPDX-License-Identifier: MIT */
/* provium fixture build and rebuild: finds the scripts, and runs them in the runner's slots as test files. */
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/fixture.h"
#include "cli/version.h"
#include "config/config.h"
#include "lua/run.h"
#include "childproto/lease.h"
#include "runner/runner.h"
#include "testfile/script.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

#define TIMEOUT (600 * PV_NSEC_PER_SEC) /* of one fixture, with the fixtures it needs */

enum { MAX_SCRIPTS = 10000 };

struct build_arg {
    const struct pv_config *config;
    bool again;
};

/* ---- scripts ---- */

static struct pv_strv *walked_scripts; /* nftw has no argument */

static int script_visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    size_t n = strlen(path);

    (void)st;
    if (type == FTW_D && ftw->level > 0 && path[ftw->base] == '.')
        return FTW_SKIP_SUBTREE;
    if (type == FTW_F && n > 4 && !strcmp(path + n - 4, ".lua") && path[ftw->base] != '.' &&
        (strstr(path, "/fixtures/") || !strncmp(path, "fixtures/", 9)) && walked_scripts->n < MAX_SCRIPTS)
        pv_strv_add(walked_scripts, path);
    return FTW_CONTINUE;
}

/* All scripts in directories called fixtures, at `dir` or below. */
static void scripts_walk(const char *dir, struct pv_strv *scripts)
{
    walked_scripts = scripts;
    nftw(dir, script_visit, 32, FTW_PHYS | FTW_ACTIONRETVAL);
}

static bool is_script(const char *path)
{
    size_t n = strlen(path);
    struct stat st;

    return n > 4 && !strcmp(path + n - 4, ".lua") && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool is_dir(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Adds the scripts of a fixture's name in the project, a script's path, or a directory of tests. */
static int scripts_add_named(const struct pv_config *config, const char *name, const struct pv_strv *project,
                             struct pv_strv *scripts, struct pv_err *err)
{
    cleanup_buf struct pv_buf found = {0};
    size_t before = scripts->n, n = 0;

    if (is_script(name)) {
        pv_strv_add(scripts, name);
        return 0;
    }
    for (size_t i = 0; i < project->n; i++) {
        cleanup_free char *own = pv_tf_script_name(project->v[i]);

        if (strcmp(own, name) != 0)
            continue;
        pv_buf_addf(&found, "%s%s", n++ ? ", " : "", project->v[i]);
        if (n == 1)
            pv_strv_add(scripts, project->v[i]);
    }
    if (n > 1)
        return pv_err_set(err, PV_E_USAGE, "fixture: '%s' is the name of %zu; say which by its path: %s",
                          name, n, found.data);
    if (n == 0 && is_dir(name)) {
        scripts_walk(name, scripts);
        if (scripts->n == before)
            return pv_err_set(err, PV_E_USAGE, "fixture: no directory 'fixtures' with scripts is in '%s'",
                              name);
        return 0;
    }
    if (n == 0)
        return pv_err_set(
            err, PV_E_USAGE,
            "fixture: there is no fixtures/%s.lua below %s; name it by its path if it is elsewhere", name,
            config->dir);
    return 0;
}

/* ---- building ---- */

static void build_file(const struct pv_run_file *file, struct pv_result *result, void *arg)
{
    const struct build_arg *a = arg;
    struct pv_lease *lease = pv_lease_new(file->lease);
    struct pv_testfile_env env = {.config = a->config,
                                  .result = result,
                                  .lease = lease,
                                  .log_dir = file->log_dir,
                                  .root = file->root,
                                  .version = PV_VERSION};

    pv_lua_build_fixture(&env, file->path, a->again);
    pv_lease_free(lease);
}

static int build_all(const struct pv_config *config, const struct pv_strv *scripts, bool again,
                     struct pv_err *err)
{
    struct build_arg arg = {.config = config, .again = again};
    struct pv_test_list files = {0};
    struct pv_run_opts o = {.run = build_file,
                            .arg = &arg,
                            .timeout_ns = TIMEOUT,
                            .title = again ? "provium fixture rebuild" : "provium fixture build"};
    int rc;

    for (size_t i = 0; i < scripts->n; i++) {
        files.v = pv_xrealloc(files.v, (files.n + 1) * sizeof(*files.v));
        files.v[files.n++] = (struct pv_test_file){.path = pv_xstrdup(scripts->v[i]),
                                                   .name = pv_tf_script_name(scripts->v[i]),
                                                   .root = pv_path_dirname(scripts->v[i])};
    }
    rc = pv_runner_run(&files, &o, err);
    pv_test_list_free(&files);
    return rc;
}

int pv_cli_fixture_build(const struct pv_config *config, const char *const *names, size_t n, bool again,
                         struct pv_err *err)
{
    cleanup_strv struct pv_strv project = {0}, scripts = {0};

    scripts_walk(config->dir, &project);
    for (size_t i = 0; i < n; i++)
        if (scripts_add_named(config, names[i], &project, &scripts, err) < 0)
            return -1;
    if (n == 0 && project.n == 0)
        return pv_err_set(err, PV_E_USAGE, "fixture: no directory 'fixtures' with scripts is below %s",
                          config->dir);
    return build_all(config, n ? &scripts : &project, again, err);
}
