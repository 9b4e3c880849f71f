/* SPDX-License-Identifier: MIT */
#include "testfile/context.h"

#include "testfile/limit.h"
#include "testfile/testfile.h"

size_t pv_tf_depth(const struct pv_testfile *tf)
{
    size_t n = tf->tests.n_open;

    return tf->scope.track[0] && tf->scope.depth < n ? tf->scope.depth : n;
}

void pv_tf_context_add(struct pv_testfile *tf, struct tf_context *c)
{
    struct tf_context **at = &tf->contexts;

    c->scope.depth = pv_tf_depth(tf);
    while (*at)
        at = &(*at)->next;
    *at = c;
}

void pv_tf_context_remove(struct pv_testfile *tf, struct tf_context *c)
{
    struct tf_context **at = &tf->contexts;

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
}

void pv_tf_context_swap(struct pv_testfile *tf, struct tf_context *c)
{
    struct tf_context running = {.timeline = tf->timeline, .command = tf->command, .scope = tf->scope};

    tf->timeline = c->timeline;
    tf->command = c->command;
    tf->scope = c->scope;
    c->timeline = running.timeline;
    c->command = running.command;
    c->scope = running.scope;
    pv_tf_limit_enter(tf);
}
