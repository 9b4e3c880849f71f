/* SPDX-License-Identifier: MIT */
#include "cli/hand.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/hand-net.h"
#include "cli/hand-root.h"
#include "cli/kernel.h"
#include "cli/version.h"
#include "childproto/event.h"
#include "childproto/result.h"
#include "config/guestdir.h"
#include "guest/agent.h"
#include "guest/shell.h"
#include "lua/run.h"
#include "runner/rundir.h"
#include "testfile/cached.h"
#include "testfile/testfile.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/parse.h"

enum { CPUS_MAX = 255 };
/* Of a boot with --wait-system, unless the profile gives more: systemd starts slowly in software emulation. */
#define SYSTEM_LIMIT (5 * 60 * PV_NSEC_PER_SEC)

void pv_hand_opts_fini(struct hand_opts *o)
{
    pv_boot_opts_fini(&o->boot);
    pv_strv_free(&o->argv);
    free(o->here);
}

int pv_hand_parse_memory(struct hand_opts *o, const char *value, struct pv_err *err)
{
    if (pv_parse_size(value, &o->boot.memory, err) < 0)
        return pv_err_wrap(err, "%s: --mem", o->command);
    if (o->boot.memory < PV_GUEST_MIN_MEMORY)
        return pv_err_set(err, PV_E_USAGE, "%s: --mem %s: a VM needs at least 32M", o->command, value);
    return 0;
}

int pv_hand_parse_cpus(struct hand_opts *o, const char *value, struct pv_err *err)
{
    char *end;
    unsigned long n = strtoul(value, &end, 10);

    if (*end || *value < '0' || *value > '9' || n < 1 || n > CPUS_MAX)
        return pv_err_set(err, PV_E_USAGE, "%s: --cpus takes a number from 1 to %d, got '%s'", o->command,
                          CPUS_MAX, value);
    o->boot.cpus = (unsigned)n;
    return 0;
}

int pv_hand_parse_accel(struct hand_opts *o, const char *value, struct pv_err *err)
{
    if (pv_accel_parse(value, &o->accel))
        return 0;
    return pv_err_set(err, PV_E_USAGE, "%s: --accel takes auto, kvm or tcg, got '%s'", o->command, value);
}

int pv_hand_check(const struct hand_opts *o, struct pv_err *err)
{
    const struct {
        const char *name;
        bool given;
    } of_a_boot[] = {{"a profile", o->profile}, {"--mem", o->boot.memory},
                     {"--cpus", o->boot.cpus},  {"--append", o->boot.append},
                     {"--cold", o->cold},       {"--wait-system", o->boot.wait_system == PV_CHOICE_YES},
                     {"--gdb", o->gdb}};

    for (size_t i = 0; i < PV_ARRAY_LEN(of_a_boot) && o->fixture; i++)
        if (of_a_boot[i].given)
            return pv_err_set(
                err, PV_E_USAGE,
                "%s: --fixture %s excludes %s: the machine is the one that the fixture's script booted",
                o->command, o->fixture, of_a_boot[i].name);
    return 0;
}

int pv_hand_error(const struct pv_err *err)
{
    int rc = pv_cli_error(err);

    if (err->cls == PV_E_GUEST && err->errnum)
        return err->errnum == ENOENT ? 127 : 126;
    return err->cls == PV_E_GUEST_DIED ? PV_EXIT_FAILED : rc;
}

int pv_hand_serve(struct pv_guest *g, const struct pv_strv *argv, const char *cwd, struct pv_err *err)
{
    struct pv_shell shell = {.argv = argv->n ? argv : NULL,
                             .cwd = cwd,
                             .title = argv->n ? NULL : pv_guest_name(g),
                             .in = STDIN_FILENO,
                             .out = STDOUT_FILENO,
                             .err = STDERR_FILENO};
    struct pv_shell_end end;

    return pv_shell_run(pv_guest_agent(g), &shell, &end, err) < 0 ? -1 : end.exit_code;
}

/* The consoles of a fixture that could not be built. */
static void hand_show_tails(const struct tf_tails *tails)
{
    for (const struct tf_tail *t = tails->first; t; t = t->next)
        fprintf(stderr, "--- console of %s ---\n%s", t->vm, t->text);
}

/* One line: whether the machine was really booted, and why; by: as of pv_guest_shared_by. */
static void hand_tell_boot(const struct hand_opts *o, const char *by, struct tf_booted *how, int64_t took)
{
    double s = (double)took / PV_NSEC_PER_SEC;

    if (!o->quiet && how->kind == TF_BOOT_CACHED)
        fprintf(stderr, "provium: cached boot, %.2f s (--cold boots anew)\n", s);
    else if (!o->quiet && how->kind == TF_BOOT_KEPT)
        fprintf(stderr, "provium: cold boot, %.2f s (%s); cached for the next time\n", s, how->why);
    else if (!o->quiet && how->kind == TF_BOOT_NOT_KEPT)
        fprintf(stderr, "provium: cold boot, %.2f s (not cached: %s)%s%s\n", s, how->why, by ? "; by " : "",
                by ? by : "");
    else if (!o->quiet)
        fprintf(stderr, "provium: cold boot, %.2f s%s%s\n", s, by ? ", by " : "", by ? by : "");
    free(how->why);
}

