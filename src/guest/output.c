/* SPDX-License-Identifier: MIT */
#include "guest/output.h"

#include <string.h>

#include "guest/agent.h"
#include "guest/guest-state.h"
#include "util/mem.h"

void pv_output_tell(const struct pv_guest *g, const void *source, enum pv_output kind, const void *data,
                    size_t n)
{
    const struct pv_guest_observer *o = &g->env->observer;

    if (o->output && n)
        o->output(g, source, kind, data, n, o->arg);
}

void pv_output_end(const struct pv_guest *g, const void *source)
{
    const struct pv_guest_observer *o = &g->env->observer;

    if (o->output)
        o->output(g, source, PV_OUTPUT_STDOUT, "", 0, o->arg);
}

void pv_output_tell_command(const struct pv_guest *g, const struct pv_exec *x, const char *suffix)
{
    const struct pv_strv *a = &x->argv;
    bool shell = a->n == 3 && !strcmp(a->v[0], "/bin/sh") && !strcmp(a->v[1], "-c");
    cleanup_buf struct pv_buf text = {0};

    if (!g->env->observer.output)
        return;
    for (size_t i = shell ? 2 : 0; i < a->n; i++)
        pv_buf_addf(&text, "%s%s", text.len ? " " : "", a->v[i]);
    pv_buf_addf(&text, "%s\n", suffix);
    pv_output_tell(g, x, PV_OUTPUT_COMMAND, text.data, text.len);
}
