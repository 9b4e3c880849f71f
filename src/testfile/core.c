/* SPDX-License-Identifier: MIT */
#include "testfile/core.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/core.h"
#include "guest/gdb.h"
#include "guest/guest.h"
#include "testfile/outname.h"
#include "testfile/testfile.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

/* A core of a VM of this file: of each of its runs there may be one. */
struct tf_core {
    const struct pv_guest *g; /* while it is being written; then NULL */
    char vm[TF_NAME_MAX];
    char *hidden, *path; /* it becomes `path` when it is complete */
    struct tf_core *next;
};

void pv_tf_cores_free(struct tf_cores *list)
{
    while (list->first) {
        struct tf_core *c = list->first;

        list->first = c->next;
        free(c->hidden);
        free(c->path);
        free(c);
    }
}

static void core_refuse(const struct pv_testfile *tf, const char *vm, const char *why)
{
    cleanup_free char *notice =
        pv_xasprintf("--vmcore: no core of %s (%s) was written: %s", vm, tf->path, why);

    pv_result_notice(tf->env->result, notice);
}

/* Its report fails nothing: a test expects it, or the options let it pass. */
static bool core_is_unwanted(const struct pv_testfile *tf, const struct tf_guest *g)
{
    const struct tf_finding *f = pv_tf_finding_last(tf, g);

    if (tf->env->oopses != PV_POLICY_FAIL)
        return true;
    return f && !f->past && f->handled;
}

/* The first core of a VM replaces that of an earlier run; those of later boots get a number. */
static struct tf_core *core_new(struct pv_testfile *tf, const struct pv_guest *g)
{
    cleanup_free char *file = pv_tf_outname(tf->path);
    struct tf_core *c = pv_xcalloc(1, sizeof(*c));
    cleanup_free char *number = NULL;
    unsigned n = 1;

    pv_tf_short_name(g, c->vm);
    for (const struct tf_core *x = tf->cores.first; x; x = x->next)
        n += !strcmp(x->vm, c->vm);
    number = n > 1 ? pv_xasprintf("-%u", n) : pv_xstrdup("");
    c->g = g;
    c->path = pv_xasprintf("%s/%s-%s%s.vmcore", tf->env->vmcore_dir, file, c->vm, number);
    c->hidden = pv_xasprintf("%s/.%s-%s%s.%d", tf->env->vmcore_dir, file, c->vm, number, (int)getpid());
    c->next = tf->cores.first;
    tf->cores.first = c;
    return c;
}

static int core_open(const struct pv_guest *g, void *arg)
{
    struct pv_testfile *tf = arg;
    const struct tf_guest *guest = pv_tf_guest_of(&tf->guests, g);
    struct pv_err err = PV_ERR_INIT;
    struct tf_core *c;
    int fd = -1;

    if (!guest || core_is_unwanted(tf, guest))
        return -1;
    c = core_new(tf, g);
    if (pv_mkdir_p(tf->env->vmcore_dir, 0777, &err) == 0) {
        /* memory of a guest: for this user only */
        fd = open(c->hidden, O_CREAT | O_TRUNC | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0600);
        if (fd < 0)
            pv_err_sys(&err, errno, "cannot make a file in '%s'", tf->env->vmcore_dir);
    }
    if (fd < 0) {
        core_refuse(tf, c->vm, err.text);
        c->g = NULL;
    }
    return fd;
}

static void core_done(const struct pv_guest *g, const char *format, const char *failure, void *arg)
{
    const struct pv_testfile *tf = arg;
    cleanup_free char *vmlinux = NULL;
    struct tf_core *c = tf->cores.first;

    while (c && c->g != g)
        c = c->next;
    if (!c)
        return;
    c->g = NULL;
    if (!failure && rename(c->hidden, c->path) < 0)
        failure = strerror(errno);
    if (failure) {
        unlink(c->hidden);
        core_refuse(tf, c->vm, failure);
        return;
    }
    vmlinux = pv_gdb_vmlinux(pv_guest_profile(g));
    pv_result_core(tf->env->result, c->vm, c->path, format, vmlinux ? vmlinux : "");
}

void pv_tf_cores_connect(struct pv_testfile *tf)
{
    if (tf->env->vmcore_dir && !tf->builder)
        tf->guest_env.cores = (struct pv_guest_cores){core_open, core_done, tf};
}
