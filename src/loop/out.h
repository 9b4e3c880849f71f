/* SPDX-License-Identifier: MIT */
/*
 * Output of the supervisor, queued and written from its loop: a reader that stalls (a pager) delays neither
 * deadlines nor signals.  Only output to a regular file is written at once.
 */
#ifndef PV_LOOP_OUT_H
#define PV_LOOP_OUT_H

#include <stdbool.h>

#include "loop/loop.h"
#include "util/mem.h"

struct pv_out {
    struct pv_loop *loop;
    int fd;
    struct pv_watch watch;
    struct pv_buf queue;
    bool direct; /* a regular file: written at once */
    int own_fd;  /* a terminal, opened again with O_NONBLOCK; else -1 */
    int error;   /* errno of a failed write, after which all output is dropped; else 0 */
    void (*on_error)(struct pv_out *o);
    void (*on_empty)(struct pv_out *o); /* the queue was written; may put more.  NULL: none */
};

/* Borrows fd until pv_out_fini.  The caller sets o->on_error afterwards, if it needs it. */
void pv_out_init(struct pv_out *o, struct pv_loop *loop, int fd);
/* Queues the bytes of b and empties b. */
void pv_out_put(struct pv_out *o, struct pv_buf *b);
/* Writes to a terminal at once, as much as is possible without blocking. */
void pv_out_push(struct pv_out *o);
/* True when the queue is empty or a write has failed. */
bool pv_out_done(const struct pv_out *o);
void pv_out_fini(struct pv_out *o);

#endif
