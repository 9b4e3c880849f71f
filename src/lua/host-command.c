/* SPDX-License-Identifier: MIT */
/*
 * os.execute and io.popen start host commands with the descriptor limit that this run was started with: the
 * file process has raised its own (testfile.c), and programs that close or poll all numbers up to the limit
 * become slow, or fail.
 */
#include <sys/resource.h>

#include "lua/modules.h"
#include "lua/options.h"
#include "lua/provium.h"
#include "util/mem.h"

/* Upvalue 1: Lua's function.  The limit is lowered for the call alone, so its error is caught and raised again. */
static int call_with_own_limit(lua_State *L)
{
    const struct rlimit *own = &pv_lua_tf(L)->own_files;
    struct rlimit raised;
    bool lowered;
    int status, n = lua_gettop(L);

    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lowered = own->rlim_cur > 0 && getrlimit(RLIMIT_NOFILE, &raised) == 0 &&
              own->rlim_cur < raised.rlim_cur &&
              setrlimit(RLIMIT_NOFILE, &(struct rlimit){own->rlim_cur, raised.rlim_max}) == 0;
    status = lua_pcall(L, n, LUA_MULTRET, 0);
    if (lowered)
        setrlimit(RLIMIT_NOFILE, &raised);
    return status == LUA_OK ? lua_gettop(L) : lua_error(L);
}

void pv_lua_open_host_command(lua_State *L)
{
    static const struct {
        const char *library, *name;
    } starting[] = {{"os", "execute"}, {"io", "popen"}};

    for (size_t i = 0; i < PV_ARRAY_LEN(starting); i++) {
        lua_getglobal(L, starting[i].library);
        lua_getfield(L, -1, starting[i].name);
        lua_pushcclosure(L, call_with_own_limit, 1);
        lua_setfield(L, -2, starting[i].name);
        lua_pop(L, 1);
    }
}
