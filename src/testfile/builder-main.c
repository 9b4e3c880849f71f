/* SPDX-License-Identifier: MIT */
#include "testfile/builder-main.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/snapshot.h"
#include "guest/worker.h"
#include "child/child.h"
#include "childproto/lease.h"
#include "testfile/builder.h"
#include "testfile/error.h"
#include "testfile/netsaved.h"
#include "testfile/testfile.h"
#include "testfile/verdict.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

static void builder_send_tails(struct pv_testfile *tf)
{
    for (struct tf_guest *g = tf->guests.first; g; g = g->next) {
        cleanup_buf struct pv_buf tail = {0};

        pv_guest_console_tail(g->g, TF_TAIL_LINES, &tail);
        if (tail.len)
            pv_tf_builder_say(tf->builder, TF_MSG_TAIL, PV_CLASS_NONE, g->name, tail.data);
    }
}

static void builder_failed(struct pv_testfile *tf, enum pv_class cls, const char *text)
{
    builder_send_tails(tf);
    pv_tf_builder_say(tf->builder, TF_MSG_FAILED, cls, NULL, text);
}

void pv_tf_builder_fail(struct pv_testfile *tf, const struct pv_err *err)
{
    pv_tf_builder_say(tf->builder, TF_MSG_FAILED, PV_CLASS_HARNESS, NULL, err->text);
}

void pv_tf_builder_exit(struct pv_testfile *tf, const char *msg)
{
    builder_failed(tf, PV_CLASS_LUA, msg);
    pv_tf_guests_kill(&tf->guests);
    fflush(stdout);
    _exit(1);
}

/* The VM that the script returned, else the only one that runs. */
static struct tf_guest *builder_choose_vm(struct pv_testfile *tf, const struct tf_script_end *end,
                                          struct pv_err *err)
{
    struct tf_guest *found = NULL;
    cleanup_buf struct pv_buf names = {0};
    unsigned n = 0;

    if (end->vm && pv_guest_state(end->vm->g) == PV_GUEST_RUNNING)
        return end->vm;
    if (end->vm) {
        pv_err_set(err, PV_E_USAGE, "the script returned %s, which is %s; a fixture's VM must be running",
                   end->vm->name, pv_guest_state_name(pv_guest_state(end->vm->g)));
        return NULL;
    }
    if (end->returned) {
        pv_err_set(err, PV_E_USAGE, "the script returned a %s; a fixture returns its VM, or nothing",
                   end->returned);
        return NULL;
    }
    for (struct tf_guest *g = tf->guests.first; g; g = g->next) {
        if (pv_guest_state(g->g) != PV_GUEST_RUNNING)
            continue;
        pv_buf_addf(&names, "%s%s", n++ ? ", " : "", g->name);
        found = g;
    }
    if (n == 1)
        return found;
    if (n)
        pv_err_set(err, PV_E_USAGE,
                   "the script ended with %u VMs running (%s); let it return the one that is the fixture", n,
                   names.data);
    else
        pv_err_set(err, PV_E_USAGE, "the script ended without a running VM");
    return NULL;
}

/* Saves the machine and ends all VMs; NULL with *err.  Workers that the script left end with it. */
static struct pv_snapshot *builder_save_machine(struct pv_testfile *tf, const struct tf_script_end *end,
                                                struct pv_err *err)
{
    struct tf_guest *g = builder_choose_vm(tf, end, err);
    int64_t left = tf->builder->deadline - pv_now();
    struct pv_snapshot *s;

    if (!g)
        return NULL;
    pv_tf_phase(tf, "saving the machine");
    for (struct tf_worker *w = g->workers; w; w = w->next)
        pv_worker_kill(w->w);
    s = pv_tf_nets_unplug(tf, g->g, err) < 0 ? NULL : pv_guest_save(g->g, left > 0 ? left : 1, err);
    pv_tf_guests_kill(&tf->guests);
    fflush(NULL); /* host files that the script wrote may be inputs of another one */
    return s;
}

/*
 * Unexpected findings fail a build as they fail a test; so does *failed (NULL: none), for which they may be the
 * better class.  True: it has failed, and the message was sent.
 */
static bool builder_is_failed(struct pv_testfile *tf, struct pv_err *failed)
{
    enum pv_outcome outcome = failed ? PV_FAIL : PV_OK;
    enum pv_class cls = failed ? pv_tf_err_class(failed) : PV_CLASS_NONE;
    cleanup_free char *why = NULL;

    if (failed) {
        pv_err_drop_console(failed); /* builder_failed sends all consoles */
        why = pv_xstrdup(failed->text);
    }
    pv_tf_findings_settle(tf);
    pv_tf_judge(tf, PV_NO_TEST, &outcome, &cls, &why);
    if (outcome == PV_FAIL)
        builder_failed(tf, cls, why);
    return outcome == PV_FAIL;
}

