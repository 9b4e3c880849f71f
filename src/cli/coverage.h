/* SPDX-License-Identifier: MIT */
/*
 * provium test --coverage DIR: what testfile/coverage.h has taken becomes DIR/FILE.info for each test file, and
 * DIR/coverage.info for all of them, in the format of lcov (geninfo(1)), which makes both.  A file's last run counts.
 */
#ifndef PV_CLI_COVERAGE_H
#define PV_CLI_COVERAGE_H

struct pv_err;
struct pv_test_list;

/* Before the run: makes DIR and looks for lcov.  0, or -1 with *err. */
int pv_coverage_open(const char *dir, struct pv_err *err);
/*
 * After the run: merges what the files have taken, and says on `out` how many lines were reached.  Blocks as long as lcov
 * takes, at most 15 minutes a file.  0, or -1 with *err: lcov failed; its words are in DIR/lcov.log.
 */
int pv_coverage_close(const char *dir, const struct pv_test_list *files, int out, struct pv_err *err);

#endif
