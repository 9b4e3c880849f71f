/* SPDX-License-Identifier: MIT */
#include "testfile/places.h"

#include <stdlib.h>

#include "config/config.h"
#include "guest/guest.h"
#include "symbols/symbols.h"
#include "testfile/testfile.h"
#include "util/mem.h"

enum { MAX_PLACED = 32 }; /* findings of a file; further ones are shown as they came */

/* The debug files of one profile's kernel. */
struct tf_symbols {
    const struct pv_profile *profile;
    struct pv_symbols *s;
    bool told; /* the problem with them */
    struct tf_symbols *next;
};

static struct tf_symbols *symbols_of(struct pv_testfile *tf, const struct pv_profile *p)
{
    struct tf_symbols *x = tf->findings.symbols;
    cleanup_free char *booted = NULL;

    while (x && x->profile != p)
        x = x->next;
    if (x)
        return x;
    booted = pv_guest_kernel_elf(p);
    x = pv_xcalloc(1, sizeof(*x));
    *x = (struct tf_symbols){
        .profile = p, .s = pv_symbols_new(&p->debug, p->kernel, booted), .next = tf->findings.symbols};
    tf->findings.symbols = x;
    return x;
}

struct pv_symbols *pv_tf_symbols(struct pv_testfile *tf, const struct pv_profile *p)
{
    return symbols_of(tf, p)->s;
}

void pv_tf_finding_place(struct pv_testfile *tf, struct tf_finding *f)
{
    cleanup_free char *text = NULL;
    const struct pv_profile *profile = f->guest ? pv_guest_profile(f->guest->g) : NULL;
    struct tf_symbols *symbols;

    if (!profile || !profile->kernel)
        return;
    if (f->placed || f->id == PV_NO_TEST || tf->findings.n_placed == MAX_PLACED)
        return;
    f->placed = true;
    tf->findings.n_placed++;
    symbols = symbols_of(tf, profile);
    text = pv_symbols_annotate(symbols->s, f->excerpt);
    if (text)
        pv_result_finding_places(tf->env->result, f->id, text);
    if (pv_symbols_problem(symbols->s) && !symbols->told) {
        cleanup_free char *line = pv_xasprintf("profile '%s': no source lines in kernel reports: %s",
                                               symbols->profile->name, pv_symbols_problem(symbols->s));

        symbols->told = true;
        pv_result_notice(tf->env->result, line);
    }
}

void pv_tf_symbols_free(struct tf_symbols *list)
{
    while (list) {
        struct tf_symbols *x = list;

        list = x->next;
        pv_symbols_free(x->s);
        free(x);
    }
}
