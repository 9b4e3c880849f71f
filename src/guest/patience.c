/* SPDX-License-Identifier: MIT */
#include "guest/patience.h"

#include <unistd.h>

#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/instance.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/starved.h"
#include "util/text.h"
#include "vm/vm.h"

/* More is given at most that many times the limit, and no less than LEAST at once. */
enum { MOST = 7 };
#define LEAST (50 * PV_NSEC_PER_MSEC)

/* The file's process works for the VM, too: it reads the kernel and makes the initramfs. */
static int64_t starved(const struct pv_guest *g)
{
    const struct pv_vm *vm = g->instance ? pv_instance_vm(g->instance) : NULL;

    return pv_starved(getpid()) + (vm ? pv_vm_starved(vm) : 0);
}

struct pv_patience pv_patience_begin(const struct pv_guest *g, int64_t limit_ns)
{
    return (struct pv_patience){
        .deadline = pv_guest_deadline(g, limit_ns), .limit_ns = limit_ns, .starved_ns = starved(g)};
}

bool pv_patience_more(struct pv_guest *g, struct pv_patience *p, struct pv_err *why)
{
    int64_t owed = starved(g) - p->starved_ns - p->given_ns, left = MOST * p->limit_ns - p->given_ns;
    cleanup_free char *line = NULL;

    if (!why || why->cls != PV_E_TIMEOUT || owed < LEAST)
        return false;
    owed = owed < left ? owed : left;
    if (owed < LEAST || pv_guest_check_time(g, "wait", NULL) < 0)
        return false;
    *why = (struct pv_err)PV_ERR_INIT;
    p->given_ns += owed;
    p->deadline = pv_guest_deadline(g, owed);
    if (!p->told && p->given_ns > p->limit_ns / 4 && g->env->observer.notice) {
        p->told = true;
        line = pv_xasprintf(
            "the host had no CPU for %s in %.3g s of its boot, which do not count as a part of the %.3g s "
            "that it may take (--jobs: fewer files side by side)",
            g->name, (double)p->given_ns / 1e9, (double)p->limit_ns / 1e9);
        g->env->observer.notice(line, g->env->observer.arg);
    }
    return true;
}
