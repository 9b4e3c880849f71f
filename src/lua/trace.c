/* SPDX-License-Identifier: MIT */
/*
 * The report's text of an error: its message, where it was raised with the lines of the source, the callers,
 * and the last command if that failed.  Frames of Provium's own code are left out.
 *
 * In a sub-test the message comes first and the positions behind it, because a reader looks for the message
 * ("expected 0, got -13").  For an error outside of sub-tests, and for one that a script catches with pcall,
 * the position is in front as usual in Lua.
 *
 * Errors of a guest end with its console tail, for scripts that catch them.  The report shows all consoles by
 * itself (pv_tf_tails_send), so that tail is taken off here.
 */
#include "lua/trace.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lua/assert.h"
#include "lua/raise.h"
#include "lua/skip.h"
#include "util/mem.h"
#include "util/path.h"
#include "util/parse.h"

/* lua_getstack takes time in proportion to the level, and an overflowed stack has 200,000. */
enum { MAX_LEVELS = 200, MAX_CALLERS = 8, SOURCE_COLS = 160, SOURCE_MAX = 16 << 20, KEYS_MAX = 256 };

/* Line `number` of the file, trimmed; false when there is none, or it is empty. */
static bool read_source_line(const char *path, int number, char text[static SOURCE_COLS + 4])
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char buf[4096];
    struct stat st;
    size_t n = 0;
    off_t at = 0;
    ssize_t got;
    bool over = false;
    int line = 1;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > SOURCE_MAX)
        return false;
    for (; line <= number && (got = pv_pread_all(fd, buf, sizeof(buf), at)) > 0; at += got)
        for (ssize_t i = 0; i < got && line <= number; i++) {
            if (buf[i] == '\n')
                line++;
            else if (line < number || (n == 0 && (buf[i] == ' ' || buf[i] == '\t')) || buf[i] == '\0')
                continue;
            else if (n < SOURCE_COLS)
                text[n++] = buf[i];
            else
                over = true;
        }
    while (n && strchr(" \t\r", text[n - 1]))
        n--;
    strcpy(text + n, over ? "..." : "");
    return n > 0;
}

/* Adds "\n  > LINE | SOURCE" if the chunk's file still has that line. */
static void add_source(luaL_Buffer *b, const char *source, int number)
{
    char text[SOURCE_COLS + 4], line[SOURCE_COLS + 32];

    if (source[0] != '@' || !read_source_line(source + 1, number, text))
        return;
    snprintf(line, sizeof(line), "\n  > %d | %s", number, text);
    luaL_addstring(b, line);
}

/* True when `level` is the C function behind test(). */
static bool is_test_frame(lua_State *L, int level)
{
    lua_Debug ar;
    bool is;

    if (!lua_getstack(L, level, &ar))
        return false;
    lua_getinfo(L, "f", &ar);
    is = lua_tocfunction(L, -1) == pv_lua_of(L)->test;
    lua_pop(L, 1);
    return is;
}

/*
 * Adds "\nat FILE:LINE" (unless the text begins with it) and "\ncalled from FILE:LINE"... up to the frame of
 * test(), each with its line of the source.  `first` stands for the first "at".
 */
static void add_frames(lua_State *L, luaL_Buffer *b, bool has_first, const char *first)
{
    const char *last = NULL; /* the source of the frame before, and its line */
    lua_Debug ar;
    int shown = 0, last_line = 0;

    for (int level = 1; shown < MAX_CALLERS && level < MAX_LEVELS && lua_getstack(L, level, &ar); level++) {
        if (is_test_frame(L, level))
            return;
        lua_getinfo(L, "Sln", &ar);
        if (ar.currentline <= 0 || pv_lua_is_own_code(&ar))
            continue;
        if (last && ar.currentline == last_line && !strcmp(ar.source, last)) /* recursion */
            continue;
        last = ar.source;
        last_line = ar.currentline;
        if (shown++ > 0 || !has_first) {
            lua_pushfstring(L, "\n%s %s:%d", shown > 1 ? "called from" : first,
                            ar.source[0] == '@' ? ar.source + 1 : ar.short_src, ar.currentline);
            luaL_addvalue(b);
            if (ar.name && strlen(ar.name) <= 60) {
                lua_pushfstring(L, " (in %s)", ar.name);
                luaL_addvalue(b);
            }
        }
        add_source(b, ar.source, ar.currentline);
    }
}

/* Adds the last command if it failed: that is often why the check failed. */
static void add_command(lua_State *L, luaL_Buffer *b)
{
    struct tf_command *c = &pv_lua_tf(L)->command;

    if (!c->words[0])
        return;
    lua_pushfstring(L, "\nthe last command in %s, '%s', ended with %s", c->vm, c->title, c->words);
    luaL_addvalue(b);
    for (const char *line = c->err; *line;) {
        size_t n = strcspn(line, "\n");

        luaL_addstring(b, "\n  stderr: ");
        luaL_addlstring(b, line, n);
        line += n + (line[n] == '\n');
    }
    c->words[0] = '\0'; /* told */
}

