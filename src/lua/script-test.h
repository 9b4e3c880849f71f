/* SPDX-License-Identifier: MIT */
/*
 * For tests of this room: runs scripts in a real Lua state, and formats their reports as the supervisor does.
 * No VM is started; the options of boot are checked before one would be.
 */
#ifndef PV_LUA_SCRIPT_TEST_H
#define PV_LUA_SCRIPT_TEST_H

#include <stdbool.h>

#include "util/mem.h"
#include "util/test.h"

/* --tag, --no-tag and --slow-tests of the next runs. */
extern struct pv_strv script_tags, script_no_tags;
extern bool script_slow_tests;

/* Runs a script as t.lua in the test's directory; the report without its first line. The caller frees. */
char *script_run(const char *script, bool *failed);
void passes(const char *script);
/* want: without the lines of the source ("  > 3 | ..."), which tests/self/failures.sh checks. */
void fails(const char *script, const char *want);

/* A call in the second line of a script whose first one makes `vm`, and the message of its error. */
struct bad_call {
    const char *call, *want;
};
void refuses(const struct bad_call *calls, size_t n);

/* Writes a file in the test's directory. */
void script_put(const char *path, const char *text);

/* Group fixtures: make and remove the test's directory. */
int script_set_up(void **state);
int script_tear_down(void **state);

#endif
