/* SPDX-License-Identifier: MIT */
#include "cli/test-opts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/options.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"
#include "util/parse.h"

enum {
    OPT_FILTER,
    OPT_RERUN_FAILED,
    OPT_SHARD,
    OPT_SHUFFLE,
    OPT_TAG,
    OPT_NO_TAG,
    OPT_META,
    OPT_NO_META,
    OPT_SLOW_TESTS,
    OPT_WATCH,
    OPT_LIST,
    OPT_ALLOW_NONE,
    OPT_CONFIG,
    OPT_ACCEL,
    OPT_JOBS,
    OPT_MEM,
    OPT_CPUS,
    OPT_TIMEOUT,
    OPT_RETRIES,
    OPT_REPEAT,
    OPT_FAIL_FAST,
    OPT_HISTORY,
    OPT_FAIL_ON_FLAKY,
    OPT_GUEST_WARNINGS,
    OPT_GUEST_OOPSES,
    OPT_DEBUG,
    OPT_KEEP,
    OPT_SAVE_FAILED,
    OPT_VMCORE,
    OPT_VERBOSE,
    OPT_QUIET,
    OPT_LIVE,
    OPT_COLOR,
    OPT_SLOW,
    OPT_DURATIONS,
    OPT_JSON,
    OPT_JUNIT,
    OPT_HTML,
    OPT_COVERAGE,
    OPT_TAP,
    OPT_COUNT
};

const struct pv_opt pv_test_opts[] = {
    [OPT_FILTER] = {"filter", 'f', "TEXT", "files whose name contains TEXT; repeated: any of them",
                    .group = "Which files and sub-tests"},
    [OPT_RERUN_FAILED] = {"rerun-failed", 0, NULL, "files that failed when they last ran"},
    [OPT_SHARD] = {"shard", 0, "K/N|auto", "the K-th of N parts; auto: as the job engine says"},
    [OPT_SHUFFLE] = {"shuffle", 0, "SEED", "in a random order, or that of SEED", true},
    [OPT_TAG] = {"tag", 0, "TAG", "sub-tests with TAG; repeated: one of them"},
    [OPT_NO_TAG] = {"no-tag", 0, "TAG", "not the sub-tests with TAG; may be repeated"},
    [OPT_META] = {"meta", 0, "KEY=VALUE", "sub-tests with that meta; repeated: one of them"},
    [OPT_NO_META] = {"no-meta", 0, "KEY=VALUE", "not the sub-tests with that meta"},
    [OPT_SLOW_TESTS] = {"slow-tests", 0, NULL, "also the sub-tests that say slow = true"},
    [OPT_WATCH] = {"watch", 0, NULL, "then again, whenever a path changes that they read"},
    [OPT_LIST] = {"list", 0, NULL, "list what would run; with --json as JSON"},
    [OPT_ALLOW_NONE] = {"allow-none", 0, NULL, "no test files are no error"},
    [OPT_CONFIG] = {"config", 0, "FILE", "this provium.toml (default: the nearest one upward)",
                    .group = "How they run"},
    [OPT_ACCEL] = {"accel", 0, "auto|kvm|tcg", "how VMs are run, over what the profiles say"},
    [OPT_JOBS] = {"jobs", 'p', "N", "files side by side (half of the CPUs, at least 2)"},
    [OPT_MEM] = {"mem", 0, "SIZE", "memory of all VMs (what keeps 1.5G of the host free)"},
    [OPT_CPUS] = {"cpus", 0, "N", "CPUs of all VMs together (no limit)"},
    [OPT_TIMEOUT] = {"timeout", 0, "TIME", "limit for each file: 300, 90s, 5m (300 s)"},
    [OPT_RETRIES] = {"retries", 0, "N", "more attempts at a failed file; a pass is flaky then"},
    [OPT_REPEAT] = {"repeat", 0, "N", "run every file N times"},
    [OPT_FAIL_FAST] = {"fail-fast", 0, NULL, "stop at the first file that fails"},
    [OPT_HISTORY] = {"history", 0, "FILE", "durations and failures, not in the user's cache"},
    [OPT_FAIL_ON_FLAKY] = {"fail-on-flaky", 0, NULL, "a flaky file fails the run",
                           .group = "What fails, and what then"},
    [OPT_GUEST_WARNINGS] = {"guest-warnings", 0, "fail|report|ignore",
                            "a WARNING of a guest's kernel (report)"},
    [OPT_GUEST_OOPSES] = {"guest-oopses", 0, "fail|report|ignore",
                          "an oops, BUG, KASAN, lockdep, hang, OOM, panic (fail)"},
    [OPT_DEBUG] = {"debug", 0, NULL, "stop at a failure, with VMs, variables and a prompt"},
    [OPT_KEEP] = {"keep", 0, NULL, "VMs of a failed file go on until you press Enter"},
    [OPT_SAVE_FAILED] = {"save-failed", 0, "DIR", "save its VMs into DIR, for provium resume"},
    [OPT_VMCORE] = {"vmcore", 0, "DIR", "cores of crashed kernels, to open with crash"},
    [OPT_VERBOSE] = {"verbose", 'v', NULL, "output of files that passed, times of sub-tests",
                     .group = "Output and reports"},
    [OPT_QUIET] = {"quiet", 'q', NULL, "only files that failed, and the last line"},
    [OPT_LIVE] = {"live", 's', NULL, "output of files, consoles and commands as it comes"},
    [OPT_COLOR] = {"color", 0, "auto|always|never", "auto: on a terminal, unless NO_COLOR is set"},
    [OPT_SLOW] = {"slow", 0, "TIME", "say which files take longer (60 s)"},
    [OPT_DURATIONS] = {"durations", 0, "N", "list the N slowest files at the end"},
    [OPT_JSON] = {"json", 0, "FILE", "JSON, an object a line, as it goes; -: stdout"},
    [OPT_JUNIT] = {"junit", 0, "FILE", "JUnit, for CI systems"},
    [OPT_HTML] = {"html", 0, "FILE", "one page with a timeline, for a browser"},
    [OPT_COVERAGE] = {"coverage", 0, "DIR", "gcov of the guests' kernels, as an lcov file"},
    [OPT_TAP] = {"tap", 0, NULL, "TAP on standard output, the rest on standard error"},
    [OPT_COUNT] = {NULL},
};

