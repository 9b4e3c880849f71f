/* SPDX-License-Identifier: MIT */
#include "testfile/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture/store.h"
#include "guest/snapshot.h"
#include "childproto/lease.h"
#include "testfile/limit.h"
#include "testfile/testfile.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

enum {
    LOOK_MS = 50,    /* between two attempts at a lock that another process holds */
    MAX_BUILDS = 2,  /* one more after a builder that died, or an input that changed */
    MAX_DAMAGED = 3, /* more damaged entries than these: the disk is at fault */
    MAX_DIED = 2     /* VMs that died while they were resumed: the second one's entry is built again */
};

void pv_tf_request_init(struct tf_request *r, struct pv_testfile *tf, const char *name, char *script,
                        int64_t timeout_ns, void (*run_script)(struct pv_testfile *tf))
{
    *r = (struct tf_request){.tf = tf,
                             .f = {.name = name, .script = script},
                             .script = script,
                             .timeout = timeout_ns,
                             .deadline = timeout_ns == PV_FOREVER ? PV_FOREVER : pv_deadline(timeout_ns),
                             .run_script = run_script};
    if (pv_tf_limit(tf) < r->deadline)
        r->deadline = pv_tf_limit(tf);
}

static void request_unlock(struct tf_request *r)
{
    pv_store_unlock(r->lock);
    r->lock = NULL;
}

void pv_tf_request_fini(struct tf_request *r)
{
    pv_tf_build_fini(&r->build);
    request_unlock(r);
    free(r->script);
    r->script = NULL;
    free(r->text);
    r->text = NULL;
}

static int request_timed_out(const struct tf_request *r, const char *doing, struct pv_err *err)
{
    return pv_err_set(err, PV_E_TIMEOUT, "fixture '%s' was not there within %.3g s: %s", r->f.name,
                      (double)r->timeout / PV_NSEC_PER_SEC, doing);
}

/* ---- building ---- */

static void request_on_phase(const char *phase, void *arg)
{
    struct tf_request *r = arg;
    cleanup_free char *text = pv_xasprintf("building fixture %s%s%s", r->f.name, *phase ? ": " : "", phase);

    pv_tf_phase(r->tf, text);
}

static bool build_has_ended(void *arg)
{
    return ((struct tf_request *)arg)->build.outcome != TF_BUILD_RUNNING;
}

static void request_set_text(struct tf_request *r, const char *text)
{
    free(r->text);
    r->text = text ? pv_xstrdup(text) : NULL;
}

/* Runs the builder to its end. 0: as r->outcome says; -1: it could not be started, or the deadline passed. */
static int request_run_builder(struct tf_request *r, struct pv_err *err)
{
    struct tf_build_opts o = {
        .name = r->f.name, .script = r->script, .deadline = r->deadline, .run_script = r->run_script};
    struct tf_build *b = &r->build;
    int rc;

    b->on_phase = request_on_phase;
    b->arg = r;
    r->tf->pool.held++; /* it holds what its VMs have */
    rc = pv_tf_build_start(b, r->tf, &o, err);
    if (rc == 0)
        rc = pv_loop_run(r->tf->loop, build_has_ended, r, r->deadline, err);
    r->outcome = b->outcome;
    r->cls = b->cls;
    request_set_text(r, b->text);
    if (rc > 0) {
        cleanup_free char *doing = pv_xasprintf("it was still being built%s%s",
                                                b->phase && *b->phase ? ": " : "", b->phase ? b->phase : "");

        pv_tf_build_kill(b);
        request_timed_out(r, doing, err);
    }
    pv_tf_tails_move(&r->tf->tails, &b->tails); /* consoles of a failed build are shown with the failure */
    pv_tf_build_fini(b);
    if (r->tf->pool.held)
        r->tf->pool.held--;
    r->tf->pool.releases++;
    return rc ? -1 : 0;
}

/* A build that died, or whose inputs changed, is tried once more. */
static void request_try_again(struct tf_request *r)
{
    cleanup_free char *line = NULL;

    if (r->n_built >= MAX_BUILDS || (r->outcome != TF_BUILD_DIED && r->outcome != TF_BUILD_MOVED))
        return;
    line = pv_xasprintf(r->outcome == TF_BUILD_DIED
                            ? "the process that built fixture '%s' ended too early (%s): it is built again"
                            : "while fixture '%s' was built, %s: it is built again",
                        r->f.name, r->text);
    pv_result_notice(r->tf->env->result, line);
    r->outcome = TF_BUILD_DONE;
}

