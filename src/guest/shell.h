/* SPDX-License-Identifier: MIT */
/*
 * A command or a shell in a guest, joined to descriptors of this process, for people:
 *
 *     struct pv_shell o = {.in = 0, .out = 1, .err = 2, .title = "vm1"};
 *     struct pv_shell_end end;
 *
 *     if (pv_shell_run(pv_guest_agent(g), &o, &end, &err) == 0)
 *         return end.exit_code;
 *
 * When `in` and `out` are terminals, the guest's command gets a terminal as well: `in` is raw meanwhile, so that
 * Ctrl-C, job control and editors work in the guest, and the window's size follows.  Otherwise the command gets
 * pipes, stdout and stderr are apart, and there is no byte that the command did not print.
 *
 * Any number of VMs may have any number of them, one at a time in a process.
 */
#ifndef PV_GUEST_SHELL_H
#define PV_GUEST_SHELL_H

#include <stdbool.h>

#include "util/mem.h"

struct pv_agent;
struct pv_err;

/* All borrowed. */
struct pv_shell {
    const struct pv_strv
        *argv; /* the command; NULL: root's login shell, with pipes that shell without its profile */
    const struct pv_strv *env; /* "KEY=VALUE", over the guest's defaults; NULL: none */
    const char *cwd;           /* NULL: the home directory of a shell, / of a command */
    const char *title;         /* on a terminal a line on `err` names it, and the escape; NULL: no line */
    int in, out, err;
};

struct pv_shell_end {
    int exit_code; /* the command's; 128 + signal when it was killed */
    bool escaped;  /* by Ctrl-] three times */
    int signal;    /* that this process got, and that ended the command: SIGTERM, SIGHUP, SIGINT; else 0 */
};

/*
 * Blocks (runs the loop) until the command has ended; the terminal's settings are as before in every case.  0, with
 * *end, also when the user, a signal or a reader that went away (SIGPIPE's exit code) ended it: then the command and
 * all processes below it are killed.  Only Ctrl-] three times in a row, on a terminal, ends it before its own end;
 * with pipes SIGINT is passed on, and kills it the second time.
 *
 * -1 with *err: class guest, it could not be started; guest-died, with the console's tail.  The caller's signal
 * mask and handlers are as before.
 */
int pv_shell_run(struct pv_agent *a, const struct pv_shell *o, struct pv_shell_end *end, struct pv_err *err);

#endif