enum { OTHER_OPTION = -2 };

static int take_color(struct pv_test_cmd *c, const char *value, struct pv_err *err)
{
    static const char *const names[] = {
        [COLOR_AUTO] = "auto", [COLOR_ALWAYS] = "always", [COLOR_NEVER] = "never"};

    for (size_t i = 0; i < PV_ARRAY_LEN(names); i++)
        if (!strcmp(value, names[i])) {
            c->color = (enum test_color)i;
            return 0;
        }
    return pv_err_set(err, PV_E_USAGE, "test: --color '%s' is not known; expected auto, always or never",
                      value);
}

static int take_shuffle(struct pv_test_cmd *c, const char *value, struct pv_err *err)
{
    char *end;

    c->select.shuffle = true;
    if (!value) /* few digits, for typing it again */
        return getrandom(&c->select.seed, sizeof(c->select.seed), 0) < 0
                   ? pv_err_sys(err, errno, "test: --shuffle: no random number")
                   : (c->select.seed %= 1000000, 0);
    errno = 0;
    c->select.seed = strtoull(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || errno)
        return pv_err_set(err, PV_E_USAGE,
                          "test: --shuffle '%s' is no seed; expected a number, as a shuffled run shows it",
                          value);
    return 0;
}

static int take_policy(enum pv_guest_policy *policy, const char *option, const char *value,
                       struct pv_err *err)
{
    static const char *const names[] = {
        [PV_POLICY_FAIL] = "fail", [PV_POLICY_REPORT] = "report", [PV_POLICY_IGNORE] = "ignore"};

