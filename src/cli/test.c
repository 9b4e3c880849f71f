/* SPDX-License-Identifier: MIT */
/* provium test. */
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/coverage.h"
#include "cli/test-opts.h"
#include "cli/test-run.h"
#include "cli/watch.h"
#include "util/err.h"

/* A file's process with a VM and a clone needs 52. */
enum { LEAST_DESCRIPTORS = 64 };

static int test_check_descriptors(struct pv_err *err)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_max >= LEAST_DESCRIPTORS)
        return 0;
    return pv_err_set(
        err, PV_E_HOST,
        "a process may have only %llu open files here; `provium test` needs at least %d: raise the "
        "limit (ulimit -n)",
        (unsigned long long)files.rlim_max, LEAST_DESCRIPTORS);
}

static int test_select_and_run(const struct pv_test_cmd *c, struct pv_err *err)
{
    int text = pv_outputs_take_stdout(&c->reports) ? STDERR_FILENO : STDOUT_FILENO;
    struct pv_test_plan plan = {0};
    int rc = pv_test_plan_open(&plan, c, err);

    if (rc == 0 && c->dirs.coverage && !c->list)
        rc = pv_coverage_open(c->dirs.coverage, err);
    if (rc == 0)
        rc = pv_test_plan_run(&plan, c, NULL, err);
    if (rc >= 0 && rc <= PV_EXIT_FAILED && c->dirs.coverage && !c->list &&
        pv_coverage_close(c->dirs.coverage, &plan.selected.files, text, err) < 0)
        rc = -1;
    pv_test_plan_close(&plan);
    return rc;
}

/* SIGUSR1 shows the status while files run (terminal/live.h); outside of that it must not end the process. */
static void hold_usr1(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

static int test_main(int argc, char **argv)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_test_cmd c;
    int rc;

    hold_usr1();
    rc = pv_test_opts_parse(&c, argc, argv, &err);
    if (rc == 0 && c.help)
        pv_command_usage(&pv_command_test);
    else if (rc == 0)
        rc = test_check_descriptors(&err);
    if (rc == 0 && !c.help)
        rc = c.schedule.watch ? pv_watch_run(&c, &err) : test_select_and_run(&c, &err);
    pv_test_opts_fini(&c);
    return rc < 0 ? pv_cli_error(&err) : rc;
}

const struct pv_command pv_command_test = {
    .name = "test",
    .run = test_main,
    .help = "run test files",
    .usage = "test [options] [PATH...]",
    .about = "Runs test files: those given, and those below directories given (not below one\n"
             "called 'fixtures'): what matches `tests` in provium.toml, without it *.test.lua,\n"
             "in a directory without any *.lua. Without PATH: the directory 'tests'. Exit code\n"
             "0: all passed, 1: something failed, 2: error of usage, configuration or Provium.",
    .opts = pv_test_opts,
    .words = "PATH",
    .group = "Tests",
};
