/* SPDX-License-Identifier: MIT */
/* provium shell: boots a profile's VM and joins the terminal to a shell in it. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/hand.h"
#include "cli/options.h"
#include "config/config.h"
#include "guest/guest.h"
#include "util/err.h"

enum {
    OPT_CONFIG,
    OPT_FIXTURE,
    OPT_MEM,
    OPT_CPUS,
    OPT_ACCEL,
    OPT_APPEND,
    OPT_NET,
    OPT_WAIT_SYSTEM,
    OPT_COLD,
    OPT_GDB
};

static const struct pv_opt options[] = {
    [OPT_CONFIG] = {"config", 0, "FILE", "this provium.toml (default: the nearest one upward)"},
    [OPT_FIXTURE] = {"fixture", 0, "FIXTURE", "resume this fixture, built first if it must be"},
    [OPT_MEM] = {"mem", 'm', "SIZE", "memory of the VM (default: 512M)"},
    [OPT_CPUS] = {"cpus", 'c', "N", "CPUs of the VM (default: 1)"},
    [OPT_ACCEL] = {"accel", 0, "auto|kvm|tcg", "how the VM is run, over what the profile says"},
    [OPT_APPEND] = {"append", 0, "TEXT", "more words for the kernel command line"},
    [OPT_NET] = {"net", 0, NULL, "an uplink: the VM reaches what the host reaches (NAT)"},
    [OPT_WAIT_SYSTEM] = {"wait-system", 0, NULL, "begin when systemd has started everything"},
    [OPT_COLD] = {"cold", 0, NULL, "boot, also where a cached boot is as good"},
    [OPT_GDB] = {"gdb", 0, NULL, "the kernel waits for `provium gdb`"},
    {NULL},
};

static int shell_option(struct hand_opts *o, int i, const char *value, struct pv_err *err)
{
    switch (i) {
    case OPT_CONFIG:
        o->config = value;
        return 0;
    case OPT_FIXTURE:
        o->fixture = value;
        return 0;
    case OPT_MEM:
        return pv_hand_parse_memory(o, value, err);
    case OPT_NET:
        o->net = true;
        return 0;
    case OPT_WAIT_SYSTEM:
        o->boot.wait_system = PV_CHOICE_YES;
        return 0;
    case OPT_COLD:
        o->cold = true;
        return 0;
    case OPT_GDB:
        o->gdb = true;
        return 0;
    case OPT_CPUS:
        return pv_hand_parse_cpus(o, value, err);
    case OPT_ACCEL:
        return pv_hand_parse_accel(o, value, err);
    case OPT_APPEND:
        free(o->boot.append);
        o->boot.append = pv_xstrdup(value);
        return 0;
    default:
        if (o->profile)
            return pv_err_set(err, PV_E_USAGE, "shell: one profile, got '%s' and '%s'", o->profile, value);
        o->profile = value;
        return 0;
    }
}

static int shell_main(int argc, char **argv)
{
    struct pv_opt_parser p = {.opts = options, .argc = argc, .argv = argv};
    struct hand_opts o = {.command = "shell"};
    struct pv_err err = PV_ERR_INIT;
    const char *value;
    int i, rc = 0;

    while (rc == 0 && (i = pv_opt_next(&p, &value, &err)) != PV_OPT_END) {
        if (i == PV_OPT_HELP) {
            pv_command_usage(&pv_command_shell);
            pv_hand_opts_fini(&o);
            return PV_EXIT_OK;
        }
        rc = i == PV_OPT_BAD ? -1 : shell_option(&o, i, value, &err);
    }
    o.quiet = !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO); /* a pipe gets the shell's bytes only */
    if (rc == 0)
        rc = pv_hand_check(&o, &err);
    if (rc == 0)
        rc = pv_hand_run(&o, &err);
    pv_hand_opts_fini(&o);
    return rc < 0 ? pv_hand_error(&err) : rc;
}

const struct pv_command pv_command_shell = {
    .name = "shell",
    .run = shell_main,
    .help = "open a shell in a VM",
    .usage = "shell [options] [PROFILE]",
    .about = "Boots a VM of the profile (default: default) and opens a shell in it. On a\n"
             "terminal that is a terminal too; Ctrl-] three times ends it. With a pipe,\n"
             "commands are read from standard input:\n"
             "\n"
             "    echo 'uname -a' | provium shell\n"
             "\n"
             "The exit code is the shell's; 1 when the guest died; 2 when it could not be\n"
             "started.",
    .opts = options,
    .words = "PROFILE",
};
