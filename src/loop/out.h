/* SPDX-License-Identifier: MIT */
/*
 * Standard output of the supervisor, written from its loop, so that a reader that stalls (a pager) holds up
 * neither deadlines nor signals.
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
    int own_fd;  /* a terminal, opened once more to write to it without blocking; else -1 */
    int error;   /* errno of the write that failed; nothing is written any more */
    void (*on_error)(struct pv_out *o);
};

/* Borrows fd. */
void pv_out_init(struct pv_out *o, struct pv_loop *loop, int fd);
/* Takes what is in b and leaves it empty. */
void pv_out_put(struct pv_out *o, struct pv_buf *b);
/* Writes what can be written without blocking, now and not when the loop comes to it. */
void pv_out_push(struct pv_out *o);
/* True when all is written, or nothing will be. */
bool pv_out_done(const struct pv_out *o);
void pv_out_fini(struct pv_out *o);

#endif
