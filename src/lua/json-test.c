/* SPDX-License-Identifier: MIT */
/* JSON texts to Lua values and to error messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "lua/json.h"
#include "util/mem.h"

static lua_State *L;

static int set_up(void **state)
{
    (void)state;
    L = luaL_newstate();
    luaL_openlibs(L);
    pv_lua_open_json(L);
    pv_lua_push_null(L);
    lua_setglobal(L, "null");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lua_close(L);
    return 0;
}

/* `check` is a Lua expression over the value v; it must be true. */
static void gives_n(const char *json, size_t n, const char *check)
{
    cleanup_free char *script = pv_xasprintf("local v = ... return %s", check);
    int top = lua_gettop(L);

    assert_int_equal(luaL_loadstring(L, script), LUA_OK);
    if (!pv_lua_push_json(L, json, n))
        fail_msg("%s: %s", json, lua_tostring(L, -1));
    assert_int_equal(lua_gettop(L), top + 2);
    assert_int_equal(lua_pcall(L, 1, 1, 0), LUA_OK);
    if (!lua_toboolean(L, -1))
        fail_msg("%s is not: %s", json, check);
    lua_settop(L, top);
}

static void gives(const char *json, const char *check)
{
    gives_n(json, strlen(json), check);
}

static void refuses_n(const char *json, size_t n, const char *want)
{
    int top = lua_gettop(L);

    assert_false(pv_lua_push_json(L, json, n));
    assert_int_equal(lua_gettop(L), top + 1);
    if (!strstr(lua_tostring(L, -1), want))
        fail_msg("%s: expected '%s' in: %s", json, want, lua_tostring(L, -1));
    lua_settop(L, top);
}

static void refuses(const char *json, const char *want)
{
    refuses_n(json, strlen(json), want);
}

static void test_integers(void **state)
{
    (void)state;
    gives("9223372036854775807", "math.type(v) == 'integer' and v == math.maxinteger");
    gives("-9223372036854775808", "v == math.mininteger");
    gives("9223372036854775808", "v == math.mininteger");
    gives("9223372036854775809", "v == math.mininteger + 1");
    gives("9999999999999999999", "v == -8446744073709551617");
    gives("18446744073709551615", "v == -1 and math.type(v) == 'integer'");
    gives("{\"a\":[18446744073709551615,9223372036854775808, 7],\"18446744073709551615\":1}",
          "v.a[1] == -1 and v.a[2] == math.mininteger and v.a[3] == 7 and v['18446744073709551615'] == 1");
    gives("[\"x\\\"18446744073709551615\", \"\\\\\", 18446744073709551614]",
          "v[1] == 'x\"18446744073709551615' and v[2] == '\\\\' and v[3] == -2");
    gives("[0, -0, 1e2, 1.0, 18446744073709551615.0, 18446744073709551615e0]",
          "math.type(v[1]) == 'integer' and math.type(v[3]) == 'float' and v[3] == 100 and v[4] == 1 and "
          "v[5] == 2^64 and v[6] == 2^64");
    refuses("18446744073709551616", "too big integer");
    refuses("-9223372036854775809", "too big negative integer");
    refuses("-18446744073709551615", "too big negative integer");
    refuses("018446744073709551615", "line 1, byte");
    refuses("1e999", "real number overflow");
}

/* 64-bit values around powers of two, as unsigned and as signed text. */
static void test_edges(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++)
        for (int d = -2; d <= 2; d++) {
            uint64_t u = (UINT64_C(1) << bit) + (uint64_t)d;
            cleanup_free char *as_u =
                pv_xasprintf("[%llu,%llu]", (unsigned long long)u, (unsigned long long)u);
            cleanup_free char *as_i = pv_xasprintf("[1,%lld]", (long long)u);
            cleanup_free char *check = pv_xasprintf("v[2] == 0x%llx", (unsigned long long)u);

            gives(as_u, check);
            gives(as_i, check);
        }
}

