/* SPDX-License-Identifier: MIT */
/*
 * The pool at work: channels to the processes of test files on the one side, the arbiter (pool.h) on the
 * other. In free mode the host is measured whenever somebody asks, and again every quarter of a second while
 * somebody waits.
 */
#ifndef PV_POOL_SERVER_H
#define PV_POOL_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "pool/arbiter.h"

struct pv_err;
struct pv_loop;
struct pv_pool_server;

struct pv_pool_server_opts {
    uint64_t memory; /* --mem, bytes; 0: what the host has, but for 1.5 GB */
    unsigned cpus;   /* --cpus; 0: no limit */
    /* Bytes that the file's VMs use by now; free mode only. */
    uint64_t (*used)(struct pv_pool_file *f, void *arg);
    /* The file waits for the pool, or has ceased to. */
    void (*waits)(struct pv_pool_file *f, bool does, void *arg);
    /* The file is to be ended, and started again once it is gone; `why` is for the user. */
    void (*restart)(struct pv_pool_file *f, const char *why, void *arg);
    void *arg;
};

struct pv_pool_server *pv_pool_server_new(struct pv_loop *loop, const struct pv_pool_server_opts *o);
/* All files have left. NULL is fine. */
void pv_pool_server_free(struct pv_pool_server *s);

/*
 * A channel for a file that is about to start: returns the descriptor (close-on-exec) for its process, the
 * caller's to close; -1 with *err.
 */
int pv_pool_server_join(struct pv_pool_server *s, struct pv_pool_file *f, struct pv_err *err);
/* The file's process and its VMs are gone: closes its channels, everything comes back. Twice is fine. */
void pv_pool_server_leave(struct pv_pool_server *s, struct pv_pool_file *f);

#endif