/* The script has succeeded: keeps its machine. */
static void builder_keep_machine(struct pv_testfile *tf, const struct tf_script_end *end)
{
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *moved = NULL;
    struct pv_snapshot *s = builder_save_machine(tf, end, &err);
    int r;

    if (builder_is_failed(tf, s ? NULL : &err)) {
        pv_snapshot_unref(s);
        return;
    }
    r = pv_tf_store_commit(tf, tf->reads, s, &moved, &err);
    pv_snapshot_unref(s);
    if (r < 0)
        builder_is_failed(tf, &err);
    else if (r > 0)
        pv_tf_builder_say(tf->builder, TF_MSG_MOVED, PV_CLASS_HARNESS, NULL, moved);
    else
        pv_tf_builder_say(tf->builder, TF_MSG_DONE, PV_CLASS_NONE, NULL, "");
}

/* The script has left by skip() or todo(). */
static void builder_leave(struct pv_testfile *tf)
{
    const struct tf_tests *t = &tf->tests;

    pv_testfile_end_guests(tf);
    if (!builder_is_failed(tf, NULL))
        pv_tf_builder_say(tf->builder, t->outcome == PV_TODO ? TF_MSG_TODO : TF_MSG_SKIP, PV_CLASS_NONE, NULL,
                          t->reason ? t->reason : "");
}

void pv_tf_builder_end(struct pv_testfile *tf, const struct tf_script_end *end)
{
    if (!end->ok) {
        builder_failed(tf, end->cls, end->text);
        return;
    }
    pv_tf_findings_sync(tf);
    if (tf->tests.outcome != PV_OK)
        builder_leave(tf);
    else if (!builder_is_failed(tf, NULL))
        builder_keep_machine(tf, end);
}

/* LOGS/fixture-NAME, NAME reduced to what needs no quoting; a directory of its own for each build. */
static char *make_log_dir(const char *logs, const char *name)
{
    cleanup_free char *leaf = pv_xasprintf("fixture-%.100s", name);

    pv_child_plain_name(leaf);
    for (unsigned i = 1; logs && i <= 1000; i++) {
        char *dir = i == 1 ? pv_xasprintf("%s/%s", logs, leaf) : pv_xasprintf("%s/%s-%u", logs, leaf, i);

        if (mkdir(dir, 0700) == 0)
            return dir;
        free(dir);
        if (errno != EEXIST)
            break;
    }
    return NULL;
}

/* The script's path for messages: relative when it is below the working directory. */
static char *shown_path(const char *script)
{
    cleanup_free char *cwd = getcwd(NULL, 0);
    size_t n = cwd ? strlen(cwd) : 0;

    return pv_xstrdup(n > 1 && !strncmp(script, cwd, n) && script[n] == '/' ? script + n + 1 : script);
}

void pv_tf_builder_main(void *arg)
{
    const struct tf_builder_start *start = arg;
    const struct pv_testfile *asker = start->asker;
    const char *logs = asker->builder ? asker->builder->logs : asker->env->log_dir;
    struct tf_builder builder = {.name = start->o->name,
                                 .script = start->o->script,
                                 .outer = asker->builder,
                                 .logs = logs,
                                 .sock = PV_CHILD_SOCK,
                                 .deadline = start->o->deadline,
                                 .beside = asker->builder ? asker->builder->beside : asker->pool.tasks > 0};
    struct tf_reads reads = {.err = PV_ERR_INIT};
    struct pv_testfile_env env = *asker->env;
    cleanup_free char *path = shown_path(start->o->script);
    struct pv_testfile tf = {
        .env = &env, .path = path, .dir = pv_path_dirname(path), .builder = &builder, .reads = &reads};

    env.result = pv_result_new(PV_CHILD_FDS); /* for notices and logs; it sends no tests and no steps */
    env.lease = start->has_lease ? pv_lease_new(PV_CHILD_FDS + 1) : NULL;
    env.log_dir = make_log_dir(logs, start->o->name);
    if (env.log_dir)
        pv_tf_builder_say(&builder, TF_MSG_LOGS, PV_CLASS_NONE, NULL, env.log_dir);
    start->o->run_script(&tf);
}