/* Under the lock, which is released.  0: look again, or r->outcome says how it failed; -1. */
static int request_build(struct tf_request *r, struct pv_err *err)
{
    struct tf_build_end end;
    int rc;

    pv_tf_step_begin(r->tf, NULL, PV_STEP_BUILD, "building fixture %s", r->f.name);
    r->n_built++;
    rc = request_run_builder(r, err);
    end = (struct tf_build_end){(int)r->outcome, (int)r->cls, r->text};
    if (rc == 0)
        pv_tf_store_tell(r->lock, r->outcome == TF_BUILD_DONE ? NULL : &end);
    request_unlock(r);
    pv_tf_step_end(r->tf, rc == 0 && r->outcome == TF_BUILD_DONE);
    if (rc == 0)
        request_try_again(r);
    return rc;
}

/* ---- waiting for a build of another process ---- */

/* 0: look again, with or without the lock; -1. */
static int request_wait(struct tf_request *r, pid_t holder, struct pv_err *err)
{
    struct pv_lease *lease = r->tf->env->lease;
    char doing[128];
    int rc;

    snprintf(doing, sizeof(doing), "waiting for fixture %.60s (built by process %ld)", r->f.name,
             (long)holder);
    if (!r->waited_since)
        r->waited_since = pv_wall_now();
    pv_tf_step_begin(r->tf, NULL, PV_STEP_WAIT, "%s", doing);
    if (holder == getpid()) /* another task builds it */
        lease = NULL;
    if (lease)
        pv_lease_block(lease, true);
    do {
        int64_t next = pv_deadline(LOOK_MS * PV_NSEC_PER_MSEC);

        rc = pv_loop_run(r->tf->loop, NULL, NULL, next < r->deadline ? next : r->deadline, err);
        if (rc < 0)
            break;
        rc = pv_tf_store_lock(r->tf, &r->f, &r->lock, &holder, err);
    } while (rc == 0 && pv_now() < r->deadline);
    if (lease)
        pv_lease_block(lease, false);
    pv_tf_step_end(r->tf, rc > 0);
    if (rc == 0)
        return request_timed_out(r, doing, err);
    return rc < 0 ? -1 : 0;
}

/* Whether the awaited build failed in a way that would happen here too: then that is the outcome. */
static bool request_adopt_failure(struct tf_request *r)
{
    struct tf_build_end v = {0};

    if (!r->waited_since || !pv_tf_store_told(r->lock, r->waited_since, &v))
        return false;
    if (v.outcome != TF_BUILD_FAILED && v.outcome != TF_BUILD_SKIPPED && v.outcome != TF_BUILD_TODO) {
        free(v.text);
        return false;
    }
    r->outcome = (enum tf_build_outcome)v.outcome;
    r->cls = v.cls >= 0 && v.cls < PV_CLASS_COUNT ? (enum pv_class)v.cls : PV_CLASS_LUA;
    free(r->text);
    r->text = v.text;
    return true;
}

int pv_tf_request_build(struct tf_request *r, struct pv_err *err)
{
    for (;;) {
        pid_t holder = 0;
        int rc = pv_tf_store_get(r->tf, &r->f, &r->entry, err);

        if (rc != 0)
            return rc;
        rc = r->lock ? 1 : pv_tf_store_lock(r->tf, &r->f, &r->lock, &holder, err);
        if (rc == 0)
            rc = request_wait(r, holder, err);
        else if (rc > 0) {
            /* the lock's last holder may have built it since pv_tf_store_get */
            rc = pv_tf_store_get(r->tf, &r->f, &r->entry, err);
            if (rc == 0 && !request_adopt_failure(r))
                rc = request_build(r, err);
            if (rc == 0 && r->outcome != TF_BUILD_DONE) {
                request_unlock(r);
                return 0;
            }
        }
        request_unlock(r);
        if (rc != 0)
            return rc;
    }
}

/* ---- resuming ---- */

