/* SPDX-License-Identifier: MIT */
/* The commands.  Help, completion and the man page come from their descriptions. */
#ifndef PV_CLI_CLI_H
#define PV_CLI_CLI_H

#include <stdbool.h>

struct pv_err;
struct pv_opt;

struct pv_command {
    const char *name;
    int (*run)(int argc, char **argv); /* the exit code; argv[0] is the name */
    const char *help;                  /* a line of the list of commands */
    const char *usage;                 /* behind "provium " */
    const char *about;                 /* a paragraph or more, lines of at most 80 columns */
    const struct pv_opt *opts;
    const char *words; /* completion of its arguments, a value name as of struct pv_opt; NULL: none */
    const char *group; /* title of the commands from this one on in the list; NULL: those of the one before */
};

/* NULL-terminated, in the order of the list. */
extern const struct pv_command *const pv_commands[];
/* The command of that name; NULL: none. */
const struct pv_command *pv_command_find(const char *name);
/* The text of `provium NAME --help`, on standard output. */
void pv_command_usage(const struct pv_command *c);
/* The list of commands. */
void pv_command_list(bool to_stderr);

enum { PV_EXIT_OK = 0, PV_EXIT_FAILED = 1, PV_EXIT_ERROR = 2 };

/* main.c: prints "provium: TEXT" to stderr and returns PV_EXIT_ERROR, for `return pv_cli_error(&err)`. */
int pv_cli_error(const struct pv_err *err);

extern const struct pv_command pv_command_completion, pv_command_doctor, pv_command_fixture, pv_command_gdb,
    pv_command_help, pv_command_init, pv_command_lsp, pv_command_merge, pv_command_repl, pv_command_resume,
    pv_command_run, pv_command_setup, pv_command_shell, pv_command_test, pv_command_version;

#endif
