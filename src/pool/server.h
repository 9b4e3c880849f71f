/* SPDX-License-Identifier: MIT */
/*
 * The pool server connects the arbiter (arbiter.h) with the processes of test files, which send it requests
 * over channels (childproto/lease.h).  In free mode it measures the host at each request, and every quarter
 * of a second while a request waits.
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
    uint64_t memory; /* --mem, bytes; 0: the host's free memory, except 1.5 GiB */
    unsigned cpus;   /* --cpus; 0: no limit */
    /* Returns the bytes that the VMs of the file use now; free mode only. */
    uint64_t (*used)(struct pv_pool_file *f, void *arg);
    /* The file waits for the pool (does), or no longer does. */
    void (*waits)(struct pv_pool_file *f, bool does, void *arg);
    /* Asks to stop the file, and to start it again once its process has ended; `why` is for the user. */
    void (*restart)(struct pv_pool_file *f, const char *why, void *arg);
    /*
     * A process of the file has sent an invalid message: asks to kill it, and to say so in its verdict.
     * `fault` is the end of a sentence about the process.  The file must leave once its process has ended.
     */
    void (*fail)(struct pv_pool_file *f, const char *fault, void *arg);
    void *arg;
};

struct pv_pool_server *pv_pool_server_new(struct pv_loop *loop, const struct pv_pool_server_opts *o);
/* After all files have left. NULL is fine. */
void pv_pool_server_free(struct pv_pool_server *s);

/*
 * Opens a channel for a file that is about to start.  Returns the descriptor (close-on-exec) for its process,
 * which the caller closes; -1 with *err, class host.
 */
int pv_pool_server_join(struct pv_pool_server *s, struct pv_pool_file *f, struct pv_err *err);
/* The file's process and its VMs have ended: closes its channels, releases its leases. Twice is fine. */
void pv_pool_server_leave(struct pv_pool_server *s, struct pv_pool_file *f);

#endif