static void test_values(void **state)
{
    (void)state;
    gives("null", "v == null and tostring(v) == 'null' and v ~= nil and type(v) == 'userdata'");
    gives("[null,1,null]", "#v == 3 and v[1] == null and v[3] == null");
    gives(" {\"a\": {\"b\": [true, false, \"\\u00e9\\u0000\"]}} \n",
          "v.a.b[1] == true and v.a.b[2] == false and v.a.b[3] == '\\xc3\\xa9\\0'");
    gives("[]", "next(v) == nil");
    gives("\"\"", "v == ''");
    gives("{\"\":0}", "v[''] == 0");
}

static void test_errors(void **state)
{
    (void)state;
    refuses("{\"a\":1,\"a\":2}", "duplicate object key");
    refuses("[1,\n 2,\n x]", "line 3, byte 2");
    refuses("[1,\n 2,\n x]", "the line:  x]");
    /* the replacement of the number in front has moved the text */
    refuses("[9223372036854775808,9223372036854775808, x]", "line 1, byte 43");
    refuses("[18446744073709551615, x]", "line 1, byte 24");
    refuses("[1", "line 1, byte 2");
    refuses("{} {}", "end of file expected");
    refuses("\"\xff\"", "unable to decode byte 0xff");
    refuses("\"open 18446744073709551615", "line 1");
    refuses("\"\\", "line 1");
    refuses_n("[1]\0", 4, "line 1");
    refuses("", "line 1");
    refuses("[1\n\n\n", "line ");
}

static void test_depth(void **state)
{
    enum { DEPTH = 2000, FAR = 100000 };
    cleanup_buf struct pv_buf ok = {0}, deep = {0};

    (void)state;
    for (int i = 0; i < DEPTH; i++)
        pv_buf_addc(&ok, '[');
    for (int i = 0; i < DEPTH; i++)
        pv_buf_addc(&ok, ']');
    gives_n(ok.data, ok.len, "#v == 1");
    for (int i = 0; i < FAR; i++)
        pv_buf_addc(&deep, '[');
    refuses_n(deep.data, deep.len, "depth");
}

/*
 * Random texts of JSON's own bytes, most of them invalid: accepted and refused as by jansson, but for
 * integers that only jansson refuses.
 */
static void test_random(void **state)
{
    static const char *const parts[] = {"[",
                                        "]",
                                        "{",
                                        "}",
                                        ",",
                                        ":",
                                        "\"",
                                        "\\",
                                        "1",
                                        "0",
                                        "-",
                                        ".5",
                                        "true",
                                        "null",
                                        " ",
                                        "e",
                                        "\n",
                                        "\"a\"",
                                        "\"k\":",
                                        "\"b\":",
                                        "18446744073709551615",
                                        "9223372036854775808",
                                        "9999999999999999999",
                                        "18446744073709551616"};
    unsigned taken = 0, widened = 0;
    uint32_t seed = 1;

    (void)state;
    for (unsigned i = 0; i < 300000; i++) {
        cleanup_buf struct pv_buf text = {0};
        json_error_t err;
        json_t *direct;
        bool mine;

        seed = seed * 1664525 + 1013904223;
        for (unsigned n = seed >> 29; n < 9; n++) {
            seed = seed * 1664525 + 1013904223;
            pv_buf_adds(&text, parts[(seed >> 8) % PV_ARRAY_LEN(parts)]);
        }
        direct =
            json_loadb(text.data, text.len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &err);
        mine = pv_lua_push_json(L, text.data, text.len);
        lua_settop(L, 0);
        if (direct || !strstr(err.text, "too big"))
            assert_int_equal(mine, direct != NULL);
        taken += mine;
        widened += mine && !direct;
        json_decref(direct);
    }
    assert_true(taken > 1000 && widened > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers), cmocka_unit_test(test_edges), cmocka_unit_test(test_values),
        cmocka_unit_test(test_errors),   cmocka_unit_test(test_depth), cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests_name("lua-json", tests, set_up, tear_down);
}
