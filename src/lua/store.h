/* SPDX-License-Identifier: MIT */
/*
 * The cache's store as provium.fixture needs it: with what a script is built from, and open entries that last
 * as long as the file, because VMs map them.  Nothing here raises.
 */
#ifndef PV_LUA_STORE_H
#define PV_LUA_STORE_H

#include "lua/internal.h"

struct lua_build;
struct lua_entry; /* of the store, open until the end of the file */
struct pv_err;
struct pv_snapshot;
struct pv_store_lock;

struct pv_fixture_script {
    const char *name; /* of the fixture, for people */
    const char *path; /* absolute, without links */
};

/* Ends all that the file has open. */
void pv_lua_store_close(struct pv_lua *pl);

/*
 * The current entry of a fixture: 1, with *e; 0: there is none, or its inputs have changed; -1.  A damaged
 * one that is met is told to the user.
 */
int pv_lua_store_get(struct pv_lua *pl, const struct pv_fixture_script *f, struct lua_entry **e,
                     struct pv_err *err);
/* Whether its bytes are what was written; -1: class host, with what is wrong, and it is out of the store. */
int pv_lua_store_verify(struct lua_entry *e, struct pv_err *err);
/* Takes it out of the store; VMs that were resumed from it go on. */
void pv_lua_store_drop(struct pv_lua *pl, struct lua_entry *e);
/* Takes all entries of the fixture out of the store, and those that were made from them. */
int pv_lua_store_forget(struct pv_lua *pl, const struct pv_fixture_script *f, struct pv_err *err);
/* Its machine, borrowed; NULL: class host, it makes no sense. */
struct pv_snapshot *pv_lua_store_snapshot(struct pv_lua *pl, struct lua_entry *e, struct pv_err *err);

/* 1: locked; 0: *holder has it (0: not known); -1. Does not block. */
int pv_lua_store_lock(struct pv_lua *pl, const struct pv_fixture_script *f, struct pv_store_lock **lock,
                      pid_t *holder, struct pv_err *err);
void pv_lua_store_unlock(struct pv_store_lock *lock); /* NULL is fine */

/* How a build ended that gave no entry: for those who waited for it, under its lock; see pv_store_tell. */
struct lua_verdict {
    int outcome, cls; /* enum builder_outcome, enum pv_class */
    char *text;       /* NULL: nothing was said */
};
void pv_lua_store_tell(struct pv_store_lock *lock, const struct lua_verdict *v); /* NULL: it went well */
/* False: nothing was told since then (ns since 1970). v->text is the caller's. */
bool pv_lua_store_told(const struct pv_store_lock *lock, int64_t since, struct lua_verdict *v);

/* ---- in a builder ---- */

/* Opens the store and begins the recipe. */
int pv_lua_store_begin(struct pv_lua *pl, struct pv_err *err);
/*
 * Puts the machine into the store.  1: an input changed while it was built, and *moved (the caller frees)
 * says which: nothing was kept.
 */
int pv_lua_store_commit(struct pv_lua *pl, struct pv_snapshot *s, char **moved, struct pv_err *err);

#endif
