/* SPDX-License-Identifier: MIT */
/* provium test --list: prints the selected files. */
#ifndef PV_CLI_LIST_H
#define PV_CLI_LIST_H

struct pv_err;
struct pv_history;
struct pv_select_opts;
struct pv_selection;

/*
 * json: NULL: a name a line on standard output, notes on standard error; else the JSON (docs/running.md) goes
 * to this file, "-" is standard output.  Returns the exit code, or -1 with *err.
 */
int pv_list(const struct pv_select_opts *o, const struct pv_selection *s, const struct pv_history *h,
            const char *json, struct pv_err *err);

#endif