    for (size_t i = 0; i < PV_ARRAY_LEN(names); i++)
        if (!strcmp(value, names[i])) {
            *policy = (enum pv_guest_policy)i;
            return 0;
        }
    return pv_err_set(err, PV_E_USAGE, "test: --%s '%s' is not known; expected fail, report or ignore",
                      option, value);
}

static int take_count(const char *option, const char *value, unsigned least, unsigned *n, struct pv_err *err)
{
    char *end;
    unsigned long v;

    errno = 0;
    v = strtoul(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || errno || v < least || v > 100000)
        return pv_err_set(err, PV_E_USAGE, "test: --%s '%s': expected a number from %u to 100000", option,
                          value, least);
    *n = (unsigned)v;
    return 0;
}

static int take_meta(struct pv_strv *list, const char *option, const char *value, struct pv_err *err)
{
    const char *eq = strchr(value, '=');

    if (!eq || eq == value)
        return pv_err_set(err, PV_E_USAGE, "test: --%s '%s': expected KEY=VALUE, such as owner=net-team",
                          option, value);
    pv_strv_add(list, value);
    return 0;
}

/* Options of the scheduler; OTHER_OPTION: option is none of them. */
static int take_schedule(struct test_schedule *s, int option, const char *value, struct pv_err *err)
{
    switch (option) {
    case OPT_JOBS:
        return take_count("jobs", value, 1, &s->jobs, err);
    case OPT_CPUS:
        return take_count("cpus", value, 1, &s->cpus, err);
    case OPT_DURATIONS:
        return take_count("durations", value, 0, &s->durations, err);
    case OPT_RETRIES:
        return take_count("retries", value, 0, &s->retries, err);
    case OPT_REPEAT:
        return take_count("repeat", value, 1, &s->repeat, err);
    case OPT_MEM:
        return pv_parse_size(value, &s->memory, err) < 0 ? pv_err_wrap(err, "test: --mem") : 0;
    case OPT_SLOW:
        return pv_parse_time(value, &s->slow_ns, err) < 0 ? pv_err_wrap(err, "test: --slow") : 0;
    case OPT_FAIL_FAST:
        s->fail_fast = true;
        return 0;
    case OPT_DEBUG:
        s->debug = true;
        return 0;
    case OPT_KEEP:
        s->keep = true;
        return 0;
    case OPT_WATCH:
        s->watch = true;
        return 0;
    case OPT_FAIL_ON_FLAKY:
        s->fail_on_flaky = true;
        return 0;
    default:
        return OTHER_OPTION;
    }
}

/* Options of output, reports and history; OTHER_OPTION: option is none of them. */
static int take_output(struct pv_test_cmd *c, int option, const char *value, struct pv_err *err)
{
    switch (option) {
    case OPT_VERBOSE:
        c->verbose = true;
        return 0;
    case OPT_QUIET:
        c->quiet = true;
        return 0;
    case OPT_LIVE:
        c->live = true;
        return 0;
    case OPT_COLOR:
        return take_color(c, value, err);
    case OPT_JSON:
        c->reports.json = value ? value : "-";
        return 0;
    case OPT_JUNIT:
        c->reports.junit = value;
        return 0;
    case OPT_HTML:
        c->reports.html = value;
        return 0;
    case OPT_TAP:
        c->reports.tap = true;
        return 0;
    case OPT_LIST:
        c->list = true;
        return 0;
    case OPT_SAVE_FAILED:
        c->dirs.save_failed = value;
        return *value ? 0 : pv_err_set(err, PV_E_USAGE, "test: --save-failed needs a directory, got ''");
    case OPT_VMCORE:
        c->dirs.vmcore = value;
        return *value ? 0 : pv_err_set(err, PV_E_USAGE, "test: --vmcore needs a directory, got ''");
    case OPT_COVERAGE:
        c->dirs.coverage = value;
        return *value ? 0 : pv_err_set(err, PV_E_USAGE, "test: --coverage needs a directory, got ''");
    case OPT_HISTORY:
        c->history = value;
        return 0;
    default:
        return OTHER_OPTION;
    }
}

