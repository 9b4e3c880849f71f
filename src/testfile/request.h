/* SPDX-License-Identifier: MIT */
/*
 * A request for a fixture.  It goes round until it has a VM:
 *
 *     entry in the store?      resume from it; damaged: it is dropped, and round again; the VM died: once more from
 *                              it, then from a new one
 *     its lock free?           build in a process of its own, and round again
 *     locked by another one?   wait for that build, and round again
 *
 * All within the file's own loop, so its VMs are served meanwhile.
 */
#ifndef PV_TESTFILE_REQUEST_H
#define PV_TESTFILE_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "testfile/builder.h"
#include "testfile/store.h"

struct pv_err;
struct pv_guest;
struct pv_store_lock;
struct pv_testfile;

struct tf_request {
    /* set by pv_tf_request_init */
    struct pv_testfile *tf;
    struct tf_fixture f;
    char *script;        /* f.script, owned */
    const char *vm_name; /* of the VM, borrowed; NULL: "vm1", "vm2"...; set after pv_tf_request_init */
    int64_t timeout, deadline;
    void (*run_script)(struct pv_testfile *tf);
    /* state */
    struct tf_entry *entry;
    struct pv_store_lock *lock;
    struct tf_build build;
    unsigned n_built, n_damaged, n_died;
    bool damaged;         /* the entry that was tried last */
    int64_t waited_since; /* wall clock; 0: it did not wait for a build of another process */
    /* how the last build ended */
    enum tf_build_outcome outcome;
    enum pv_class cls;
    char *text;
};

/*
 * A request for the fixture `name` (borrowed), whose script (taken) is absolute and without links.
 * timeout_ns PV_FOREVER: none of its own.  run_script: as in tf_build_opts.
 */
void pv_tf_request_init(struct tf_request *r, struct pv_testfile *tf, const char *name, char *script,
                        int64_t timeout_ns, void (*run_script)(struct pv_testfile *tf));
/* Idempotent. */
void pv_tf_request_fini(struct tf_request *r);

/* Class usage, "... a needs b needs a", when the fixture is being built by the processes that ask for it. */
int pv_tf_request_check_recursion(const struct tf_request *r, struct pv_err *err);

/* 1: the entry is there; 0: the build failed, as r->outcome, cls and text say; -1. Blocks. */
int pv_tf_request_build(struct tf_request *r, struct pv_err *err);
/* The same, and *vm is a guest resumed from the entry. */
int pv_tf_request_vm(struct tf_request *r, struct pv_guest **vm, struct pv_err *err);
/* The failure's message, for an outcome that is neither skip nor todo. The caller frees. */
char *pv_tf_request_failure(const struct tf_request *r);

#endif
