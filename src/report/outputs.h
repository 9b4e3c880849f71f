/* SPDX-License-Identifier: MIT */
/*
 * The outputs of a run's report for machines and browsers: the files and streams of --json, --junit, --tap
 * and --html, filled by the writers (writers.h):
 *
 *   JSON lines, TAP   written as files end
 *   JUnit, HTML       each file's part goes to a nameless file; the whole is put together again and takes its
 *                     place by rename: at the start, after a file has ended (when that is long enough ago for
 *                     the time it takes), and at the end.  So there is a valid one at every moment, also
 * after SIGKILL.
 *
 *     rs = pv_outputs_open(&opts, &info, loop, &err);         before anything runs: bad paths are errors here
 *     pv_outputs_begin(rs, f); ... pv_outputs_file(rs, f);    per file
 *     pv_outputs_end(rs, exit_code, stopped_by, &err);        the last word
 *     pv_outputs_free(rs);
 */
#ifndef PV_REPORT_OUTPUTS_H
#define PV_REPORT_OUTPUTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "report/report.h"
#include "report/writers.h"

struct pv_err;
struct pv_loop;
struct pv_outputs;

/* The path of each output; NULL: not wanted. "-" is standard output, which only one may have. */
struct pv_output_opts {
    const char *json, *junit, *html;
    bool tap; /* to standard output */
};

/* True when a report needs steps and consoles (pv_result_want_steps, pv_report_load_consoles). */
bool pv_outputs_want_steps(const struct pv_output_opts *o);
/* True when an output is standard output, so that the terminal's text goes to standard error. */
bool pv_outputs_take_stdout(const struct pv_output_opts *o);

/*
 * Opens every output and writes its beginning.  info must outlive the outputs.  The loop writes to pipes and
 * terminals; without a loop each write is made at once and may block.  NULL with *err: class usage, naming
 * the option and path.
 */
struct pv_outputs *pv_outputs_open(const struct pv_output_opts *o, const struct pv_run_info *info,
                                   struct pv_loop *loop, struct pv_err *err);
/* The file has started (again, under --retries). */
void pv_outputs_begin(struct pv_outputs *rs, const struct pv_file_report *f);
/* The file has ended, its report is complete; or (f->ran is false) it will not be started any more. */
void pv_outputs_file(struct pv_outputs *rs, const struct pv_file_report *f);
/*
 * Completes all outputs; they contain exit_code.  -1 with *err when a write to one has failed, now or before;
 * the others are complete nevertheless.  Blocks until all is written; with a loop, a stalled reader gets
 * 10 s.
 */
int pv_outputs_end(struct pv_outputs *rs, int exit_code, const char *stopped_by, struct pv_err *err);
/* NULL is fine. */
void pv_outputs_free(struct pv_outputs *rs);

#endif
