/* SPDX-License-Identifier: MIT */
#include "guest/shares.h"

#include <inttypes.h>
#include <string.h>

#include "config/config.h"
#include "guest/guest-state.h"
#include "guest/instance.h"
#include "guest/machine.h"
#include "image/image.h"
#include "image/kconfig.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "vm/virtiofsd.h"
#include "vm/vm.h"

/* A daemon without so many open files fails in the middle of a larger tree. */
enum { FILES_ENOUGH = 65536 };

/* ---- what the kernel has ---- */

enum has { HAS_NOT, HAS, UNKNOWN };

static const char *const drivers[][2] = {
    [PV_SHARE_9P] = {"9pnet_virtio", "9p"}, [PV_SHARE_VIRTIOFS] = {"virtiofs", "virtiofs"}};
static const char *const options[][2] = {[PV_SHARE_9P] = {"CONFIG_NET_9P_VIRTIO", "CONFIG_9P_FS"},
                                         [PV_SHARE_VIRTIOFS] = {"CONFIG_VIRTIO_FS", "CONFIG_VIRTIO_FS"}};

static enum has tree_has(const char *tree, enum pv_share_by by)
{
    enum has has = HAS;

    for (size_t i = 0; i < 2 && has == HAS; i++) {
        struct pv_modlist list = {0};
        int r = pv_modlist_add(&list, tree, drivers[by][i], NULL);

        pv_modlist_fini(&list);
        if (r != 0)
            has = r == 1 && pv_modules_know_builtin(tree) ? HAS_NOT : UNKNOWN;
    }
    return has;
}

/* Its modules tell, else its configuration; a mistake in either is told when the initramfs is made. */
static enum has kernel_has(const struct pv_shares_ask *ask, enum pv_share_by by)
{
    const char *kernel = ask->profile->kernel;
    cleanup_free char *tree = pv_modules_find(ask->profile->modules, kernel, ask->release, NULL, NULL);
    cleanup_free char *config = pv_kconfig_find(kernel, tree);
    enum has has = tree ? tree_has(tree, by) : UNKNOWN;

    for (size_t i = 0; i < 2 && config && has != HAS_NOT; i++) {
        int r = pv_kconfig_has(config, options[by][i]);

        if (r >= 0)
            has = r ? HAS : HAS_NOT;
    }
    return has;
}

/* ---- the daemons ---- */

static int start_daemons(struct pv_guest_shares *s, struct pv_loop *loop, const struct pv_machine *m,
                         struct pv_err *err)
{
    struct pv_virtiofsd_program program;
    int r = pv_virtiofsd_find(&program, err);

    for (unsigned i = 0; r == 0 && i < m->n_shares; i++) {
        s->daemons[i] = pv_virtiofsd_start(loop, &program, &m->shares[i], err);
        r = s->daemons[i] ? 0 : -1;
    }
    pv_virtiofsd_program_fini(&program);
    if (r < 0)
        pv_guest_shares_end(s);
    return r;
}

static void share_by(struct pv_machine *m, enum pv_share_by by)
{
    for (unsigned i = 0; i < m->n_shares; i++)
        m->shares[i].by = by;
}

/* The daemons serve. */
static void by_virtiofs(struct pv_guest_shares *s, struct pv_machine *m)
{
    uint64_t files = pv_virtiofsd_files(s->daemons[0]);

    share_by(m, PV_SHARE_VIRTIOFS);
    s->by = files < FILES_ENOUGH ? pv_xasprintf("virtiofs, which may open %" PRIu64
                                                " files (ulimit -Hn), fewer than it may need",
                                                files)
                                 : pv_xstrdup("virtiofs");
}

static void by_9p(struct pv_guest_shares *s, struct pv_machine *m, const char *why)
{
    share_by(m, PV_SHARE_9P);
    s->by = why ? pv_xasprintf("9p: %s", why) : pv_xstrdup("9p");
}