/* Options that select sub-tests; OTHER_OPTION: option is none of them. */
static int take_subtests(struct test_subtests *t, int option, const char *value, struct pv_err *err)
{
    switch (option) {
    case OPT_TAG:
        pv_strv_add(&t->tags, value);
        return 0;
    case OPT_NO_TAG:
        pv_strv_add(&t->no_tags, value);
        return 0;
    case OPT_META:
        return take_meta(&t->meta, "meta", value, err);
    case OPT_NO_META:
        return take_meta(&t->no_meta, "no-meta", value, err);
    case OPT_SLOW_TESTS:
        t->slow = true;
        return 0;
    default:
        return OTHER_OPTION;
    }
}

static int take_option(struct pv_test_cmd *c, int option, const char *value, struct pv_err *err)
{
    int r = take_schedule(&c->schedule, option, value, err);

    if (r == OTHER_OPTION)
        r = take_output(c, option, value, err);
    if (r == OTHER_OPTION)
        r = take_subtests(&c->subtests, option, value, err);
    if (r != OTHER_OPTION)
        return r;
    switch (option) {
    case OPT_CONFIG:
        c->config = value;
        return 0;
    case OPT_ACCEL:
        c->accel_text = value;
        if (pv_accel_parse(value, &c->accel))
            return 0;
        return pv_err_set(err, PV_E_USAGE, "test: --accel '%s' is not known; expected auto, kvm or tcg",
                          value);
    case OPT_TIMEOUT:
        c->timeout_text = value;
        if (pv_parse_time(value, &c->timeout_ns, err) == 0)
            return 0;
        return pv_err_wrap(err, "test: --timeout");
    case OPT_FILTER:
        pv_strv_add(&c->select.only, value);
        return 0;
    case OPT_RERUN_FAILED:
        c->select.rerun_failed = true;
        return 0;
    case OPT_SHARD:
        return pv_shard_parse(value, "test: --shard", &c->select.shard, err);
    case OPT_SHUFFLE:
        return take_shuffle(c, value, err);
    case OPT_ALLOW_NONE:
        c->select.allow_none = true;
        return 0;
    case OPT_GUEST_WARNINGS:
        c->policy.warnings_text = value;
        return take_policy(&c->policy.warnings, "guest-warnings", value, err);
    case OPT_GUEST_OOPSES:
        c->policy.oopses_text = value;
        return take_policy(&c->policy.oopses, "guest-oopses", value, err);
    case PV_OPT_HELP:
        c->help = true;
        return 0;
    default:
        pv_strv_add(&c->select.paths, value);
        return 0;
    }
}

/* --watch is for a person who changes files; options of one run have no meaning there. */
static int check_watch(const struct pv_test_cmd *c, struct pv_err *err)
{
    const struct {
        bool given;
        const char *name, *why;
    } excluded[] = {
        {c->list, "list", "it runs nothing"},
        {c->schedule.debug, "debug", "its prompt needs the keys"},
        {c->schedule.keep, "keep", "it waits for Enter at each failure"},
        {c->select.shard.count, "shard", "a shard is a part of one run"},
        {c->select.rerun_failed, "rerun-failed", "what failed is run again when it changes"},
        {c->dirs.coverage, "coverage", "it is of one run"},
        {c->reports.json, "json", "a report is of one run"},
        {c->reports.junit, "junit", "a report is of one run"},
        {c->reports.html, "html", "a report is of one run"},
        {c->reports.tap, "tap", "a report is of one run"},
    };

    for (size_t i = 0; c->schedule.watch && i < PV_ARRAY_LEN(excluded); i++)
        if (excluded[i].given)
            return pv_err_set(err, PV_E_USAGE, "test: --watch excludes --%s: %s", excluded[i].name,
                              excluded[i].why);
    return 0;
}

/*
 * Whether a directory that is made at the first failure can be made and written to: a run that finds it out then has
 * lost what it should have kept.
 */
