/* SPDX-License-Identifier: MIT */
/* provium test: options, selection, and the function that runs one file in Lua for the runner. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cache.h"
#include "cli/cli.h"
#include "cli/list.h"
#include "cli/options.h"
#include "cli/version.h"
#include "config/config.h"
#include "lua/run.h"
#include "runner/find.h"
#include "childproto/lease.h"
#include "runner/history.h"
#include "runner/runner.h"
#include "runner/select.h"
#include "util/text.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/parse.h"
#include "vm/accel.h"

enum {
    OPT_CONFIG,
    OPT_ACCEL,
    OPT_JOBS,
    OPT_MEM,
    OPT_CPUS,
    OPT_TIMEOUT,
    OPT_SLOW,
    OPT_DURATIONS,
    OPT_RETRIES,
    OPT_FAIL_ON_FLAKY,
    OPT_FAIL_FAST,
    OPT_REPEAT,
    OPT_FILTER,
    OPT_RERUN_FAILED,
    OPT_TAG,
    OPT_NO_TAG,
    OPT_SLOW_TESTS,
    OPT_SHARD,
    OPT_SHUFFLE,
    OPT_LIST,
    OPT_ALLOW_NONE,
    OPT_HISTORY,
    OPT_GUEST_WARNINGS,
    OPT_GUEST_OOPSES,
    OPT_VERBOSE,
    OPT_QUIET,
    OPT_COLOR,
    OPT_JSON,
    OPT_JUNIT,
    OPT_HTML,
    OPT_TAP,
    OPT_COUNT
};

static const struct pv_opt opts[] = {
    [OPT_CONFIG] = {"config", 0, "FILE", "use this provium.toml instead of searching upward for one"},
    [OPT_ACCEL] = {"accel", 0, "auto|kvm|tcg", "how VMs are run, over what the profiles say"},
    [OPT_JOBS] = {"jobs", 'p', "N", "files side by side (default: half of the CPUs, at least 2)"},
    [OPT_MEM] = {"mem", 0, "SIZE",
                 "memory of all VMs together: 8G (default: what keeps 1.5G of the host free)"},
    [OPT_CPUS] = {"cpus", 0, "N", "CPUs of all VMs together (default: no limit)"},
    [OPT_TIMEOUT] = {"timeout", 0, "TIME", "limit for each file: 300, 90s, 5m (default 300 s)"},
    [OPT_SLOW] = {"slow", 0, "TIME", "say which files take longer (default 60 s)"},
    [OPT_DURATIONS] = {"durations", 0, "N", "list the N slowest files at the end"},
    [OPT_RETRIES] = {"retries", 0, "N", "run a file that failed up to N times more; a pass is then flaky"},
    [OPT_FAIL_ON_FLAKY] = {"fail-on-flaky", 0, NULL, "a flaky file fails the run"},
    [OPT_FAIL_FAST] = {"fail-fast", 0, NULL, "stop at the first file that fails"},
    [OPT_REPEAT] = {"repeat", 0, "N", "run every file N times"},
    [OPT_FILTER] = {"filter", 'f', "TEXT", "only files whose name contains TEXT; may be repeated"},
    [OPT_RERUN_FAILED] = {"rerun-failed", 0, NULL, "only files that failed when they last ran"},
    [OPT_TAG] = {"tag", 0, "TAG", "only sub-tests that have TAG; may be repeated: one of them"},
    [OPT_NO_TAG] = {"no-tag", 0, "TAG", "not the sub-tests that have TAG; may be repeated"},
    [OPT_SLOW_TESTS] = {"slow-tests", 0, NULL, "run the sub-tests that say slow=true, too"},
    [OPT_SHARD] = {"shard", 0, "K/N|auto", "the K-th of N parts of the files; auto: as the job engine says"},
    [OPT_SHUFFLE] = {"shuffle", 0, "SEED", "start the files in a random order, or that of SEED", true},
    [OPT_LIST] = {"list", 0, NULL, "list the files that would run, in order; with --json as JSON"},
    [OPT_ALLOW_NONE] = {"allow-none", 0, NULL, "no test files are no error"},
    [OPT_HISTORY] = {"history", 0, "FILE", "keep durations and failures there, not in the user's cache"},
    [OPT_GUEST_WARNINGS] = {"guest-warnings", 0, "fail|report|ignore",
                            "what a WARNING of a guest's kernel does to the test (default report)"},
    [OPT_GUEST_OOPSES] = {"guest-oopses", 0, "fail|report|ignore",
                          "the same for an oops, BUG, KASAN, lockdep, hang, OOM or panic (default fail)"},
    [OPT_VERBOSE] = {"verbose", 'v', NULL,
                     "show the output of files that passed, and how long sub-tests took"},
    [OPT_QUIET] = {"quiet", 'q', NULL, "show only files that failed, and the last line"},
    [OPT_COLOR] = {"color", 0, "auto|always|never", "colours; auto: on a terminal, unless NO_COLOR is set"},
    [OPT_JSON] = {"json", 0, "FILE",
                  "report of a JSON object a line, while the run goes on; - is standard output"},
    [OPT_JUNIT] = {"junit", 0, "FILE", "report in the JUnit format, for CI systems"},
    [OPT_HTML] = {"html", 0, "FILE", "report as one page with a timeline, for a browser"},
    [OPT_TAP] = {"tap", 0, NULL, "TAP on standard output, the usual report on standard error"},
    [OPT_COUNT] = {NULL},
};

enum { OTHER_OPTION = -2 };

enum color { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

/* The options of the scheduler. */
struct schedule {
    unsigned jobs, cpus, durations, retries, repeat;
    uint64_t memory;
    int64_t slow_ns;
    bool fail_fast, fail_on_flaky;
};

