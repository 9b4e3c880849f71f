/* SPDX-License-Identifier: MIT */
#include "testfile/tails.h"

#include <stdlib.h>
#include <string.h>

#include "testfile/netreport.h"
#include "testfile/testfile.h"
#include "util/mem.h"

void pv_tf_tails_add(struct tf_tails *tails, char *vm, const char *text, size_t n)
{
    struct tf_tail *t = pv_xcalloc(1, sizeof(*t)), **end = &tails->first;

    t->vm = vm;
    t->text = pv_xstrndup(text, n);
    while (*end)
        end = &(*end)->next;
    *end = t;
}

void pv_tf_tails_move(struct tf_tails *tails, struct tf_tails *from)
{
    struct tf_tail **end = &tails->first;

    while (*end)
        end = &(*end)->next;
    *end = from->first;
    from->first = NULL;
}

static void tails_free_first(struct tf_tails *tails)
{
    struct tf_tail *t = tails->first;

    tails->first = t->next;
    free(t->vm);
    free(t->text);
    free(t);
}

void pv_tf_tails_free(struct tf_tails *tails)
{
    while (tails->first)
        tails_free_first(tails);
}

void pv_tf_logs_send(struct pv_testfile *tf)
{
    for (struct tf_guest *g = tf->guests.first; g; g = g->next) {
        const char *path = g->log_told ? NULL : pv_guest_log_path(g->g);

        if (!path)
            continue;
        if (tf->builder) {
            cleanup_free char *vm = pv_xasprintf("%s of fixture %s", g->name, tf->builder->name);

            pv_result_log(tf->env->result, vm, path);
        } else {
            pv_result_log(tf->env->result, g->name, path);
        }
        g->log_told = true;
    }
}

void pv_tf_tails_send(struct pv_testfile *tf, uint32_t test_id)
{
    pv_tf_logs_send(tf);
    pv_tf_nets_keep(tf, test_id);
    for (; tf->tails.first; tails_free_first(&tf->tails))
        pv_result_console(tf->env->result, test_id, tf->tails.first->vm, tf->tails.first->text);
    for (struct tf_guest *g = tf->guests.first; g; g = g->next) {
        cleanup_buf struct pv_buf tail = {0};

        pv_guest_console_tail(g->g, TF_TAIL_LINES, &tail);
        if (tail.len == 0 || (g->last_tail && !strcmp(g->last_tail, tail.data)))
            continue;
        pv_result_console(tf->env->result, test_id, g->name, tail.data);
        free(g->last_tail);
        g->last_tail = pv_steal(&tail.data);
    }
}
