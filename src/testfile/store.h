/* SPDX-License-Identifier: MIT */
/*
 * The fixture cache (fixture/store.h) for one file: its entries stay open until the file ends, because VMs
 * map them.  Opened by the first call.
 */
#ifndef PV_TESTFILE_STORE_H
#define PV_TESTFILE_STORE_H

#include <stdint.h>
#include <sys/types.h>

#include "testfile/inputs.h"

struct pv_err;
struct pv_snapshot;
struct pv_store;
struct pv_store_lock;
struct pv_testfile;
struct tf_reads;
struct tf_entry; /* an open entry; the store owns it */

struct tf_store {
    struct pv_store *s; /* NULL: not opened */
    struct tf_inputs inputs;
    struct tf_entry *entries;
};

/* A fixture, or a boot that is kept as one. */
struct tf_fixture {
    const char *name;    /* for people */
    const char *script;  /* absolute, without links; "": of a boot */
    const char *variant; /* what distinguishes boots of one name; NULL: nothing */
};

/* Closes all entries; VMs resumed from them must have ended. */
void pv_tf_store_close(struct tf_store *st);

/*
 * The current entry of a fixture: 1, with *e; 0: there is none, or its inputs have changed; -1.  Sends a
 * notice for a damaged one.
 */
int pv_tf_store_get(struct pv_testfile *tf, const struct tf_fixture *f, struct tf_entry **e,
                    struct pv_err *err);
/* The same, and *why, which the caller frees, says why there is none. */
int pv_tf_store_look(struct pv_testfile *tf, const struct tf_fixture *f, struct tf_entry **e, char **why,
                     struct pv_err *err);
/* Checks its checksums; -1: class host, and the entry is out of the store. */
int pv_tf_store_verify(struct tf_entry *e, struct pv_err *err);
/* Takes it out of the store; VMs that were resumed from it go on. */
void pv_tf_store_drop(struct tf_entry *e);
/* Takes all entries of the fixture out of the store, and those made from them. */
int pv_tf_store_forget(struct pv_testfile *tf, const struct tf_fixture *f, struct pv_err *err);
/* Its saved machine, borrowed; NULL: class host, the description is unusable. */
struct pv_snapshot *pv_tf_store_snapshot(struct pv_testfile *tf, struct tf_entry *e, struct pv_err *err);
/* The script that is built needs the entry's fixture. */
void pv_tf_store_reads(struct pv_testfile *tf, struct tf_entry *e);

/* 1: locked; 0: process *holder has the lock (0: not known); -1. Does not block. */
int pv_tf_store_lock(struct pv_testfile *tf, const struct tf_fixture *f, struct pv_store_lock **lock,
                     pid_t *holder, struct pv_err *err);

/* How a build ended without an entry: left under the lock for processes that wait for that build. */
struct tf_build_end {
    int outcome, cls; /* enum tf_build_outcome, enum pv_class */
    char *text;       /* NULL: none */
};
void pv_tf_store_tell(struct pv_store_lock *lock, const struct tf_build_end *v); /* NULL: there is an entry */
/* False: nothing was told after `since` (ns of the wall clock). v->text is the caller's. */
bool pv_tf_store_told(const struct pv_store_lock *lock, int64_t since, struct tf_build_end *v);

/* ---- making an entry ---- */

/* Opens the store and starts a recipe in r, to be freed by pv_recipe_free. */
int pv_tf_store_recipe(struct pv_testfile *tf, const struct tf_fixture *f, struct tf_reads *r,
                       struct pv_err *err);
/* That of tf->builder in tf->reads, in a builder's process. */
int pv_tf_store_begin(struct pv_testfile *tf, struct pv_err *err);
/*
 * Puts the machine into the store.  1: an input changed while it was made, *moved (the caller frees) says
 * which, and nothing was kept; -1 with *err, also for an input that could not be recorded.
 */
int pv_tf_store_commit(struct pv_testfile *tf, struct tf_reads *r, struct pv_snapshot *s, char **moved,
                       struct pv_err *err);

#endif
