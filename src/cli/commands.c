/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

const struct pv_command *const pv_commands[] = {
    &pv_command_init,       &pv_command_lsp,     &pv_command_test,  &pv_command_fixture,
    &pv_command_merge,      &pv_command_run,     &pv_command_shell, &pv_command_repl,
    &pv_command_resume,     &pv_command_gdb,     &pv_command_setup, &pv_command_doctor,
    &pv_command_completion, &pv_command_version, &pv_command_help,  NULL,
};

const struct pv_command *pv_command_find(const char *name)
{
    for (const struct pv_command *const *c = pv_commands; *c; c++)
        if (!strcmp(name, (*c)->name))
            return *c;
    return NULL;
}

void pv_command_list(bool to_stderr)
{
    FILE *out = to_stderr ? stderr : stdout;

    fprintf(out, "usage: provium COMMAND [options] [arguments]\n");
    for (const struct pv_command *const *c = pv_commands; *c; c++) {
        if ((*c)->group)
            fprintf(out, "%s:\n", (*c)->group);
        fprintf(out, "  %-10s %s\n", (*c)->name, (*c)->help);
    }
    fprintf(out, "'provium COMMAND --help' has its options; 'provium help TOPIC' shows a page of\n"
                 "the documentation, such as 'running' or 'vm:exec'; 'help topics' lists them.\n");
}
