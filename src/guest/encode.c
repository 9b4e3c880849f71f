/* SPDX-License-Identifier: MIT */
/* Fields of requests: strings, times, and commands as EXEC and JOB_START have them. */
#include "guest/call.h"

#include <string.h>

#include "config/config.h"
#include "guest/guest-state.h"
#include "guest/kcov.h"
#include "util/clock.h"

void pv_enc_str(struct pv_enc *e, const char *s)
{
    pv_enc_bytes(e, s, strlen(s));
}

uint64_t pv_wire_ms(int64_t ns)
{
    return (uint64_t)(ns / PV_NSEC_PER_MSEC) + (ns % PV_NSEC_PER_MSEC != 0);
}

/* Adds an entry "KEY=VALUE"; a later KEY replaces an earlier one. */
static void env_put(struct pv_strv *env, const char *entry)
{
    size_t key = strcspn(entry, "=") + 1;

    for (size_t i = 0; i < env->n; i++)
        if (!strncmp(env->v[i], entry, key)) {
            free(env->v[i]);
            env->v[i] = pv_xstrdup(entry);
            return;
        }
    pv_strv_add(env, entry);
}

/* Defaults, then the profile's, then the call's.  The agent sets HOME for another user. */
static void command_env(const struct pv_agent *a, const struct pv_exec *x, struct pv_strv *env)
{
    static const char *const defaults[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=dumb", "LANG=C.UTF-8",
        "HOME=/root"};

    for (size_t i = 0; i < PV_ARRAY_LEN(defaults) - (x->user ? 1 : 0); i++)
        env_put(env, defaults[i]);
    for (size_t i = 0; i < a->guest->profile->env.n; i++)
        env_put(env, a->guest->profile->env.v[i]);
    for (size_t i = 0; i < x->env.n; i++)
        env_put(env, x->env.v[i]);
}

int pv_call_check_command(const struct pv_exec *x, const char *what, struct pv_err *err)
{
    if (x->argv.n == 0)
        return pv_err_set(err, PV_E_USAGE, "%s: the command is empty", what);
    if (x->argv.n > PV_ARGS_MAX)
        return pv_err_set(err, PV_E_USAGE, "%s: more than %d arguments", what, PV_ARGS_MAX);
    return 0;
}

static void enc_list(struct pv_enc *e, const struct pv_strv *list)
{
    pv_enc_u32(e, (uint32_t)list->n);
    for (size_t i = 0; i < list->n; i++)
        pv_enc_str(e, list->v[i]);
}

void pv_enc_command(struct pv_enc *e, const struct pv_agent *a, const struct pv_exec *x)
{
    cleanup_strv struct pv_strv env = {0};

    if (!x->env_clear)
        command_env(a, x, &env);
    pv_enc_str(e, x->cwd ? x->cwd : "");
    enc_list(e, &x->argv);
    enc_list(e, x->env_clear ? &x->env : &env);
}

void pv_enc_exec(struct pv_enc *e, const struct pv_agent *a, const struct pv_exec *x, uint32_t flags)
{
    cleanup_strv struct pv_strv env = {0};
    const char *path = "";

    if (x->unnumbered)
        flags |= PV_EXEC_UNNUMBERED;
    if (x->env_clear)
        flags |= PV_EXEC_LOOKUP;
    if (x->user)
        flags |= PV_EXEC_USER | (x->env_clear ? 0 : PV_EXEC_HOME);
    if (x->pty)
        flags |= PV_EXEC_PTY;
    if (pv_kcov_wanted(a->guest))
        flags |= PV_EXEC_COVERAGE;
    pv_enc_u32(e, flags);
    pv_enc_u64(e, pv_wire_ms(x->timeout_ns));
    if (x->pty) {
        pv_enc_u32(e, x->rows);
        pv_enc_u32(e, x->columns);
    }
    command_env(a, x, &env);
    for (size_t i = 0; i < env.n; i++)
        if (!strncmp(env.v[i], "PATH=", 5))
            path = env.v[i] + 5;
    if (x->env_clear)
        pv_enc_str(e, path);
    if (x->user)
        pv_enc_str(e, x->user);
    pv_enc_command(e, a, x);
}
