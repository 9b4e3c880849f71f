/* SPDX-License-Identifier: MIT */
/* A prompt at which a person, or a pipe, gives Lua. */
#ifndef PV_LUA_REPL_H
#define PV_LUA_REPL_H

#include "testfile/env.h"

struct pv_err;

/* All borrowed. */
struct pv_lua_repl_opts {
    const char *profile; /* of the VM `vm`; NULL: "default" */
    const char *fixture; /* the fixture that it resumes, in place of a profile; NULL: none */
    int in, out, err;
};

/*
 * Reads Lua from `in` until its end, as a test file of the working directory would run it, and shows values on `out`
 * and errors on `err`; given->result is not used.  `vm` is a VM that boots when it is used first.  Blocks; all VMs are
 * gone then.  0: no chunk failed, 1; -1 with *err: it could not begin.
 */
int pv_lua_run_repl(const struct pv_testfile_env *given, const struct pv_lua_repl_opts *o,
                    struct pv_err *err);

#endif
