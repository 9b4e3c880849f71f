/* SPDX-License-Identifier: MIT */
#include "testfile/netsaved.h"

#include "guest/guest.h"
#include "guest/snapshot.h"
#include "testfile/nethosts.h"
#include "testfile/netrouter.h"
#include "testfile/nets.h"
#include "testfile/testfile.h"
#include "util/err.h"

static bool nics_are_own(const struct pv_guest *g, const struct pv_guest_nic *nics)
{
    for (unsigned i = 0; i < PV_VM_NICS_MAX; i++)
        if (nics[i].hw.mtu && pv_tf_net_end_of(nics[i].wire)->vm != pv_guest_number(g))
            return false;
    return true;
}

int pv_tf_restore(struct pv_testfile *tf, struct pv_guest *g, struct pv_snapshot *s, int64_t timeout_ns,
                  struct pv_err *err)
{
    const struct pv_guest_nic *saved = pv_snapshot_nics(s);
    struct pv_guest_nic copies[PV_VM_NICS_MAX] = {0};
    struct pv_resume_opts o = {.timeout_ns = timeout_ns};
    int r;

    if (nics_are_own(g, saved)) {
        if (pv_tf_nets_return(g, saved, err) < 0)
            return pv_err_wrap(err, "cannot restore %s", pv_guest_name(g));
    } else {
        if (pv_tf_nets_copy(g, saved, copies, err) < 0)
            return pv_err_wrap(err, "cannot restore %s", pv_guest_name(g));
        o.nics = copies;
        pv_tf_nets_end_copy(copies, g);
        if (pv_tf_nets_return(g, copies, err) < 0)
            return pv_err_wrap(err, "cannot restore %s", pv_guest_name(g));
    }
    r = pv_guest_restore(g, s, &o, err);
    pv_tf_nets_settle(tf, g);
    return r < 0 ? -1 : pv_tf_gateways_update(g, err);
}

struct pv_guest *pv_tf_clone(struct pv_testfile *tf, struct pv_snapshot *s, const char *name,
                             int64_t timeout_ns, struct pv_err *err)
{
    struct pv_guest_nic nics[PV_VM_NICS_MAX];
    struct pv_resume_opts o = {.timeout_ns = timeout_ns, .name = name, .nics = nics};
    struct pv_guest *g;

    if (pv_tf_nets_copy(NULL, pv_snapshot_nics(s), nics, err) < 0) {
        pv_err_wrap(err, "clone");
        return NULL;
    }
    g = pv_guest_resume(&tf->guest_env, s, &o, err);
    pv_tf_nets_end_copy(nics, g);
    if (g && pv_tf_hosts_update(tf, g, err) < 0) {
        pv_guest_free(g);
        return NULL;
    }
    return g;
}

int pv_tf_nets_unplug(struct pv_testfile *tf, struct pv_guest *g, struct pv_err *err)
{
    for (unsigned i = 0; i < PV_VM_NICS_MAX; i++)
        if (pv_guest_nics(g)[i].hw.mtu && pv_guest_unplug(g, i, 0, err) < 0)
            return pv_err_wrap(err, "cannot save %s without its NICs", pv_guest_name(g));
    pv_tf_nets_settle(tf, g);
    return 0;
}
