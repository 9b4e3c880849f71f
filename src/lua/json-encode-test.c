/* SPDX-License-Identifier: MIT */
/* provium.json and provium.now, in a real Lua state. */
#include "lua/script-test.h"

static const struct bad_call bad_json[] = {
    {"provium.json.encode()", "provium.json.encode takes one value, got 0"},
    {"provium.json.encode(1, 2)", "provium.json.encode takes one value, got 2"},
    {"provium.json.encode(nil)",
     "provium.json.encode: the value is nil, which JSON has not (provium.null is JSON's null)"},
    {"provium.json.encode(print)", "provium.json.encode: the value is function, which JSON has not"},
    {"provium.json.encode({a = {1, {b = vm}}})",
     "provium.json.encode: the value at .a[2].b is userdata, which JSON has not"},
    {"provium.json.encode(0/0)", "provium.json.encode: the value is NaN, which JSON has not"},
    {"provium.json.encode({x = {math.huge}})",
     "provium.json.encode: the value at .x[1] is infinite, which JSON has not"},
    {"provium.json.encode('\\xff')", "provium.json.encode: the value is a string that is no UTF-8"},
    {"provium.json.encode('\\xed\\xa0\\x80')", "provium.json.encode: the value is a string that is no UTF-8"},
    {"provium.json.encode({['\\xc0\\x80'] = 1})",
     "provium.json.encode: the value has a key that is no UTF-8"},
    {"local t = {} t.x = {t} provium.json.encode(t)",
     "provium.json.encode: the value at .x[1] is a table that holds itself"},
    {"local t = {} for i = 1, 1001 do t = {t} end provium.json.encode(t)", NULL},
    {"provium.json.encode({1, nil, 3, x = 1})", NULL},
    {"provium.json.encode({[5] = 1})",
     "provium.json.encode: the value is a table with number 5 as a key; an object "
     "has strings, an array 1 to n"},
    {"provium.json.encode({a = {[true] = 1}})", "provium.json.encode: the value at .a is a table with "
                                                "boolean true as a key; an object has strings, an array 1 "
                                                "to n"},
    {"provium.json.array()", "provium.json.array takes one table, got no value"},
    {"provium.json.array{x = 1}", "provium.json.array: the table has other keys than 1 to n"},
    {"provium.json.array(setmetatable({}, {}))", "provium.json.array: the table has a metatable already"},
    {"local a = provium.json.array{} a.x = 1 provium.json.encode(a)",
     "provium.json.encode: the value is marked as an array, but has other keys than 1 to n"},
    {"provium.json.decode(5)", "provium.json.decode takes one string, got number 5"},
    {"provium.json.decode('[1,]')", NULL},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(bad_json); i++) {
        cleanup_free char *script = NULL;

        if (bad_json[i].want) {
            refuses(&bad_json[i], 1);
            continue;
        }
        script = pv_xasprintf("local vm\nassert_error(function() %s end, 'provium.json')", bad_json[i].call);
        passes(script);
    }
}

static void test_encode(void **state)
{
    (void)state;
    passes(
        "local encode, null = provium.json.encode, provium.null\n"
        "local function is(want, v) assert_eq(want, encode(v)) end\n"
        "is('1', 1) is('-9223372036854775808', math.mininteger) is('9223372036854775807', math.maxinteger)\n"
        "is('1.0', 1.0) is('0.1', 0.1) is('1e+300', 1e300) is('-0.0', -0.0) is('0.30000000000000004', 0.1 + "
        "0.2)\n"
        "is('true', true) is('false', false) is('null', null) is('\"x\"', 'x') is('\"\"', '')\n"
        "is('\"\\\\\"\\\\\\\\\\\\b\\\\f\\\\n\\\\r\\\\t\\\\u0000\\\\u001f/\\x7f\\u{e9}\\u{10ffff}\"', "
        "'\"\\\\\\b\\f\\n\\r\\t\\0\\x1f/\\x7f\\u{e9}\\u{10ffff}')\n"
        "is('{}', {}) is('[]', provium.json.array{}) is('[[]]', {provium.json.array{}}) is('[1,[2,{}]]', {1, "
        "{2, {}}})\n"
        "is('{\"\":0,\"a\":1,\"aa\":2,\"b\":[null]}', {b = {null}, aa = 2, a = 1, [''] = 0})\n"
        "local many = {} for i = 1, 999 do many[('%03d'):format(i)] = i end\n"
        "local text = encode(many)\n"
        "assert_eq(999, select(2, text:gsub('\"%d+\":', ''))) assert_eq('{\"001\":1,\"002\":2', text:sub(1, "
        "16))\n"
        "local shared = {1} is('{\"a\":[1],\"b\":[1]}', {a = shared, b = shared})\n"
        "local deep = 1 for i = 1, 1000 do deep = {deep} end\n"
        "assert_eq(('['):rep(1000) .. '1' .. (']'):rep(1000), encode(deep))\n");
}

static void test_round_trip(void **state)
{
    (void)state;
    passes("local encode, decode = provium.json.encode, provium.json.decode\n"
           "for _, text in ipairs{'1', '-1.5', '\"x\"', 'true', 'null', '[]', '{}', '[[],{}]', '{\"a\":[]}', "
           "'9223372036854775807', '[1,2,[3,null]]'} do assert_eq(text, encode(decode(text))) end\n"
           "for _, v in ipairs{1.0, 0.1, 1e-320, 1.7976931348623157e308, 2^53, -0.0, math.pi} do\n"
           "  local back = decode(encode(v)) assert_eq(v, back) assert_eq('float', math.type(back)) end\n"
           "for i = 1, 500 do local v = string.unpack('<d', string.pack('<J', math.random(0)))\n"
           "  if v == v and math.abs(v) ~= math.huge then assert(decode(encode(v)) == v, v) end end\n"
           "for i = 1, 500 do local v = math.random(0) assert(decode(encode(v)) == v, v) end\n"
           "assert_eq(provium.null, decode('null')) assert_eq('list', ({decode('[\"list\"]')})[1][1])\n"
           "assert_eq(-1, decode('18446744073709551615'))\n"
           "assert_error(function() decode('') end, 'provium.json.decode: line 1')\n"
           "local a = provium.now() provium.sleep(0.02) local b = provium.now()\n"
           "assert_eq('float', math.type(a)) assert(b - a >= 0.02 and b - a < 60, b - a)\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused), cmocka_unit_test(test_encode),
                                       cmocka_unit_test(test_round_trip)};

    return cmocka_run_group_tests(tests, script_set_up, script_tear_down);
}
