/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/version.h"
#include "util/err.h"

static const struct pv_opt opts[] = {{NULL}};

static int version_main(int argc, char **argv)
{
    struct pv_opt_parser p = {.opts = opts, .argc = argc, .argv = argv};
    struct pv_err err;
    const char *value;
    int i = pv_opt_next(&p, &value, &err);

    if (i == PV_OPT_HELP) {
        pv_command_usage(&pv_command_version);
        return PV_EXIT_OK;
    }
    if (i == PV_OPT_WORD)
        pv_err_set(&err, PV_E_USAGE, "version: takes no arguments, got '%s'", value);
    if (i != PV_OPT_END)
        return pv_cli_error(&err);
    printf("provium %s\n", PV_VERSION);
    return PV_EXIT_OK;
}

const struct pv_command pv_command_version = {
    .name = "version",
    .run = version_main,
    .help = "print the version",
    .usage = "version",
    .about = "Prints the version of this program.",
    .opts = opts,
    .words = NULL,
};