static int check_dir(const char *option, const char *dir, struct pv_err *err)
{
    cleanup_free char *at = pv_xstrdup(dir);
    struct stat st;

    while (stat(at, &st) < 0) {
        char *above;

        if (errno != ENOENT)
            return pv_err_set(err, PV_E_USAGE, "test: --%s '%s': %s; expected a directory", option, dir,
                              strerror(errno));
        above = pv_path_dirname(at);
        free(at);
        at = above;
    }
    if (!S_ISDIR(st.st_mode))
        return pv_err_set(err, PV_E_USAGE,
                          "test: --%s '%s': '%s' is no directory; expected a directory, which is made "
                          "when there is something to keep",
                          option, dir, at);
    if (access(at, W_OK | X_OK) < 0)
        return pv_err_set(err, PV_E_USAGE,
                          "test: --%s '%s': cannot write to '%s': %s; give a directory that you may "
                          "write to",
                          option, dir, at, strerror(errno));
    return 0;
}

static int opts_parse(struct pv_test_cmd *c, int argc, char **argv, struct pv_err *err)
{
    struct pv_opt_parser p = {.opts = pv_test_opts, .argc = argc, .argv = argv};
    const char *value;
    struct stat st;
    int i;

    for (int w = 1; w < argc && strcmp(argv[w], "--") != 0; w++)
        if (!strcmp(argv[w], "--list")) /* --json reports the list, by default to standard output */
            p.optional = "json";
    while ((i = pv_opt_next(&p, &value, err)) >= 0)
        if (take_option(c, i, value, err) < 0)
            return -1;
    if (i == PV_OPT_BAD)
        return -1;
    if ((c->schedule.debug || c->schedule.keep) && c->schedule.jobs > 1)
        return pv_err_set(err, PV_E_USAGE, "test: --%s runs one file at a time; leave -p %u out",
                          c->schedule.debug ? "debug" : "keep", c->schedule.jobs);
    if (check_watch(c, err) < 0)
        return -1;
    if (c->quiet && c->verbose)
        return pv_err_set(err, PV_E_USAGE, "test: -q and -v are opposites; give one of them");
    if (c->quiet && c->live)
        return pv_err_set(err, PV_E_USAGE, "test: -q and --live are opposites; give one of them");
    if (c->list && c->live)
        return pv_err_set(err, PV_E_USAGE,
                          "test: --list runs nothing, so there is nothing for --live to show");
    if (c->list && (c->reports.junit || c->reports.html || c->reports.tap))
        return pv_err_set(err, PV_E_USAGE,
                          "test: --list runs nothing, so there is nothing for --%s to report",
                          c->reports.junit  ? "junit"
                          : c->reports.html ? "html"
                                            : "tap");
    if (c->help)
        return 0;
    if ((c->dirs.save_failed && check_dir("save-failed", c->dirs.save_failed, err) < 0) ||
        (c->dirs.vmcore && check_dir("vmcore", c->dirs.vmcore, err) < 0))
        return -1;
    if (c->select.paths.n)
        return 0;
    if (stat("tests", &st) < 0 || !S_ISDIR(st.st_mode))
        return pv_err_set(
            err, PV_E_USAGE,
            "test: no path given, and there is no directory 'tests' here; say which files to run: "
            "provium test PATH...");
    pv_strv_add(&c->select.paths, "tests");
    return 0;
}

int pv_test_opts_parse(struct pv_test_cmd *c, int argc, char **argv, struct pv_err *err)
{
    *c = (struct pv_test_cmd){.accel = PV_ACCEL_AUTO,
                              .policy.warnings = PV_POLICY_REPORT,
                              .timeout_ns = 300 * PV_NSEC_PER_SEC,
                              .schedule = {.slow_ns = 60 * PV_NSEC_PER_SEC},
                              .argc = argc,
                              .argv = argv};
    return opts_parse(c, argc, argv, err);
}

void pv_test_opts_fini(struct pv_test_cmd *c)
{
    pv_strv_free(&c->select.only);
    pv_strv_free(&c->select.paths);
    pv_strv_free(&c->subtests.tags);
    pv_strv_free(&c->subtests.no_tags);
    pv_strv_free(&c->subtests.meta);
    pv_strv_free(&c->subtests.no_meta);
}
