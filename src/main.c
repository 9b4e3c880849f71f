/* SPDX-License-Identifier: MIT */
/* Dispatches argv to a command.  The only file that prints errors. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/path.h"

int pv_cli_error(const struct pv_err *err)
{
    fflush(stdout);
    fprintf(stderr, "provium: %s\n", err->text);
    if (pv_log_on && err->file && *err->file)
        fprintf(stderr, "provium: (%s, from %s:%d)\n", pv_err_class_name(err->cls), err->file, err->line);
    return PV_EXIT_ERROR;
}

static int unknown_command(const char *name)
{
    const char *names[64] = {NULL}, *near;
    struct pv_err err;

    for (size_t i = 0; pv_commands[i]; i++)
        names[i] = pv_commands[i]->name;
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

/* Programs that are started in another directory, as tests do by `cd DIR && provium`, find the same places. */
static void settle_environment(void)
{
    static const char *const places[] = {"PROVIUM_GUEST_DIR", "TMPDIR"};
    static const char *const programs[] = {"PROVIUM_QEMU", "PROVIUM_VIRTIOFSD"};

    for (size_t i = 0; i < PV_ARRAY_LEN(places); i++)
        pv_env_absolute(places[i]);
    for (size_t i = 0; i < PV_ARRAY_LEN(programs); i++)
        if (getenv(programs[i]) && strchr(getenv(programs[i]), '/')) /* else PATH has it */
            pv_env_absolute(programs[i]);
}

static int dispatch(int argc, char **argv)
{
    static const struct {
        const char *option, *command;
    } options[] = {{"--version", "version"}, {"-V", "version"}, {"--help", "help"}, {"-h", "help"}};
    const struct pv_command *c;

    if (argc < 2) {
        pv_command_list(true);
        return PV_EXIT_ERROR;
    }
    for (size_t i = 0; i < PV_ARRAY_LEN(options); i++)
        if (!strcmp(argv[1], options[i].option)) {
            static char name[16];

            snprintf(name, sizeof(name), "%s", options[i].command);
            argv[1] = name;
        }
    c = pv_command_find(argv[1]);
    return c ? c->run(argc - 1, argv + 1) : unknown_command(argv[1]);
}

/* A command whose standard output could not be written has failed.  A reader that has left wants no message. */
static int check_stdout(int rc)
{
    struct pollfd reader = {.fd = STDOUT_FILENO, .events = POLLOUT};
    bool lost = ferror(stdout);
    int why = fflush(stdout) < 0 ? errno : 0;

    if (!why && !lost)
        return rc;
    if (why != EPIPE && (poll(&reader, 1, 0) <= 0 || !(reader.revents & POLLERR)))
        fprintf(stderr, "provium: cannot write to standard output%s%s\n", why ? ": " : "",
                why ? strerror(why) : "");
    return rc == PV_EXIT_OK ? PV_EXIT_ERROR : rc;
}

int main(int argc, char **argv)
{
    struct sigaction sa = {.sa_handler = on_sigpipe, .sa_flags = SA_RESTART};

    open_std_fds();
    reset_inherited_signals();
    sigaction(SIGPIPE, &sa, NULL);
    pv_log_init();
    settle_environment();
    json_set_alloc_funcs(pv_xmalloc, free); /* the library does not check all of its own allocations */
    return check_stdout(dispatch(argc, argv));
}