/* Verifies the entry while QEMU starts. */
static int request_check_entry(void *arg, struct pv_err *err)
{
    struct tf_request *r = arg;
    int rc = pv_tf_store_verify(r->entry, err);

    r->damaged = rc < 0;
    return rc;
}

/* The VM; NULL with *err, and r->damaged when the entry is at fault. */
static struct pv_guest *request_resume(struct tf_request *r, struct pv_err *err)
{
    int64_t left = r->deadline - pv_now();
    struct pv_resume_opts o = {
        .timeout_ns = left > 0 ? left : 1, .name = r->vm_name, .check = request_check_entry, .arg = r};
    struct pv_snapshot *s = pv_tf_store_snapshot(r->tf, r->entry, err);
    struct pv_guest *g = NULL;

    if (!s) {
        r->damaged = err->cls == PV_E_HOST;
        return NULL;
    }
    pv_tf_step_begin(r->tf, NULL, PV_STEP_RESUME, "resuming fixture %s", r->f.name);
    g = pv_guest_resume(&r->tf->guest_env, s, &o, err);
    pv_tf_step_end(r->tf, g != NULL);
    return g;
}

static void request_note(struct tf_request *r, const char *fate, const struct pv_err *err)
{
    cleanup_free char *line = pv_xasprintf("the cached fixture '%s' %s: %.*s", r->f.name, fate,
                                           (int)strcspn(err->text, "\n"), err->text);

    pv_result_notice(r->tf->env->result, line);
}

static void request_drop_entry(struct tf_request *r)
{
    pv_tf_store_drop(r->entry);
    r->entry = NULL;
    r->damaged = false;
}

/* The VM could not be resumed; false: err is neither the entry's fault nor that of QEMU, or it is the last straw. */
static bool request_go_on(struct tf_request *r, const struct pv_err *err)
{
    if (r->damaged) {
        if (++r->n_damaged > MAX_DAMAGED)
            return false;
        request_note(r, "is damaged and is built again", err);
        request_drop_entry(r);
        return true;
    }
    if (err->cls != PV_E_GUEST_DIED || r->n_died == MAX_DIED)
        return false;
    /* The entry is right by its checksums, so somebody killed QEMU. */
    if (++r->n_died < MAX_DIED) {
        request_note(r, "is resumed again", err);
        return true;
    }
    /* Or QEMU dies of it: saved by another QEMU, or a defect of ours. */
    request_note(r, "cannot be resumed and is built again", err);
    request_drop_entry(r);
    return true;
}

int pv_tf_request_vm(struct tf_request *r, struct pv_guest **vm, struct pv_err *err)
{
    for (;;) {
        int rc = pv_tf_request_build(r, err);

        if (rc <= 0)
            return rc;
        pv_tf_store_reads(r->tf, r->entry);
        *vm = request_resume(r, err);
        if (*vm)
            return 1;
        if (!request_go_on(r, err))
            return pv_err_wrap(err, "fixture '%s'", r->f.name);
    }
}

/* ---- messages ---- */

int pv_tf_request_check_recursion(const struct tf_request *r, struct pv_err *err)
{
    const struct tf_builder *chain[64], *b = r->tf->builder;
    cleanup_buf struct pv_buf text = {0};
    size_t n = 0;

    for (; b && n < PV_ARRAY_LEN(chain); b = b->outer) {
        chain[n++] = b;
        if (!strcmp(b->script, r->script))
            break;
    }
    if (!b)
        return 0;
    while (n > 0)
        pv_buf_addf(&text, "%s needs ", chain[--n]->name);
    return pv_err_set(err, PV_E_USAGE, "a fixture can not be made from itself: %s%s", text.data, r->f.name);
}

char *pv_tf_request_failure(const struct tf_request *r)
{
    const char *text = r->text ? r->text : "";

    if (r->outcome == TF_BUILD_MOVED)
        return pv_xasprintf("fixture '%s' failed: each time that it was built, %s meanwhile", r->f.name,
                            text);
    if (r->outcome == TF_BUILD_DIED)
        return pv_xasprintf("fixture '%s' failed: its process ended too early: %s", r->f.name, text);
    return pv_xasprintf("fixture '%s' failed: %s", r->f.name, text);
}
