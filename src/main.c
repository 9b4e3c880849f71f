/* SPDX-License-Identifier: MIT */
/* Dispatches argv to a command.  The only file that prints errors. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/parse.h"

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"init", pv_cmd_init, "make the first files of a project"},
    {"test", pv_cmd_test, "run test files"},
    {"run", pv_cmd_run, "boot a kernel and run a command in it"},
    {"shell", pv_cmd_shell, "open a shell in a VM"},
    {"repl", pv_cmd_repl, "give Lua to a VM, line by line"},
    {"merge", pv_cmd_merge, "make one report out of those of shards"},
    {"doctor", pv_cmd_doctor, "look at this machine: can VMs boot here, and what would mend it"},
    {"fixture", pv_cmd_fixture, "the cache of fixtures: list, stale, clean, build, rebuild"},
    {"lsp", pv_cmd_lsp, "types of the Lua API for editors"},
    {"resume", pv_cmd_resume, "into a VM as it was at a failure (test --save-failed)"},
    {"version", pv_cmd_version, "print the version"},
};

int pv_cli_error(const struct pv_err *err)
{
    fflush(stdout);
    fprintf(stderr, "provium: %s\n", err->text);
    if (pv_log_on && err->file && *err->file)
        fprintf(stderr, "provium: (%s, from %s:%d)\n", pv_err_class_name(err->cls), err->file, err->line);
    return PV_EXIT_ERROR;
}

static void print_help(FILE *out)
{
    fprintf(out, "usage: provium COMMAND [options] [arguments]\n\ncommands:\n");
    for (size_t i = 0; i < PV_ARRAY_LEN(commands); i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    fprintf(out, "\n'provium COMMAND --help' tells more about one.\n");
}

static int unknown_command(const char *name)
{
    const char *names[PV_ARRAY_LEN(commands) + 1] = {NULL}, *near;
    struct pv_err err;

    for (size_t i = 0; i < PV_ARRAY_LEN(commands); i++)
        names[i] = commands[i].name;
    near = pv_nearest(name, names);
    if (near)
        pv_err_set(&err, PV_E_USAGE, "unknown command '%s' (did you mean '%s'?)", name, near);
    else
        pv_err_set(&err, PV_E_USAGE, "unknown command '%s'; 'provium help' lists the known ones", name);
    return pv_cli_error(&err);
}

/* Opens missing descriptors 0, 1 and 2: else the next opened file would get the number, and output. */
static void open_std_fds(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != fd)
            _exit(PV_EXIT_ERROR);
}

/* A handler and not SIG_IGN, which commands that tests start would inherit. */
static void on_sigpipe(int sig)
{
    (void)sig;
}

/*
 * Parents leave signals ignored or blocked (a service manager, a CI runner in Python).  Without SIGCHLD's
 * default no child has an exit status.
 */
static void reset_inherited_signals(void)
{
    struct sigaction sa = {.sa_handler = SIG_DFL};
    sigset_t none;

    sigaction(SIGCHLD, &sa, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int dispatch(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "help";

    if (!strcmp(name, "--version") || !strcmp(name, "-V"))
        name = argv[1] = "version";
    if (!strcmp(name, "help") && argc > 2) { /* help COMMAND */
        argv[1] = argv[2];
        argv[2] = "--help";
        name = argv[1];
        argc = 3;
    }
    for (size_t i = 0; i < PV_ARRAY_LEN(commands); i++)
        if (!strcmp(name, commands[i].name))
            return commands[i].run(argc - 1, argv + 1);
    if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h")) {
        print_help(argc > 1 ? stdout : stderr);
        return argc > 1 ? PV_EXIT_OK : PV_EXIT_ERROR;
    }
    return unknown_command(name);
}

int main(int argc, char **argv)
{
    struct sigaction sa = {.sa_handler = on_sigpipe, .sa_flags = SA_RESTART};
    int rc;

    open_std_fds();
    reset_inherited_signals();
    sigaction(SIGPIPE, &sa, NULL);
    pv_log_init();
    rc = dispatch(argc, argv);
    if (fflush(stdout) != 0 && rc == PV_EXIT_OK)
        rc = PV_EXIT_ERROR;
    return rc;
}
