/* SPDX-License-Identifier: MIT */
/* `provium fixture build`, which needs Lua and QEMU. */
#ifndef PV_CLI_FIXTURE_H
#define PV_CLI_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>

struct pv_config;
struct pv_err;

/*
 * Builds the fixtures with these names, or of these scripts and directories (n is 0: all of the project);
 * again: even those with a valid entry.  Prints its progress itself.  The exit code, or -1 with *err.
 */
int pv_cli_fixture_build(const struct pv_config *config, const char *const *names, size_t n, bool again,
                         struct pv_err *err);

#endif
