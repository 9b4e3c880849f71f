/* SPDX-License-Identifier: MIT */
/* The command `init`: the first files of a project, from the texts in templates/. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/project-file.h"
#include "template-first.h"
#include "template-github.h"
#include "template-gitignore.h"
#include "template-gitlab.h"
#include "template-provium.h"
#include "template-ready.h"
#include "util/err.h"
#include "util/mem.h"

enum { OPT_CI, OPT_COUNT };

static const struct pv_opt opts[] = {
    [OPT_CI] = {"ci", 0, "github|gitlab", "a file for that CI service, too"},
    [OPT_COUNT] = {NULL},
};

static const struct project_template {
    const char *ci; /* the value of --ci that asks for it; NULL: always made */
    struct project_file file;
} templates[] = {
    {NULL, {"provium.toml", pv_template_provium, sizeof(pv_template_provium)}},
    {NULL, {"tests/first.test.lua", pv_template_first, sizeof(pv_template_first)}},
    {NULL, {"tests/fixtures/ready.lua", pv_template_ready, sizeof(pv_template_ready)}},
    {NULL, {".gitignore", pv_template_gitignore, sizeof(pv_template_gitignore)}},
    {"github", {".github/workflows/provium.yml", pv_template_github, sizeof(pv_template_github)}},
    {"gitlab", {".gitlab-ci.yml", pv_template_gitlab, sizeof(pv_template_gitlab)}},
};

static int ci_check(const char *ci, struct pv_err *err)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(templates); i++)
        if (templates[i].ci && !strcmp(templates[i].ci, ci))
            return 0;
    return pv_err_set(err, PV_E_USAGE, "init: --ci '%s' is not known; expected github or gitlab", ci);
}

static int project_init(const char *dir, const char *ci, struct pv_err *err)
{
    if (ci && ci_check(ci, err) < 0)
        return -1;
    for (size_t i = 0; i < PV_ARRAY_LEN(templates); i++)
        if (!templates[i].ci || (ci && !strcmp(templates[i].ci, ci)))
            if (pv_project_file_write("init", dir, &templates[i].file, err) < 0)
                return -1;
    if (strcmp(dir, ".") != 0)
        printf("\nNext: cd '%s' && provium test\n", dir);
    else
        printf("\nNext: provium test\n");
    return 0;
}

static int init_main(int argc, char **argv)
{
    struct pv_opt_parser p = {.opts = opts, .argc = argc, .argv = argv};
    const char *value, *dir = NULL, *ci = NULL;
    struct pv_err err;
    int i;

    while ((i = pv_opt_next(&p, &value, &err)) >= 0)
        switch (i) {
        case OPT_CI:
            ci = value;
            break;
        case PV_OPT_HELP:
            pv_command_usage(&pv_command_init);
            return PV_EXIT_OK;
        default:
            if (dir || !*value) {
                pv_err_set(&err, PV_E_USAGE, "init: expected at most one directory, got '%s'%s", value,
                           dir ? " too" : "");
                return pv_cli_error(&err);
            }
            dir = value;
        }
    if (i == PV_OPT_BAD || project_init(dir ? dir : ".", ci, &err) < 0)
        return pv_cli_error(&err);
    return PV_EXIT_OK;
}

const struct pv_command pv_command_init = {
    .name = "init",
    .run = init_main,
    .help = "make the first files of a project",
    .usage = "init [options] [DIR]",
    .about = "Makes the first files of a project in DIR, or here: provium.toml, a test that\n"
             "passes, a fixture, .gitignore. Files that are there stay as they are.",
    .opts = opts,
    .words = "DIR",
    .group = "A project",
};
