/* SPDX-License-Identifier: MIT */
#include "testfile/coverage.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include "guest/agent.h"
#include "guest/file-op.h"
#include "guest/guest.h"
#include "guest/life.h"
#include "testfile/limit.h"
#include "testfile/outname.h"
#include "testfile/testfile.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

#define TAKE_TIME (60 * PV_NSEC_PER_SEC)
#define DEBUGFS "/sys/kernel/debug"
/* As the kernel's Documentation/dev-tools/gcov.rst has it. */
#define GCOV DEBUGFS "/gcov"

enum { NOTICES_MAX = 4 }; /* of a file; VMs of one kernel say the same */

static void coverage_refuse(struct pv_testfile *tf, const char *vm, const char *why)
{
    cleanup_free char *notice = pv_xasprintf("--coverage: none of %s (%s) was taken: %s", vm, tf->path, why);

    if (tf->coverage.failed++ < NOTICES_MAX)
        pv_result_notice(tf->env->result, notice);
}

/* Mounts debugfs, as an init system does.  A guest without /sys has none, and says so. */
static int debugfs_mount(struct pv_agent *a, int64_t deadline, struct pv_err *err)
{
    static const char type[] = "debugfs", at[] = DEBUGFS;
    const struct pv_sys_buf bufs[] = {{.slot = 0, .data = type, .n = sizeof(type)},
                                      {.slot = 1, .data = at, .n = sizeof(at)},
                                      {.slot = 2, .data = type, .n = sizeof(type)}};
    const struct pv_syscall call = {.nr = SYS_mount,
                                    .name = "mount",
                                    .bufs = bufs,
                                    .n_bufs = sizeof(bufs) / sizeof(bufs[0]),
                                    .timeout_ns = pv_left(deadline)};
    struct pv_sysret r = {0};
    int rc = pv_agent_syscall(a, &call, &r, err);

    if (rc == 0 && r.value < 0 && r.value != -EBUSY)
        rc = pv_err_set(err, PV_E_GUEST, "cannot mount debugfs on " DEBUGFS ": %s", strerror((int)-r.value));
    pv_sysret_fini(&r);
    return rc;
}

/* 1; 0: the kernel has no counters; -1 with *err: debugfs cannot be read.  A mount of the user's stays visible. */
static int counters_find(struct pv_agent *a, int64_t deadline, struct pv_err *err)
{
    struct pv_file_stat at, above;
    int r = pv_agent_stat(a, GCOV, true, pv_left(deadline), &at, err);

    if (r != 0)
        return r;
    r = pv_agent_stat(a, DEBUGFS, true, pv_left(deadline), &at, err);
    if (r > 0)
        r = pv_agent_stat(a, DEBUGFS "/..", true, pv_left(deadline), &above, err);
    if (r == 0)
        return pv_err_set(err, PV_E_USAGE, "it has no " DEBUGFS ": vm:mount_vfs() mounts /sys");
    if (r < 0 || at.dev != above.dev)
        return r < 0 ? -1 : 0;
    return debugfs_mount(a, deadline, err) < 0 ? -1
                                               : pv_agent_stat(a, GCOV, true, pv_left(deadline), &at, err);
}

/* DIR/FILE.gcov, without what earlier runs have left in it; NULL with *err.  The caller frees. */
static char *coverage_dir(struct pv_testfile *tf, struct pv_err *err)
{
    cleanup_free char *file = pv_tf_outname(tf->path);
    cleanup_free char *dir = pv_xasprintf("%s/%s" TF_COVERAGE_DIR, tf->env->coverage_dir, file);

    if (!tf->coverage.begun && pv_rm_rf(dir) < 0) {
        pv_err_sys(err, errno, "cannot remove '%s'", dir);
        return NULL;
    }
    tf->coverage.begun = true;
    return pv_mkdir_p(dir, 0777, err) < 0 ? NULL : pv_steal(&dir);
}

static int counters_pull(struct pv_testfile *tf, struct pv_agent *a, int64_t deadline, struct pv_err *err)
{
    cleanup_free char *dir = coverage_dir(tf, err);
    cleanup_free char *to = dir ? pv_xasprintf("%s/%u", dir, tf->coverage.n + 1) : NULL;
    struct pv_pull pull = {.timeout_ns = pv_left(deadline)};

    if (!to)
        return -1;
    if (pv_agent_pull(a, GCOV, to, &pull, NULL, err) < 0) {
        pv_rm_rf(to); /* half of a tree is no coverage */
        return -1;
    }
    tf->coverage.n++;
    return 0;
}

static void coverage_take(struct pv_testfile *tf, struct tf_guest *g)
{
    struct pv_agent *a = pv_guest_agent(g->g);
    int64_t deadline = pv_deadline(TAKE_TIME);
    struct pv_err err = PV_ERR_INIT;
    int r = -1;

    pv_tf_limit_pause(tf);
    pv_result_saving(tf->env->result, true);
    tf->guest_env.until = 0; /* the limit of the sub-test may be what ends the VM */
    g->n_holds++;            /* a task may drop its handle meanwhile */
    if (!pv_guest_serves(g->g))
        pv_err_set(&err, PV_E_USAGE, "it is %s", pv_guest_condition(g->g));
    if (err.cls == PV_E_NONE)
        r = counters_find(a, deadline, &err);
    if (r == 0 && !tf->kcov.first)
        pv_err_set(&err, PV_E_USAGE, "its kernel was built without CONFIG_GCOV_KERNEL and CONFIG_KCOV");
    if (r > 0)
        counters_pull(tf, a, deadline, &err);
    if (err.cls != PV_E_NONE)
        coverage_refuse(tf, g->name, err.text);
    g->n_holds--;
    pv_result_saving(tf->env->result, false);
    pv_tf_limit_resume(tf);
}

static bool coverage_is_on(const struct pv_testfile *tf)
{
    return tf->env->coverage_dir && !tf->builder;
}

void pv_tf_coverage_take(struct pv_testfile *tf, struct tf_guest *g)
{
    if (coverage_is_on(tf) && g && pv_guest_state(g->g) == PV_GUEST_RUNNING)
        coverage_take(tf, g);
}

void pv_tf_coverage_take_all(struct pv_testfile *tf)
{
    for (struct tf_guest *g = tf->guests.first; g; g = g->next) {
        if (pv_guest_state(g->g) == PV_GUEST_DEAD && coverage_is_on(tf))
            coverage_refuse(tf, g->name, "it died");
        pv_tf_coverage_take(tf, g);
    }
}
