/* SPDX-License-Identifier: MIT */
/*
 * Building a fixture: its script runs in a process of its own, forked from the one that asked for it, with a
 * fresh loop and a fresh Lua state and nothing of its parent's VMs, and ends with the machine in the store.
 * That process dies with its parent (PR_SET_PDEATHSIG), and its VMs with it.
 */
#ifndef PV_LUA_BUILD_H
#define PV_LUA_BUILD_H

#include <sys/types.h>

#include "loop/loop.h"
#include "lua/internal.h"
#include "util/err.h"
#include "util/mem.h"

struct lua_entry;
struct pv_err;

/* ---- in the builder's process ---- */

/* What this process builds; pl->build. */
struct lua_build {
    const char *name;         /* of the fixture */
    const char *script;       /* absolute, no links */
    struct lua_build *outer;  /* the build that needs this one; NULL: a test file does */
    const char *logs;         /* where builders make their directories for console logs; may be NULL */
    int sock;                 /* to the one who asked */
    struct pv_strv wrote;     /* what the script makes on the host, absolute */
    bool used_cwd;            /* it read a path that is relative to the working directory */
    struct pv_recipe *recipe; /* what went in so far */
    struct pv_err input_err;  /* class PV_E_NONE: all could be recorded */
};

/*
 * Inputs, told before they are read; what can not be recorded is the end of the build (b->input_err).  None
 * raises.  A host path, absolute; tree: with all that is in it.
 */
void pv_lua_build_input(struct lua_build *b, const char *path, bool tree);
void pv_lua_build_env(struct lua_build *b, const char *name);
/* A profile: its values, and what its VMs run with here.  Nothing outside of a build. */
void pv_lua_build_profile(struct pv_lua *pl, const struct pv_profile *p);
/* Another fixture. */
void pv_lua_build_needs(struct lua_build *b, const struct lua_entry *e);
/* What it is busy with. */
void pv_lua_build_phase(struct lua_build *b, const char *what);
/* The script called os.exit: says so and ends the process. */
_Noreturn void pv_lua_build_exit(struct pv_lua *pl, const char *msg);

/* ---- in the process that asks ---- */

enum builder_outcome {
    BUILDER_RUNNING,
    BUILDER_DONE,
    BUILDER_FAILED,
    BUILDER_MOVED,   /* an input changed meanwhile: the text says which */
    BUILDER_SKIPPED, /* the script called skip() or todo() */
    BUILDER_TODO,
    BUILDER_DIED /* without a word: the text says how */
};

struct builder_tail {
    char *vm, *text;
    struct builder_tail *next;
};

struct lua_builder {
    struct pv_loop *loop;
    const char *name; /* of the fixture */
    pid_t pid;        /* 0: none */
    int pidfd, sock;
    struct pv_watch proc_watch, sock_watch;
    enum builder_outcome outcome;
    enum pv_class cls; /* of a failure */
    char *text;        /* of what did not go well */
    char *phase;       /* what it is busy with */
    char *log_dir;     /* of its console logs; NULL: none */
    struct builder_tail *tails;
    void (*on_phase)(const char *phase, void *arg);
    void *arg;
};

/* What a builder is started with. */
struct builder_opts {
    const char *name, *script; /* of the fixture; the script's path absolute, without links */
    int64_t deadline;          /* of the whole build */
};

/*
 * Starts the builder; b is zeroed, and stays where it is.  The loop does the rest: b->outcome tells when.
 * The caller holds the fixture's lock.
 */
int pv_lua_builder_start(struct lua_builder *b, struct pv_lua *pl, const struct builder_opts *o,
                         struct pv_err *err);
/* Kills it; b->tails gets the ends of its consoles. */
void pv_lua_builder_kill(struct lua_builder *b);
/* Kills the builder if it still runs, frees what b holds. Twice is fine, and so is one never started. */
void pv_lua_builder_end(struct lua_builder *b);

#endif