/* Neither was asked for.  A kernel without 9p, too, is refused when the initramfs is made, with what to do. */
static int by_what_works(struct pv_guest_shares *s, struct pv_loop *loop, struct pv_machine *m,
                         const struct pv_shares_ask *ask, struct pv_err *err)
{
    enum has virtiofs = kernel_has(ask, PV_SHARE_VIRTIOFS);
    struct pv_err why = PV_ERR_INIT;
    uint64_t files;

    if (virtiofs == UNKNOWN)
        pv_err_set(&why, PV_E_HOST, "nothing tells whether this kernel has virtiofs (--share virtiofs)");
    else if (virtiofs == HAS_NOT)
        pv_err_set(&why, PV_E_HOST, "this kernel has no virtiofs");
    else if (start_daemons(s, loop, m, &why) == 0) {
        files = pv_virtiofsd_files(s->daemons[0]);
        if (files >= FILES_ENOUGH || kernel_has(ask, PV_SHARE_9P) == HAS_NOT) {
            by_virtiofs(s, m);
            return 0;
        }
        pv_guest_shares_end(s);
        pv_err_set(&why, PV_E_HOST,
                   "a virtiofsd may open only %" PRIu64 " files here (ulimit -Hn), expected %d", files,
                   FILES_ENOUGH);
    }
    if (why.cls == PV_E_USAGE) {
        if (err)
            *err = why;
        return -1;
    }
    by_9p(s, m, why.text);
    return 0;
}

int pv_guest_shares_start(struct pv_guest_shares *s, struct pv_loop *loop, struct pv_machine *m,
                          const struct pv_shares_ask *ask, struct pv_err *err)
{
    bool virtiofs = ask->by == PV_BY_VIRTIOFS || (ask->again && m->shares[0].by == PV_SHARE_VIRTIOFS);

    if (!m->n_shares)
        return 0;
    if (virtiofs) {
        if (start_daemons(s, loop, m, err) < 0)
            return pv_err_wrap(err, "the host's directory '%s' cannot reach the guest by virtiofs",
                               m->shares[0].dir);
        by_virtiofs(s, m);
        return 0;
    }
    if (ask->by == PV_BY_9P || ask->again) {
        by_9p(s, m, NULL);
        return 0;
    }
    return by_what_works(s, loop, m, ask, err);
}

const char *pv_guest_shares_why_9p(const struct pv_guest_shares *s)
{
    return s->by && !strncmp(s->by, "9p: ", 4) ? s->by + 4 : NULL;
}

static void on_daemon_end(const char *why, void *arg)
{
    struct pv_guest_shares *s = arg;

    if (s->vm)
        pv_vm_lost(s->vm, why);
}

void pv_guest_shares_join(const struct pv_guest_shares *s, struct pv_machine *m)
{
    for (unsigned i = 0; m && i < m->n_shares; i++)
        m->shares[i].qemu_fd = s->daemons[i] ? pv_virtiofsd_fd(s->daemons[i]) : -1;
}

void pv_guest_shares_watch(struct pv_guest_shares *s, struct pv_vm *vm)
{
    s->vm = vm;
    for (size_t i = 0; i < PV_VM_SHARES_MAX; i++)
        if (s->daemons[i]) {
            pv_virtiofsd_close_fd(s->daemons[i]);
            pv_virtiofsd_on_end(s->daemons[i], on_daemon_end, s);
        }
}

void pv_guest_shares_end(struct pv_guest_shares *s)
{
    s->vm = NULL;
    for (size_t i = 0; i < PV_VM_SHARES_MAX; i++)
        pv_virtiofsd_free(pv_steal(&s->daemons[i]));
}

void pv_guest_shares_fini(struct pv_guest_shares *s)
{
    pv_guest_shares_end(s);
    free(pv_steal(&s->by));
}

const char *pv_guest_shared_by(const struct pv_guest *g)
{
    return g->instance ? pv_instance_shares(g->instance)->by : NULL;
}
