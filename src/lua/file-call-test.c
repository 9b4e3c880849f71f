/* SPDX-License-Identifier: MIT */
/* Arguments of the methods that work on files of the guest: the refused ones, each with its message. */
#include "lua/script-test.h"

static const struct bad_call bad_files[] = {
    {"vm:stat()", "the path of stat must be a string, got no value"},
    {"vm:stat('')", "the path of stat is empty"},
    {"vm:stat('/a\\0b')", "the path of stat holds a NUL byte"},
    {"vm:stat('/x', {folow = true})",
     "unknown stat option 'folow' (did you mean 'follow'?); known: follow, timeout"},
    {"vm:stat('/x', {follow = 1})", "stat option 'follow' must be true or false, got number 1"},
    {"vm:exists(3)", "the path of exists must be a string, got number 3"},
    {"vm:list('')", "the path of list is empty"},
    {"vm:list('/', {all = true})", "unknown list option 'all'; known: timeout"},
    {"vm:mkdir('/x', {mode = 755})",
     "mkdir option 'mode': 755 is a decimal number here; write \"0755\" (octal, as a string)"},
    {"vm:mkdir('/x', {parent = true})",
     "unknown mkdir option 'parent' (did you mean 'parents'?); known: parents, mode, timeout"},
    {"vm:remove()", "the path of remove must be a string, got no value"},
    {"vm:remove('/x', {recursive = 'yes'})",
     "remove option 'recursive' must be true or false, got string \"yes\""},
    {"vm:rename('/x')", "the new path of rename must be a string, got no value"},
    {"vm:rename('', '/x')", "the old path of rename is empty"},
    {"vm:symlink('', '/x')", "the target of symlink is empty"},
    {"vm:symlink('/x')", "the path of symlink must be a string, got no value"},
    {"vm:chmod('/x')",
     "the mode of chmod must be permission bits, best as a string such as \"0644\", got nothing"},
    {"vm:chmod('/x', 644)",
     "the mode of chmod: 644 is a decimal number here; write \"0644\" (octal, as a string)"},
    {"vm:chmod('/x', 8^5)",
     "the mode of chmod must be permission bits, best as a string such as \"0644\", got number 32768.0"},
    {"vm:chown('/x')",
     "the user id of chown must be a number from 0 to 4294967294, or -1 to keep it, got nothing"},
    {"vm:chown('/x', 0)",
     "the group id of chown must be a number from 0 to 4294967294, or -1 to keep it, got nothing"},
    {"vm:chown('/x', 'root', 0)",
     "the user id of chown must be a number from 0 to 4294967294, or -1 to keep it, got string \"root\""},
    {"vm:chown('/x', 0, 4294967295)",
     "the group id of chown must be a number from 0 to 4294967294, or -1 to keep it, got number 4294967295"},
    {"vm:read_file('/x', {offset = -1})",
     "read_file option 'offset' must be from 0 to 4611686018427387904, got -1"},
    {"vm:read_file('/x', {length = -1})",
     "read_file option 'length' must be from 0 to 9223372036854775807, got -1"},
    {"vm:read_file('/x', {length = '5'})", "read_file option 'length' must be an integer, got string \"5\""},
    {"vm:write_file('/x', '', {append = 1})",
     "write_file option 'append' must be true or false, got number 1"},
    {"vm:write_file('/x', '', {apend = true})",
     "unknown write_file option 'apend' (did you mean 'append'?); known: mode, append, timeout"},
};

/* Accepted arguments: the call gets as far as the state of the VM. */
static const char *const good_files[] = {
    "vm:stat('/x', {follow = false, timeout = 1})",
    "vm:exists('/x')",
    "vm:list('/x', {timeout = '1s'})",
    "vm:mkdir('/x', {parents = true, mode = '0700'})",
    "vm:remove('/x', {recursive = true})",
    "vm:rename('/x', '/y', {timeout = 1})",
    "vm:symlink('any', '/y', {timeout = 1})",
    "vm:chmod('/x', 6 * 64)",
    "vm:chown('/x', -1, 4294967294)",
    "vm:read_file('/x', {offset = 3, length = 0})",
    "vm:write_file('/x', '', {append = true})",
};

static void test_files(void **state)
{
    (void)state;
    refuses(bad_files, PV_ARRAY_LEN(bad_files));
    for (size_t i = 0; i < PV_ARRAY_LEN(good_files); i++) {
        cleanup_free char *script = pv_xasprintf("local vm = provium.create('minimal')\n"
                                                 "assert_error(function() %s end, 'is not booted')",
                                                 good_files[i]);

        passes(script);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_files)};

    return cmocka_run_group_tests(tests, script_set_up, script_tear_down);
}
