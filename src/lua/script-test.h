/* SPDX-License-Identifier: MIT */
/*
 * Scripts through a real Lua state, and what the supervisor would show of them, for the tests of this room.
 * No VM is started; the options of boot are checked before one would be.
 */
#ifndef PV_LUA_SCRIPT_TEST_H
#define PV_LUA_SCRIPT_TEST_H

#include <stdbool.h>

#include "util/mem.h"
#include "util/test.h"

/* As --tag, --no-tag and --slow-tests say. */
extern struct pv_strv script_tags, script_no_tags;
extern bool script_slow_tests;

/* Runs a script as t.lua in the test's directory; the report without its first line. The caller frees. */
char *script_run(const char *script, bool *failed);
void passes(const char *script);
/* The lines of the source ("  > 3 | ...") apart; tests/self/failures.sh has them. */
void fails(const char *script, const char *want);

/* Writes a file below it. */
void script_put(const char *path, const char *text);

/* The directory; for the group of tests. */
int script_set_up(void **state);
int script_tear_down(void **state);

#endif
