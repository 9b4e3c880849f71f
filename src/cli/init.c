/* SPDX-License-Identifier: MIT */
/* The command `init`: the first files of a project, from the texts in templates/. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "template-first.h"
#include "template-github.h"
#include "template-gitignore.h"
#include "template-gitlab.h"
#include "template-provium.h"
#include "template-ready.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/path.h"

enum { OPT_CI, OPT_COUNT };

static const struct pv_opt opts[] = {
    [OPT_CI] = {"ci", 0, "github|gitlab", "a file for that CI service, too"},
    [OPT_COUNT] = {NULL},
};

static const struct project_file {
    const char *path; /* below the project's directory */
    const char *ci;   /* the value of --ci that asks for it; NULL: always made */
    const unsigned char *text;
    size_t len;
} templates[] = {
    {"provium.toml", NULL, pv_template_provium, sizeof(pv_template_provium)},
    {"tests/first.test.lua", NULL, pv_template_first, sizeof(pv_template_first)},
    {"tests/fixtures/ready.lua", NULL, pv_template_ready, sizeof(pv_template_ready)},
    {".gitignore", NULL, pv_template_gitignore, sizeof(pv_template_gitignore)},
    {".github/workflows/provium.yml", "github", pv_template_github, sizeof(pv_template_github)},
    {".gitlab-ci.yml", "gitlab", pv_template_gitlab, sizeof(pv_template_gitlab)},
};

/* Makes the file of t below dir, with the directories above it; a file that is there stays as it is. */
static int template_write(const char *dir, const struct project_file *t, struct pv_err *err)
{
    cleanup_free char *path = pv_path_join(dir, t->path);
    cleanup_free char *parent = pv_path_dirname(path);
    cleanup_close int fd = -1;

    if (pv_mkdir_p(parent, 0777, err) < 0)
        return pv_err_wrap(err, "init");
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST) {
        printf("kept  %s (it was there before)\n", path);
        return 0;
    }
    if (fd < 0)
        return pv_err_sys(err, errno, "init: cannot make '%s'", path);
    if (pv_write_all(fd, t->text, t->len) < 0) {
        int errnum = errno;

        unlink(path);
        return pv_err_sys(err, errnum, "init: cannot write '%s'", path);
    }
    printf("made  %s\n", path);
    return 0;
}

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
            if (template_write(dir, &templates[i], err) < 0)
                return -1;
    if (strcmp(dir, ".") != 0)
        printf("\nNext: cd '%s' && provium test\n", dir);
    else
        printf("\nNext: provium test\n");
    return 0;
}

int pv_cmd_init(int argc, char **argv)
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
            pv_opt_help(
                stdout, "provium init [options] [DIR]",
                "Makes the first files of a project in DIR, or here: provium.toml, a test that passes, a\n"
                "fixture, .gitignore. Files that are there stay as they are.",
                opts);
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