/* The sub-tests of each file. */
struct subtest_opts {
    struct pv_strv tags, no_tags;
    bool slow;
};

/* --guest-warnings and --guest-oopses; the texts as given, NULL: not given. */
struct policy_opts {
    enum pv_guest_policy warnings, oopses;
    const char *warnings_text, *oopses_text;
};

struct test_cmd {
    const char *config;
    enum pv_accel accel;
    int64_t timeout_ns;
    struct schedule schedule;
    const char *accel_text, *timeout_text; /* as given; NULL: not given */
    struct pv_select_opts select;
    struct subtest_opts subtests;
    struct policy_opts policy;
    const char *history;
    bool list, verbose, quiet, help;
    enum color color;
    struct pv_output_opts reports;
    int argc;
    char **argv; /* as given, for the reports */
};

static int take_color(struct test_cmd *c, const char *value, struct pv_err *err)
{
    static const char *const names[] = {
        [COLOR_AUTO] = "auto", [COLOR_ALWAYS] = "always", [COLOR_NEVER] = "never"};

    for (size_t i = 0; i < PV_ARRAY_LEN(names); i++)
        if (!strcmp(value, names[i])) {
            c->color = (enum color)i;
            return 0;
        }
    return pv_err_set(err, PV_E_USAGE, "test: --color '%s' is not known; expected auto, always or never",
                      value);
}

static int take_shuffle(struct test_cmd *c, const char *value, struct pv_err *err)
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

/* Options of the scheduler; OTHER_OPTION: option is none of them. */
static int take_schedule(struct schedule *s, int option, const char *value, struct pv_err *err)
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
    case OPT_FAIL_ON_FLAKY:
        s->fail_on_flaky = true;
        return 0;
    default:
        return OTHER_OPTION;
    }
}

/* Options of output, reports and history; OTHER_OPTION: option is none of them. */
static int take_output(struct test_cmd *c, int option, const char *value, struct pv_err *err)
{
    switch (option) {
    case OPT_VERBOSE:
        c->verbose = true;
        return 0;
    case OPT_QUIET:
        c->quiet = true;
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
    case OPT_HISTORY:
        c->history = value;
        return 0;
    default:
        return OTHER_OPTION;
    }
}

