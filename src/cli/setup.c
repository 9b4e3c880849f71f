/* SPDX-License-Identifier: MIT */
/* The command `setup`: makes the default guest, by scripts/make-guest, whose text is in the program. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "config/guestdir.h"
#include "make-guest.h"
#include "util/err.h"
#include "util/mem.h"

enum { OPT_CHECK, OPT_FORCE, OPT_PACKAGES, OPT_COUNT };

static const struct pv_opt opts[] = {
    [OPT_CHECK] = {"check", 0, NULL, "make nothing: exit code 1 when there is no guest"},
    [OPT_FORCE] = {"force", 0, NULL, "make it anew, of the newest packages"},
    [OPT_PACKAGES] = {"packages", 0, "DIR", "take the packages from DIR, ask no network"},
    [OPT_COUNT] = {NULL},
};

struct setup_opts {
    bool check, force;
    const char *packages;
};

/* Becomes bash with the script; returns only after an error. */
static int setup_exec(const struct setup_opts *o, char *home, struct pv_err *err)
{
    cleanup_free char *text = pv_xstrndup((const char *)pv_make_guest_text, sizeof(pv_make_guest_text));
    char *argv[9] = {"bash", "-c", text, "provium setup"};
    size_t n = 4;

    if (o->check)
        argv[n++] = "--check";
    if (o->force)
        argv[n++] = "--force";
    if (o->packages) {
        argv[n++] = "--packages";
        argv[n++] = (char *)o->packages;
    }
    argv[n++] = home;
    argv[n] = NULL;
    fflush(stdout);
    execvp("bash", argv);
    return pv_err_sys(err, errno, "setup: bash cannot be started (install the package bash)");
}

/* Prints where a guest is that `setup` does not make itself; false: there is none, or not there. */
static bool other_guest(const char *home)
{
    cleanup_free char *found = pv_guest_dir();

    if (!found || !strcmp(found, home))
        return false;
    printf("setup: the default guest is there: %s; --force makes another one in %s\n", found, home);
    return true;
}

static int setup_run(const struct setup_opts *o, struct pv_err *err)
{
    cleanup_free char *home = pv_guest_home();

    if (!home)
        return pv_err_set(
            err, PV_E_USAGE,
            "setup: no place for the default guest: neither XDG_DATA_HOME nor HOME is an absolute "
            "path; set one, or PROVIUM_GUEST_DIR");
    if (!o->force && !o->packages && other_guest(home))
        return PV_EXIT_OK;
    return setup_exec(o, home, err);
}

static int setup_main(int argc, char **argv)
{
    struct pv_opt_parser p = {.opts = opts, .argc = argc, .argv = argv};
    struct setup_opts o = {0};
    struct pv_err err;
    const char *value;
    int i, rc;

    while ((i = pv_opt_next(&p, &value, &err)) >= 0)
        switch (i) {
        case OPT_CHECK:
            o.check = true;
            break;
        case OPT_FORCE:
            o.force = true;
            break;
        case OPT_PACKAGES:
            o.packages = value;
            break;
        case PV_OPT_HELP:
            pv_command_usage(&pv_command_setup);
            return PV_EXIT_OK;
        default:
            pv_err_set(&err, PV_E_USAGE, "setup: takes no arguments, got '%s'", value);
            return pv_cli_error(&err);
        }
    if (i == PV_OPT_BAD)
        return pv_cli_error(&err);
    rc = setup_run(&o, &err);
    return rc < 0 ? pv_cli_error(&err) : rc;
}

const struct pv_command pv_command_setup = {
    .name = "setup",
    .run = setup_main,
    .help = "make the default guest: a kernel and a userland",
    .usage = "setup [options]",
    .about = "Makes the guest of the profile `default` out of Debian's packages of a kernel\n"
             "and of busybox, in ~/.local/share/provium/guest (XDG_DATA_HOME; in a source\n"
             "tree: build/guest). It needs no root. A guest that is there already stays.",
    .opts = opts,
    .words = NULL,
    .group = "This machine",
};
