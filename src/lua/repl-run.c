/* SPDX-License-Identifier: MIT */
/* provium repl: a prompt in a state of its own. */
#include "lua/repl.h"

#include <stdlib.h>

#include "childproto/event.h"
#include "lua/open.h"
#include "lua/prompt.h"
#include "lua/raise.h"
#include "lua/repl-host.h"
#include "util/err.h"
#include "util/mem.h"

#include "repl-vm.lua.h"

/* Shows what a file's report would have: log(), sub-tests and kernel reports. */
static void repl_deliver(const struct pv_event *ev, void *arg)
{
    const struct lua_repl *r = arg;
    cleanup_buf struct pv_buf line = {0};

    if (ev->type == PV_EV_NOTE || ev->type == PV_EV_NOTICE)
        pv_buf_addf(&line, "%s\n", ev->text);
    else if (ev->type == PV_EV_FINDING)
        pv_buf_addf(&line, "kernel report of %s: %s\n", ev->name, ev->text);
    else if (ev->type == PV_EV_TEST_END)
        pv_buf_addf(&line, "test: %s%s%s\n", ev->outcome == PV_OK ? "ok" : pv_class_name(ev->cls),
                    ev->text ? ": " : "", ev->text ? ev->text : "");
    if (line.len)
        pv_lua_repl_put(r->err, line.data, line.len);
}

/* Argument: the struct lua_repl. Leaves repl.lua's first result. */
static int repl_main(lua_State *L)
{
    struct lua_repl *r = lua_touserdata(L, 1);

    pv_lua_load_own(L, pv_repl_vm_lua, sizeof(pv_repl_vm_lua));
    lua_pushstring(L, r->profile);
    lua_pushstring(L, r->fixture);
    pv_lua_repl_push_warn(L, r);
    lua_call(L, 3, 0);
    pv_lua_repl_main(L, r,
                     pv_prompt_is_terminal(r->prompt)
                         ? "vm boots when it is used first. `help` tells more; Ctrl-D ends."
                         : NULL,
                     0);
    lua_pop(L, 1);
    return 1;
}

int pv_lua_run_repl(const struct pv_testfile_env *given, const struct pv_lua_repl_opts *o, struct pv_err *err)
{
    struct lua_repl r = {
        .in = o->in, .out = o->out, .err = o->err, .profile = o->profile, .fixture = o->fixture};
    struct pv_testfile_env env = *given;
    struct pv_testfile tf = {.env = &env, .path = "repl", .dir = pv_xstrdup(".")};
    struct pv_lua pl;
    lua_State *L;
    int rc = -1;

    env.result = pv_result_new_local(repl_deliver, &r, err);
    if (!env.result) {
        free(tf.dir);
        return -1;
    }
    L = pv_lua_open(&pl, &tf, err);
    if (L) {
        r.L = L;
        r.prompt = pv_lua_repl_prompt(&r, err);
        if (r.prompt) {
            if (pv_lua_run_function(L, &pl, repl_main, &r))
                rc = !lua_toboolean(L, -1);
            else
                pv_err_set(err, PV_E_HOST, "%s", pv_lua_message(L, -1));
        }
        pv_lua_end(&pl, L);
        pv_prompt_free(r.prompt);
        pv_testfile_close(&tf);
    }
    free(r.history);
    pv_result_free(env.result);
    return rc;
}
