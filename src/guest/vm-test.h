/* SPDX-License-Identifier: MIT */
/* For tests in real VMs of the default guest: included once, by the test itself. */
#ifndef PV_GUEST_VM_TEST_H
#define PV_GUEST_VM_TEST_H

#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "config/guestdir.h"
#include "guest/agent.h"
#include "guest/guest.h"
#include "guest/snapshot.h"
#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/test.h"

static struct pv_config *config;
static struct pv_guest_env env;

static void assert_no_err(int r, const struct pv_err *err)
{
    if (r < 0)
        fail_msg("%s", err->text);
}

/* The output of a shell command, which must succeed; valid until the next call. */
static char *sh(struct pv_guest *g, const char *cmd)
{
    struct pv_exec x = {.timeout_ns = 60 * PV_NSEC_PER_SEC};
    struct pv_exec_result r = {0};
    struct pv_err err = PV_ERR_INIT;
    static char text[4096];

    pv_strv_add(&x.argv, "/bin/sh");
    pv_strv_add(&x.argv, "-c");
    pv_strv_add(&x.argv, cmd);
    assert_no_err(pv_agent_exec(pv_guest_agent(g), &x, &r, &err), &err);
    if (r.exit_code != 0)
        fail_msg("'%s' exited with %d: %s", cmd, r.exit_code, r.err.data ? r.err.data : "");
    snprintf(text, sizeof(text), "%s", r.out.data ? r.out.data : "");
    if (text[0] && text[strlen(text) - 1] == '\n')
        text[strlen(text) - 1] = '\0';
    pv_exec_result_fini(&r);
    pv_strv_free(&x.argv);
    return text;
}

static __attribute__((unused)) struct pv_guest *resume_guest(struct pv_snapshot *s)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *g = pv_guest_resume(&env, s, NULL, &err);

    assert_no_err(g ? 0 : -1, &err);
    return g;
}

/* A guest of the profile `default`, not booted. */
static struct pv_guest *new_guest(void)
{
    struct pv_err err = PV_ERR_INIT;
    const struct pv_profile *p = pv_config_profile(config, "default", &err);

    assert_no_err(p ? 0 : -1, &err);
    return pv_guest_new(&env, p);
}

/* Loads the configuration and makes env's loop; the test sets the rest of env. */
static void vm_test_begin(void)
{
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *dir = pv_guest_dir();

    pv_log_init();
    config = pv_config_load(NULL, dir, &err);
    env.host.loop = config ? pv_loop_new(&err) : NULL;
    if (env.host.loop)
        return;
    fprintf(stderr, "%s\n", err.text);
    exit(1);
}

static void vm_test_end(void)
{
    pv_loop_free(env.host.loop);
    pv_config_free(config);
}

#endif
