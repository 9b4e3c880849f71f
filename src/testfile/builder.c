/* SPDX-License-Identifier: MIT */
#include "testfile/builder.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "child/tail.h"
#include "childproto/lease.h"
#include "testfile/builder-link.h"
#include "testfile/builder-main.h"
#include "testfile/testfile.h"
#include "util/mem.h"
#include "util/path.h"
#include "util/spawn.h"

/* A builder sends one for each VM; far more than it can have. */
enum { TAILS_MAX = 1024 };

static void set_text(char **to, const char *text, size_t n)
{
    free(*to);
    *to = pv_xstrndup(text, n);
}

/* Appends a tail of "VM of fixture NAME". */
static void build_add_tail(struct tf_build *b, const char *vm, size_t vm_n, const char *text, size_t n)
{
    pv_tf_tails_add(&b->tails, pv_xasprintf("%.*s of fixture %s", (int)vm_n, vm, b->name), text, n);
}

static enum tf_build_outcome message_outcome(enum tf_msg kind)
{
    static const struct {
        enum tf_msg kind;
        enum tf_build_outcome outcome;
    } ends[] = {
        {TF_MSG_DONE, TF_BUILD_DONE},    {TF_MSG_FAILED, TF_BUILD_FAILED}, {TF_MSG_MOVED, TF_BUILD_MOVED},
        {TF_MSG_SKIP, TF_BUILD_SKIPPED}, {TF_MSG_TODO, TF_BUILD_TODO},
    };

    for (size_t i = 0; i < PV_ARRAY_LEN(ends); i++)
        if (ends[i].kind == kind)
            return ends[i].outcome;
    return TF_BUILD_RUNNING;
}

/* The builder may be a process that its script has corrupted. */
static void build_reject(struct tf_build *b)
{
    static const char text[] = "killed, because it sent an invalid message";

    b->outcome = TF_BUILD_DIED;
    b->cls = PV_CLASS_HARNESS;
    set_text(&b->text, text, strlen(text));
    pv_child_kill(&b->child);
}

static void build_on_message(struct pv_child *child, const unsigned char *msg, size_t n)
{
    struct tf_build *b = PV_CONTAINER_OF(child, struct tf_build, child);
    struct tf_builder_message m;

    if (b->outcome == TF_BUILD_DIED)
        return;
    if (!pv_tf_builder_decode(&m, msg, n) || (m.kind == TF_MSG_TAIL && b->n_tails++ == TAILS_MAX)) {
        build_reject(b);
        return;
    }
    switch (m.kind) {
    case TF_MSG_PHASE:
        set_text(&b->phase, m.text, m.text_len);
        if (b->on_phase)
            b->on_phase(b->phase, b->arg);
        return;
    case TF_MSG_LOGS:
        set_text(&b->log_dir, m.text, m.text_len);
        return;
    case TF_MSG_TAIL:
        build_add_tail(b, m.vm, strlen(m.vm), m.text, m.text_len);
        return;
    default:
        break;
    }
    b->outcome = message_outcome(m.kind);
    b->cls = m.cls;
    set_text(&b->text, m.text, m.text_len);
}

/* The build ends with its process, not with the message: then its VMs and leases are gone too. */
static void build_on_exit(struct pv_child *child, int status)
{
    struct tf_build *b = PV_CONTAINER_OF(child, struct tf_build, child);
    char how[64];

    if (b->outcome != TF_BUILD_RUNNING)
        return;
    b->outcome = TF_BUILD_DIED;
    b->cls = PV_CLASS_HARNESS;
    pv_wait_status_text(status, how);
    set_text(&b->text, how, strlen(how));
}

int pv_tf_build_start(struct tf_build *b, struct pv_testfile *tf, const struct tf_build_opts *o,
                      struct pv_err *err)
{
    static const struct pv_child_ops ops = {.message = build_on_message, .exit = build_on_exit};
    struct pv_lease *lease = NULL; /* counts as the file's */
    struct tf_builder_start start = {.asker = tf, .o = o};
    int fds[2] = {pv_result_fd(tf->env->result), -1}, rc;

    b->name = o->name;
    b->child = (struct pv_child)PV_CHILD_INIT;
    if (tf->env->lease && !(lease = pv_lease_fork(tf->env->lease, err)))
        return -1;
    if (lease)
        fds[1] = pv_lease_fd(lease);
    start.has_lease = lease != NULL;
    rc = pv_child_start(&b->child, tf->loop,
                        &(struct pv_child_opts){
                            .ops = &ops, .main = pv_tf_builder_main, .arg = &start, .fds = fds, .n_fds = 2},
                        err);
    pv_lease_free(lease); /* the builder has its own handle */
    return rc;
}

/* Adds the last lines of a console log: its VM's process can send no tail any more. */
static void build_add_log_tail(struct tf_build *b, const char *leaf)
{
    cleanup_free char *path = pv_path_join(b->log_dir, leaf);
    cleanup_buf struct pv_buf tail = {0};

    if (pv_tail_of_log(path, TF_TAIL_LINES, &tail, NULL) == 0 && tail.len)
        build_add_tail(b, leaf, strcspn(leaf, "-."), tail.data, tail.len);
}

void pv_tf_build_kill(struct tf_build *b)
{
    struct dirent *e;
    DIR *dir;

    pv_child_end(&b->child);
    dir = b->log_dir && !b->tails.first ? opendir(b->log_dir) : NULL;
    while (dir && (e = readdir(dir)))
        build_add_log_tail(b, e->d_name);
    if (dir)
        closedir(dir);
}

void pv_tf_build_fini(struct tf_build *b)
{
    if (!b->name)
        return;
    pv_child_end(&b->child);
    pv_tf_tails_free(&b->tails);
    free(b->text);
    free(b->phase);
    free(b->log_dir);
    *b = (struct tf_build){0};
}
