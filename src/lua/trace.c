/* SPDX-License-Identifier: MIT */
/*
 * What is told of an error: its text, where it happened with the lines of the source, what called that, and
 * the last command if it failed.  Frames of our own are left out.
 *
 * What is reported of an error in a sub-test is its text first and the positions behind it, so that the line
 * a reader looks for ("expected 0, got -13") comes first (SPEC 6); for an error outside of sub-tests, and
 * what a script itself catches with pcall, the position is in front as ever in Lua.
 *
 * Errors of a guest carry the tail of its console, for scripts.  The report shows all consoles by itself
 * (pv_lua_send_tails), so there that tail is taken off.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lua/internal.h"
#include "util/mem.h"
#include "util/spawn.h"

/* Finding a level takes time in proportion to it, and a stack that overflowed has 200,000. */
enum { MAX_LEVELS = 200, MAX_CALLERS = 8, SOURCE_COLS = 160, SOURCE_MAX = 16 << 20 };

static bool is_ours(const lua_Debug *ar)
{
    return !strncmp(ar->source, "=provium", 8);
}

/* The nearest line of a script from `level` on. */
static bool script_frame(lua_State *L, int *level, lua_Debug *ar)
{
    for (; lua_getstack(L, *level, ar); (*level)++) {
        lua_getinfo(L, "Sl", ar);
        if (ar->currentline > 0 && !is_ours(ar))
            return true;
    }
    return false;
}

void pv_lua_where(lua_State *L)
{
    lua_Debug ar;
    int level = 0;

    if (script_frame(L, &level, &ar))
        lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
    else
        lua_pushliteral(L, "");
}

/* Line `number` of the file into text, without the blanks around it; false when there is none. */
static bool read_line(const char *path, int number, char text[static SOURCE_COLS + 4])
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char buf[4096];
    struct stat st;
    size_t n = 0;
    ssize_t got;
    bool over = false;
    int line = 1;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > SOURCE_MAX)
        return false;
    while (line <= number && (got = read(fd, buf, sizeof(buf))) > 0)
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

/* Adds "\n  > LINE | SOURCE" for a chunk that came from a file which still has that line. */
static void add_source(luaL_Buffer *b, const char *source, int number)
{
    char text[SOURCE_COLS + 4], line[SOURCE_COLS + 32];

    if (source[0] != '@' || !read_line(source + 1, number, text))
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
    is = lua_tocfunction(L, -1) == pv_lua_test;
    lua_pop(L, 1);
    return is;
}

/*
 * Adds "\nat FILE:LINE" (unless the text has it already) and "\ncalled from FILE:LINE"... up to the
 * sub-test's border, each with its line of the source.
 */
static void add_frames(lua_State *L, luaL_Buffer *b, bool has_first)
{
    const char *last = NULL; /* the source of the frame before, and its line */
    lua_Debug ar;
    int shown = 0, last_line = 0;

    for (int level = 1; shown < MAX_CALLERS && level < MAX_LEVELS && lua_getstack(L, level, &ar); level++) {
        if (is_test_frame(L, level))
            return;
        lua_getinfo(L, "Sln", &ar);
        if (ar.currentline <= 0 || is_ours(&ar))
            continue;
        if (last && ar.currentline == last_line && !strcmp(ar.source, last)) /* recursion */
            continue;
        last = ar.source;
        last_line = ar.currentline;
        if (shown++ > 0 || !has_first) {
            lua_pushfstring(L, shown > 1 ? "\ncalled from %s:%d" : "\nat %s:%d",
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

/* The command that ended last, when it failed: often the reason of what the test then found wrong. */
static void add_command(lua_State *L, luaL_Buffer *b)
{
    struct lua_command *c = &pv_lua_of(L)->command;

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
    c->words[0] = '\0'; /* said */
}

int pv_lua_msgh(lua_State *L)
{
    const char *msg, *where, *tail;
    size_t n, where_n;
    luaL_Buffer b;
    bool has_where;

    lua_settop(L, 1);
    if (pv_lua_is_skip(L, 1))
        return 1;
    if (lua_isnil(L, 1))
        lua_pushliteral(L, "error(nil)");
    else if (lua_istable(L, 1) && luaL_getmetafield(L, 1, "__tostring") == LUA_TNIL)
        lua_pushfstring(L, "error object %s", pv_lua_show(L, 1));
    else
        luaL_tolstring(L, 1, NULL);
    lua_copy(L, -1, 2);
    lua_settop(L, 2);
    msg = lua_tolstring(L, 2, &n);
    pv_lua_of(L)->error_cls = pv_lua_class_of(pv_lua_of(L), msg);
    pv_lua_where(L);
    where = lua_tolstring(L, 3, &where_n);
    has_where = where_n && where_n < n && !strncmp(msg, where, where_n);
    if (has_where && pv_lua_of(L)->n_open) {
        do { /* coroutine.wrap puts it in front once more */
            msg += where_n;
            n -= where_n;
        } while (where_n < n && !strncmp(msg, where, where_n));
        has_where = false;
    }
    tail = strstr(msg, "\n--- console of ");
    if (tail && strstr(tail, ": empty ---"))
        tail = NULL;
    luaL_buffinit(L, &b);
    luaL_addlstring(&b, msg, tail ? (size_t)(tail - msg) : n);
    add_frames(L, &b, has_where);
    add_command(L, &b);
    luaL_pushresult(&b);
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

void pv_lua_note_command(struct pv_lua *pl, const char *vm, const char *title, int code, bool timed_out,
                         const struct pv_buf *err)
{
    struct lua_command *c = &pl->command;
    const char *s = err && err->data ? err->data : "";
    size_t n = err ? err->len : 0, from;
    unsigned lines = 0;

    c->words[0] = '\0';
    if (code == 0 && !timed_out)
        return;
    snprintf(c->vm, sizeof(c->vm), "%s", vm);
    snprintf(c->title, sizeof(c->title), "%.*s%s", (int)sizeof(c->title) - 4, title,
             strlen(title) > sizeof(c->title) - 4 ? "..." : "");
    for (char *t = c->title; *t; t++) /* a script of several lines */
        if (*t == '\n')
            *t = ' ';
    pv_exit_words(code, timed_out, c->words);
    while (n && strchr(" \t\r\n", s[n - 1]))
        n--;
    for (from = n; from > 0 && n - from < sizeof(c->err) - 1; from--)
        if (s[from - 1] == '\n' && ++lines == 3)
            break;
    memcpy(c->err, s + from, n - from);
    c->err[n - from] = '\0';
    for (size_t i = 0; i < n - from; i++)
        if (c->err[i] == '\0')
            c->err[i] = '?';
}
