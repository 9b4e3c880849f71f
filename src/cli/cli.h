/* SPDX-License-Identifier: MIT */
/*
 * The commands.  Each takes the arguments behind its name (argv[0] is the name) and returns the exit code.
 */
#ifndef PV_CLI_CLI_H
#define PV_CLI_CLI_H

struct pv_err;

enum { PV_EXIT_OK = 0, PV_EXIT_FAILED = 1, PV_EXIT_ERROR = 2 };

/* main.c: prints "provium: TEXT" to stderr and returns PV_EXIT_ERROR, for `return pv_cli_error(&err)`. */
int pv_cli_error(const struct pv_err *err);

int pv_cmd_run(int argc, char **argv);
int pv_cmd_shell(int argc, char **argv);
int pv_cmd_repl(int argc, char **argv);
int pv_cmd_test(int argc, char **argv);
int pv_cmd_merge(int argc, char **argv);
int pv_cmd_doctor(int argc, char **argv);
int pv_cmd_fixture(int argc, char **argv);
int pv_cmd_init(int argc, char **argv);
int pv_cmd_lsp(int argc, char **argv);
int pv_cmd_resume(int argc, char **argv);
int pv_cmd_version(int argc, char **argv);

#endif