static int hand_boot(const struct hand_opts *o, struct pv_testfile *tf, struct pv_guest *g,
                     struct pv_err *err)
{
    int64_t start = pv_now(), profile = pv_guest_profile(g)->boot_timeout_ns;
    struct pv_boot_opts boot = o->boot;
    struct tf_booted how;

    if (boot.wait_system == PV_CHOICE_YES)
        boot.timeout_ns = profile > SYSTEM_LIMIT ? profile : SYSTEM_LIMIT;
    if (pv_tf_boot(tf, g, &boot, &how, err) < 0)
        return -1;
    hand_tell_boot(o, pv_guest_shared_by(g), &how, pv_now() - start);
    return 0;
}

/* The running VM; NULL with *err. */
static struct pv_guest *hand_vm(const struct hand_opts *o, struct pv_testfile *tf, struct pv_err *err)
{
    const struct pv_profile *profile;
    struct pv_guest *g;

    if (o->fixture) {
        g = pv_lua_fixture_vm(tf, o->fixture, err);
        hand_show_tails(&tf->tails);
        return g;
    }
    profile = pv_config_profile(tf->env->config, o->profile, err);
    if (profile && o->net && pv_hand_net_check(profile, err) < 0)
        return NULL;
    g = profile ? pv_guest_new(&tf->guest_env, profile) : NULL;
    if (g && hand_boot(o, tf, g, err) == 0)
        return g;
    pv_guest_free(g);
    return NULL;
}

/* ---- --kernel and --rootfs, in the profile ---- */

static int hand_set_kernel(struct pv_profile *p, const char *spec, struct pv_err *err)
{
    struct hand_kernel k;
    int rc = pv_hand_kernel(spec, &k, err);

    if (rc == 0)
        rc = pv_hand_kernel_check(&k, p->rootfs != NULL, err);
    if (rc == 0) {
        free(p->kernel);
        free(p->modules);
        p->kernel = pv_steal(&k.image);
        p->modules = pv_steal(&k.modules);
    }
    pv_hand_kernel_fini(&k);
    return rc;
}

static int hand_set_profile(struct hand_opts *o, struct pv_config *config, struct pv_err *err)
{
    const char *name = o->profile ? o->profile : "default";
    struct pv_profile *p = NULL;

    if (!pv_config_profile(config, name, err))
        return -1;
    for (size_t i = 0; i < config->n_profiles; i++)
        if (!strcmp(config->profiles[i].name, name))
            p = &config->profiles[i];
    if (pv_hand_root(o, p, err) < 0)
        return -1;
    return o->kernel ? hand_set_kernel(p, o->kernel, err) : 0;
}

/* ---- the VM ---- */

static int hand_run_in(const struct hand_opts *o, struct pv_testfile_env *env, struct pv_err *err)
{
    struct pv_testfile tf = {.env = env, .path = o->command, .dir = pv_xstrdup(".")};
    struct pv_guest *g = NULL;
    int rc = -1;

    if (pv_testfile_open(&tf, err) == 0)
        g = hand_vm(o, &tf, err);
    if (g && (!o->net || pv_hand_net(&tf, g, err) == 0))
        rc = pv_hand_serve(g, &o->argv, o->cwd ? o->cwd : o->here, err);
    pv_guest_free(g);
    pv_testfile_close(&tf);
    return rc;
}

/* The directory of a debugger's socket; without --gdb there is none. */
static struct pv_rundir hand_dir = PV_RUNDIR_INIT;

static void on_hand_signal(int sig)
{
    pv_rundir_remove_in_handler(&hand_dir);
    raise(sig); /* its default action: SA_RESETHAND */
}

/* --gdb: a directory, which goes with this process however a person ends it. */
static int hand_open_dir(struct hand_opts *o, struct pv_testfile_env *env, struct pv_err *err)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction sa = {.sa_handler = on_hand_signal, .sa_flags = (int)SA_RESETHAND};

    if (!o->gdb)
        return 0;
    if (pv_rundir_open(&hand_dir, err) < 0)
        return -1;
    for (size_t i = 0; i < PV_ARRAY_LEN(ends); i++)
        sigaction(ends[i], &sa, NULL);
    env->log_dir = hand_dir.path;
    o->boot.gdb = true;
    return 0;
}

/* With --gdb a person has to know that the kernel waits. */
static void on_hand_event(const struct pv_event *ev, void *arg)
{
    const struct hand_opts *o = arg;

    if (o->gdb && ev->type == PV_EV_NOTICE)
        fprintf(stderr, "provium: %s\n", ev->text);
}

int pv_hand_run(struct hand_opts *o, struct pv_err *err)
{
    cleanup_free char *guest_dir = pv_guest_dir();
    struct pv_config *config = pv_config_load(o->config, guest_dir, err);
    struct pv_result *result = config ? pv_result_new_local(on_hand_event, o, err) : NULL;
    struct pv_testfile_env env = {
        .config = config, .accel = o->accel, .result = result, .version = PV_VERSION};
    int rc = result ? 0 : -1;

    if (rc == 0 && !o->fixture)
        rc = hand_set_profile(o, config, err);
    if (rc == 0)
        rc = hand_open_dir(o, &env, err);
    o->boot.cached = o->cold || o->gdb ? PV_CHOICE_NO : PV_CHOICE_YES;
    if (rc == 0)
        rc = hand_run_in(o, &env, err);
    pv_rundir_close(&hand_dir, false);

    pv_result_free(result);
    pv_config_free(config);
    return rc;
}
