/* SPDX-License-Identifier: MIT */
/* provium repl: Lua, line by line, with VMs. */
#include "lua/repl.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/version.h"
#include "config/config.h"
#include "config/guestdir.h"
#include "util/err.h"
#include "util/mem.h"

enum { OPT_CONFIG, OPT_FIXTURE, OPT_ACCEL, OPT_COUNT };

static const struct pv_opt opts[] = {
    [OPT_CONFIG] = {"config", 0, "FILE", "this provium.toml (default: the nearest one upward)"},
    [OPT_FIXTURE] = {"fixture", 0, "FIXTURE", "vm is a VM of this fixture"},
    [OPT_ACCEL] = {"accel", 0, "auto|kvm|tcg", "how VMs are run, over what the profile says"},
    [OPT_COUNT] = {NULL},
};

struct repl_cmd {
    const char *config;
    enum pv_accel accel;
    struct pv_lua_repl_opts repl;
    bool help;
};

static int repl_take_option(struct repl_cmd *c, int option, const char *value, struct pv_err *err)
{
    switch (option) {
    case OPT_CONFIG:
        c->config = value;
        break;
    case OPT_FIXTURE:
        c->repl.fixture = value;
        break;
    case OPT_ACCEL:
        if (!pv_accel_parse(value, &c->accel))
            return pv_err_set(err, PV_E_USAGE, "repl: --accel '%s' is not known; expected auto, kvm or tcg",
                              value);
        break;
    case PV_OPT_HELP:
        c->help = true;
        break;
    default:
        if (c->repl.profile)
            return pv_err_set(err, PV_E_USAGE, "repl: expected one profile, got '%s' and '%s'",
                              c->repl.profile, value);
        c->repl.profile = value;
    }
    if (c->repl.profile && c->repl.fixture)
        return pv_err_set(err, PV_E_USAGE, "repl: a profile and --fixture; give one of them");
    return 0;
}

static int repl_start(const struct repl_cmd *c, struct pv_err *err)
{
    cleanup_free char *guest_dir = pv_guest_dir();
    struct pv_config *config = pv_config_load(c->config, guest_dir, err);
    struct pv_testfile_env env = {.config = config,
                                  .accel = c->accel,
                                  .version = PV_VERSION,
                                  .oopses = PV_POLICY_FAIL,
                                  .warnings = PV_POLICY_REPORT};
    int rc = -1;

    if (config && (c->repl.fixture || pv_config_profile(config, c->repl.profile, err)))
        rc = pv_lua_run_repl(&env, &c->repl, err);
    pv_config_free(config);
    return rc;
}

static int repl_main(int argc, char **argv)
{
    struct pv_opt_parser p = {.opts = opts, .argc = argc, .argv = argv};
    struct repl_cmd c = {.accel = PV_ACCEL_AUTO,
                         .repl = {.in = STDIN_FILENO, .out = STDOUT_FILENO, .err = STDERR_FILENO}};
    struct pv_err err = PV_ERR_INIT;
    const char *value;
    int i, rc = 0;

    while (rc == 0 && (i = pv_opt_next(&p, &value, &err)) != PV_OPT_END)
        rc = i == PV_OPT_BAD ? -1 : repl_take_option(&c, i, value, &err);
    if (rc == 0 && c.help)
        pv_command_usage(&pv_command_repl);
    else if (rc == 0)
        rc = repl_start(&c, &err);
    return rc < 0 ? pv_cli_error(&err) : rc;
}

const struct pv_command pv_command_repl = {
    .name = "repl",
    .run = repl_main,
    .help = "give Lua to a VM, line by line",
    .usage = "repl [options] [PROFILE]",
    .about = "Reads Lua, line by line, with the whole API of tests, and shows values. `vm` is\n"
             "a VM of the profile (default: default), which boots when it is used first. On a\n"
             "terminal with editing, history and completion; in a pipe:\n"
             "\n"
             "    echo 'vm:sh(\"uname -r\")' | provium repl\n"
             "\n"
             "Exit code 0: all went well, 1: a line failed, 2: it could not begin.",
    .opts = opts,
    .words = "PROFILE",
};
