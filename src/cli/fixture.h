/* SPDX-License-Identifier: MIT */
/* What `provium fixture` asks of those who know Lua and QEMU.  Without hooks `build` and `rebuild` say that
 * they are not there, and `stale` looks at files only. */
#ifndef PV_CLI_FIXTURE_H
#define PV_CLI_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>

struct pv_config;
struct pv_err;
struct pv_inputs;

/* Builds the fixtures with these names (n is 0: all of the project); again: even those that would do.  Prints
 * its progress itself.  -1 with *err. */
typedef int pv_fixture_build_fn(const struct pv_config *config, const char *const *names, size_t n,
                                bool again, struct pv_err *err);
/* Sets *now to what the recipes' strings are at this time; it stays valid to the end of the program. */
typedef int pv_fixture_inputs_fn(const struct pv_config *config, struct pv_inputs *now, struct pv_err *err);

/* Called before the command, either may be NULL. */
void pv_cli_fixture_hooks(pv_fixture_build_fn *build, pv_fixture_inputs_fn *inputs);

#endif