static int take_option(struct test_cmd *c, int option, const char *value, struct pv_err *err)
{
    int r = take_schedule(&c->schedule, option, value, err);

    if (r == OTHER_OPTION)
        r = take_output(c, option, value, err);
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
    case OPT_TAG:
        pv_strv_add(&c->subtests.tags, value);
        return 0;
    case OPT_NO_TAG:
        pv_strv_add(&c->subtests.no_tags, value);
        return 0;
    case OPT_SLOW_TESTS:
        c->subtests.slow = true;
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

static int test_parse(struct test_cmd *c, int argc, char **argv, struct pv_err *err)
{
    struct pv_opt_parser p = {.opts = opts, .argc = argc, .argv = argv};
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
    if (c->quiet && c->verbose)
        return pv_err_set(err, PV_E_USAGE, "test: -q and -v are opposites; give one of them");
    if (c->list && (c->reports.junit || c->reports.html || c->reports.tap))
        return pv_err_set(err, PV_E_USAGE,
                          "test: --list runs nothing, so there is nothing for --%s to report",
                          c->reports.junit  ? "junit"
                          : c->reports.html ? "html"
                                            : "tap");
    if (c->help || c->select.paths.n)
        return 0;
    if (stat("tests", &st) < 0 || !S_ISDIR(st.st_mode))
        return pv_err_set(
            err, PV_E_USAGE,
            "test: no path given, and there is no directory 'tests' here; say which files to run: "
            "provium test PATH...");
    pv_strv_add(&c->select.paths, "tests");
    return 0;
}

struct run_arg {
    const struct pv_config *config;
    const struct test_cmd *cmd;
};

static void test_run_file(const struct pv_run_file *file, struct pv_result *result, void *arg)
{
    const struct run_arg *a = arg;
    struct pv_lease *lease = pv_lease_new(file->lease);
    struct pv_testfile_env env = {.config = a->config,
                                  .accel = a->cmd->accel,
                                  .tags = &a->cmd->subtests.tags,
                                  .no_tags = &a->cmd->subtests.no_tags,
                                  .slow_tests = a->cmd->subtests.slow,
                                  .result = result,
                                  .lease = lease,
                                  .log_dir = file->log_dir,
                                  .root = file->root,
                                  .version = PV_VERSION,
                                  .warnings = a->cmd->policy.warnings,
                                  .oopses = a->cmd->policy.oopses};

    pv_lua_run_file(&env, file->path);
    pv_lease_free(lease);
}

/* fd is a terminal that understands escape sequences. */
static bool fd_is_terminal(int fd)
{
    const char *term = getenv("TERM");

    return isatty(fd) && term && *term && strcmp(term, "dumb") != 0;
}

/* --color, then NO_COLOR (https://no-color.org), then CLICOLOR_FORCE, then whether fd is a terminal. */
static bool test_wants_color(enum color asked, int fd)
{
    const char *no = getenv("NO_COLOR"), *force = getenv("CLICOLOR_FORCE");

    if (asked != COLOR_AUTO)
        return asked == COLOR_ALWAYS;
    if (no && *no)
        return false;
    if (force && *force && strcmp(force, "0") != 0)
        return true;
    return fd_is_terminal(fd);
}

static void rerun_add_words(struct pv_buf *out, const char *option, const struct pv_strv *values)
{
    for (size_t i = 0; i < values->n; i++) {
        pv_buf_addf(out, " %s ", option);
        pv_text_shell(out, values->v[i]);
    }
}

/* The command that runs a file again under the same conditions, without its path. */
static void rerun_command(struct pv_buf *out, const struct test_cmd *c)
{
    const char *self = program_invocation_name;

    pv_text_shell(out, strchr(self, '/') ? self : "provium");
    pv_buf_adds(out, " test");
    if (c->config) {
        pv_buf_adds(out, " --config ");
        pv_text_shell(out, c->config);
    }
    if (c->accel_text)
        pv_buf_addf(out, " --accel %s", c->accel_text);
    if (c->timeout_text) {
        pv_buf_adds(out, " --timeout ");
        pv_text_shell(out, c->timeout_text);
    }
    rerun_add_words(out, "--tag", &c->subtests.tags);
    rerun_add_words(out, "--no-tag", &c->subtests.no_tags);
    if (c->subtests.slow)
        pv_buf_adds(out, " --slow-tests");
    if (c->policy.warnings_text)
        pv_buf_addf(out, " --guest-warnings %s", c->policy.warnings_text);
    if (c->policy.oopses_text)
        pv_buf_addf(out, " --guest-oopses %s", c->policy.oopses_text);
}

static const char **list_names(const struct pv_test_list *files)
{
    const char **names = pv_xcalloc(files->n + 1, sizeof(*names));

    for (size_t i = 0; i < files->n; i++)
        names[i] = files->v[i].name;
    return names;
}

/* The head of the reports. Fills in host and dir, and borrows them. */
static struct pv_run_info test_run_info(const struct test_cmd *c, const struct pv_selection *s,
                                        const char *const *selected, char host[static 256],
                                        char dir[static PATH_MAX])
{
    struct timespec now;

    gethostname(host, 255);
    if (!getcwd(dir, PATH_MAX))
        dir[0] = '\0';
    clock_gettime(CLOCK_REALTIME, &now);
    return (struct pv_run_info){.version = PV_VERSION,
                                .host = host,
                                .directory = dir,
                                .started_ns = (int64_t)now.tv_sec * PV_NSEC_PER_SEC + now.tv_nsec,
                                .args = (const char *const *)c->argv,
                                .n_args = (size_t)c->argc,
                                .shard = c->select.shard.index,
                                .shards = c->select.shard.count,
                                .files = (const char *const *)s->all.v,
                                .n_files = s->all.n,
                                .selected = selected,
                                .n_selected = s->files.n,
                                .repeat = c->schedule.repeat};
}

/* Runs the selected files. */
static int test_run(const struct test_cmd *c, const struct pv_config *config, struct pv_history *history,
                    struct pv_selection *s, struct pv_err *err)
{
    int fd = pv_outputs_take_stdout(&c->reports) ? STDERR_FILENO : STDOUT_FILENO;
    struct run_arg arg = {.config = config, .cmd = c};
    cleanup_buf struct pv_buf rerun = {0};
    cleanup_free const char **names = list_names(&s->files);
    char host[256] = "", dir[PATH_MAX] = "";
    struct pv_run_info info = test_run_info(c, s, names, host, dir);
    struct pv_accel_probe probe;
    struct pv_run_opts o = {.run = test_run_file,
                            .arg = &arg,
                            .timeout_ns = c->timeout_ns,
                            .slow_ns = c->schedule.slow_ns,
                            .jobs = c->schedule.jobs,
                            .memory = c->schedule.memory,
                            .cpus = c->schedule.cpus,
                            .retries = c->schedule.retries,
                            .repeat = c->schedule.repeat,
                            .durations = c->schedule.durations,
                            .fail_fast = c->schedule.fail_fast,
                            .style = {.color = test_wants_color(c->color, fd),
                                      .verbose = c->verbose,
                                      .quiet = c->quiet,
                                      .fail_on_flaky = c->schedule.fail_on_flaky},
                            .terminal = fd_is_terminal(fd),
                            .reports = c->reports,
                            .info = &info,
                            .history = history,
                            .keep_order = c->select.shuffle,
                            .notes = &s->notes};

    /* The probe is cached here, before the fork of files, which would each measure another number. */
    pv_accel_probe(&probe);
    rerun_command(&rerun, c);
    o.style.rerun = rerun.data;
    return pv_runner_run(&s->files, &o, err);
}

static int test_select_and_run(const struct test_cmd *c, struct pv_err *err)
{
    cleanup_free char *guest_dir = pv_guest_dir();
    struct pv_config *config = pv_config_load(c->config, guest_dir, err);
    struct pv_selection s = {0};
    struct pv_history *history;
    char notice[512];
    int rc = -1;

    if (!config)
        return -1;
    history = pv_history_load(config->dir, c->history, notice);
    pv_cache_notes(notice, &s.notes);
    if (c->subtests.tags.n || c->subtests.no_tags.n)
        pv_history_partial(history);
    if (c->select.shard.count)
        pv_history_read_only(history);
    if (pv_select(&c->select, history, &s, err) == 0)
        rc = c->list ? pv_list(&c->select, &s, history, c->reports.json, err)
                     : test_run(c, config, history, &s, err);
    pv_selection_free(&s);
    pv_history_free(history);
    pv_config_free(config);
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

int pv_cmd_test(int argc, char **argv)
{
    struct test_cmd c = {.accel = PV_ACCEL_AUTO,
                         .policy.warnings = PV_POLICY_REPORT,
                         .timeout_ns = 300 * PV_NSEC_PER_SEC,
                         .schedule = {.slow_ns = 60 * PV_NSEC_PER_SEC},
                         .argc = argc,
                         .argv = argv};
    struct pv_err err = PV_ERR_INIT;
    int rc;

    hold_usr1();
    rc = test_parse(&c, argc, argv, &err);

    if (rc == 0 && c.help)
        pv_opt_help(
            stdout, "provium test [options] [PATH...]",
            "Runs test files: those given, and every *.lua below the directories given except below one\n"
            "called 'fixtures'. Without PATH: the directory 'tests'.\n"
            "Exit code 0: all passed, 1: something failed, 2: usage, configuration or internal error.",
            opts);
    else if (rc == 0)
        rc = test_select_and_run(&c, &err);
    pv_strv_free(&c.select.only);
    pv_strv_free(&c.select.paths);
    pv_strv_free(&c.subtests.tags);
    pv_strv_free(&c.subtests.no_tags);
    return rc < 0 ? pv_cli_error(&err) : rc;
}