/* Length of the console that msg ends with because it ends with the text of the raised error. */
static size_t console_at_end(const char *msg, size_t n, const struct lua_raised *raised)
{
    return raised && n >= raised->len && !memcmp(msg + n - raised->len, raised->text, raised->len)
               ? raised->console
               : 0;
}

void pv_lua_push_error_text(lua_State *L, int idx)
{
    if (lua_isnil(L, idx))
        lua_pushliteral(L, "error(nil)");
    else if (lua_istable(L, idx) && luaL_getmetafield(L, idx, "__tostring") == LUA_TNIL)
        lua_pushfstring(L, "error object %s", pv_lua_show(L, idx));
    else
        luaL_tolstring(L, idx, NULL);
}

/* The name nearest to `name` among the string keys of the table on top; NULL: none.  It lives as long as the key. */
static const char *nearest_key(lua_State *L, const char *name)
{
    const char *known[KEYS_MAX + 1] = {NULL};
    size_t n = 0;

    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        if (lua_type(L, -2) == LUA_TSTRING && n < KEYS_MAX)
            known[n++] = lua_tostring(L, -2);
    return pv_nearest(name, known);
}

/* Adds what was meant, for Lua's own message about a name that is nil (its first `n` bytes). */
static void add_nearest(lua_State *L, luaL_Buffer *b, const char *msg, size_t n)
{
    static const struct {
        const char *text, *table; /* table: the global that has the names; NULL: the globals themselves */
    } forms[] = {{"attempt to call a nil value (global '", NULL},
                 {"attempt to index a nil value (global '", NULL},
                 {"attempt to call a nil value (field '", "provium"},
                 {"attempt to call a nil value (method '", "string"}};

    for (size_t i = 0; i < PV_ARRAY_LEN(forms); i++) {
        const char *at = memmem(msg, n, forms[i].text, strlen(forms[i].text)), *near = NULL;
        char name[64];

        if (!at || sscanf(at + strlen(forms[i].text), "%63[A-Za-z0-9_]'", name) != 1)
            continue;
        lua_pushglobaltable(L);
        if (forms[i].table)
            lua_getfield(L, -1, forms[i].table);
        if (lua_istable(L, -1))
            near = nearest_key(L, name);
        lua_pop(L, forms[i].table ? 2 : 1);
        if (near) {
            luaL_addstring(b, " (did you mean '");
            luaL_addstring(b, near);
            luaL_addstring(b, "'?)");
        }
        return;
    }
}

int pv_lua_msgh(lua_State *L)
{
    const struct lua_raised *raised;
    const char *msg, *where;
    size_t n, where_n;
    luaL_Buffer b;
    bool has_where;

    lua_settop(L, 1);
    if (pv_lua_is_skip(L, 1))
        return 1;
    pv_lua_push_error_text(L, 1);
    lua_copy(L, -1, 2);
    lua_settop(L, 2);
    msg = lua_tolstring(L, 2, &n);
    raised = pv_lua_raised_at(L, 2);
    pv_lua_of(L)->error_cls = raised ? raised->cls : PV_CLASS_LUA;
    n -= console_at_end(msg, n, raised);
    pv_lua_where(L);
    where = lua_tolstring(L, 3, &where_n);
    has_where = where_n && where_n < n && !strncmp(msg, where, where_n);
    if (has_where && pv_lua_tf(L)->tests.n_open) {
        do { /* coroutine.wrap adds the position again */
            msg += where_n;
            n -= where_n;
        } while (where_n < n && !strncmp(msg, where, where_n));
        has_where = false;
    }
    luaL_buffinit(L, &b);
    luaL_addlstring(&b, msg, n);
    add_nearest(L, &b, msg, strcspn(msg, "\n") < n ? strcspn(msg, "\n") : n);
    add_frames(L, &b, has_where, strstr(msg, LUA_TASK_MARK) ? "waited for at" : "at");
    add_command(L, &b);
    luaL_pushresult(&b);
    return 1;
}

int pv_lua_msgh_failing(lua_State *L)
{
    pv_lua_msgh(L);
    if (!pv_lua_is_skip(L, -1)) {
        pv_tf_save_failed(pv_lua_tf(L), lua_tostring(L, -1));
        if (pv_lua_of(L)->on_failure)
            pv_lua_of(L)->on_failure(L, lua_tostring(L, -1));
    }
    return 1;
}

void pv_lua_add_error_line(lua_State *L, const char *path)
{
    const char *msg = lua_tostring(L, -1), *rest, *source;
    size_t n = strlen(path), keep = n < LUA_IDSIZE - 1 ? n : LUA_IDSIZE - 4; /* as lua_Debug.short_src */
    luaL_Buffer b;
    int line;

    if (!msg || (keep < n && strncmp(msg, "...", 3) != 0))
        return;
    rest = keep < n ? msg + 3 : msg;
    if (strncmp(rest, path + n - keep, keep) != 0 || sscanf(rest + keep, ":%d:", &line) != 1)
        return;
    source = lua_pushfstring(L, "@%s", path);
    luaL_buffinit(L, &b);
    luaL_addstring(&b, msg);
    add_source(&b, source, line);
    luaL_pushresult(&b);
}
