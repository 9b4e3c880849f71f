/* SPDX-License-Identifier: MIT */
/* provium test: the one place where the runner meets Lua. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/version.h"
#include "config/config.h"
#include "lua/run.h"
#include "runner/find.h"
#include "runner/runner.h"
#include "runner/text.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/parse.h"

enum {
    OPT_CONFIG,
    OPT_ACCEL,
    OPT_TIMEOUT,
    OPT_FILTER,
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
    [OPT_TIMEOUT] = {"timeout", 0, "TIME", "limit for each file: 300, 90s, 5m (default 300 s)"},
    [OPT_FILTER] = {"filter", 'f', "TEXT", "only files whose name contains TEXT; may be repeated"},
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

enum color { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

struct test_cmd {
    const char *config;
    enum pv_accel accel;
    int64_t timeout_ns;
    const char *accel_text, *timeout_text; /* as given; NULL: not given */
    struct pv_strv only, paths;
    bool verbose, quiet, help;
    enum color color;
    struct pv_report_opts reports;
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

static int take_option(struct test_cmd *c, int option, const char *value, struct pv_err *err)
{
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
        pv_strv_add(&c->only, value);
        return 0;
    case OPT_VERBOSE:
        c->verbose = true;
        return 0;
    case OPT_QUIET:
        c->quiet = true;
        return 0;
    case OPT_COLOR:
        return take_color(c, value, err);
    case OPT_JSON:
        c->reports.json = value;
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
    case PV_OPT_HELP:
        c->help = true;
        return 0;
    default:
        pv_strv_add(&c->paths, value);
        return 0;
    }
}

static int parse(struct test_cmd *c, int argc, char **argv, struct pv_err *err)
{
    struct pv_opt_parser p = {.opts = opts, .argc = argc, .argv = argv};
    const char *value;
    struct stat st;
    int i;

    while ((i = pv_opt_next(&p, &value, err)) >= 0)
        if (take_option(c, i, value, err) < 0)
            return -1;
    if (i == PV_OPT_BAD)
        return -1;
    if (c->quiet && c->verbose)
        return pv_err_set(err, PV_E_USAGE, "test: -q and -v are opposites; give one of them");
    if (c->help || c->paths.n)
        return 0;
    if (stat("tests", &st) < 0 || !S_ISDIR(st.st_mode))
        return pv_err_set(
            err, PV_E_USAGE,
            "test: no path given, and there is no directory 'tests' here; say which files to run: "
            "provium test PATH...");
    pv_strv_add(&c->paths, "tests");
    return 0;
}

struct run_arg {
    const struct pv_config *config;
    enum pv_accel accel;
};

static void run_file(const struct pv_run_file *file, struct pv_result *result, void *arg)
{
    const struct run_arg *a = arg;
    struct pv_lua_env env = {.config = a->config,
                             .accel = a->accel,
                             .result = result,
                             .log_dir = file->log_dir,
                             .version = PV_VERSION};

    pv_lua_run_file(&env, file->path);
}

/* fd is a terminal that understands escape sequences. */
static bool able_terminal(int fd)
{
    const char *term = getenv("TERM");

    return isatty(fd) && term && *term && strcmp(term, "dumb") != 0;
}

/* --color, then NO_COLOR (https://no-color.org), then CLICOLOR_FORCE, then what the report goes to. */
static bool want_color(enum color asked, int fd)
{
    const char *no = getenv("NO_COLOR"), *force = getenv("CLICOLOR_FORCE");

    if (asked != COLOR_AUTO)
        return asked == COLOR_ALWAYS;
    if (no && *no)
        return false;
    if (force && *force && strcmp(force, "0") != 0)
        return true;
    return able_terminal(fd);
}

/* What runs a file of this run again under the same conditions; its path is put behind. */
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
}

static const char **file_names(const struct pv_test_list *files)
{
    const char **names = pv_xcalloc(files->n + 1, sizeof(*names));

    for (size_t i = 0; i < files->n; i++)
        names[i] = files->v[i].name;
    return names;
}

/* What reports say of the run. host and dir are filled in, and borrowed. */
static struct pv_run_info run_info(const struct test_cmd *c, const char *const *files, size_t n_files,
                                   char host[static 256], char dir[static PATH_MAX])
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
                                .files = files,
                                .n_files = n_files,
                                .n_selected = n_files};
}

static int run(const struct test_cmd *c, struct pv_err *err)
{
    cleanup_free char *guest_dir = pv_guest_dir();
    int fd = pv_reports_take_stdout(&c->reports) ? STDERR_FILENO : STDOUT_FILENO;
    struct pv_test_list files = {0};
    struct pv_config *config = pv_config_load(c->config, guest_dir, err);
    struct run_arg arg = {.config = config, .accel = c->accel};
    cleanup_buf struct pv_buf rerun = {0};
    struct pv_run_opts o = {.run = run_file,
                            .arg = &arg,
                            .timeout_ns = c->timeout_ns,
                            .jobs = 1,
                            .color = want_color(c->color, fd),
                            .quiet = c->quiet,
                            .terminal = able_terminal(fd),
                            .verbose = c->verbose,
                            .reports = c->reports};
    struct pv_run_info info;
    cleanup_free const char **names = NULL;
    char host[256] = "", dir[PATH_MAX] = "";
    int rc = -1;

    rerun_command(&rerun, c);
    o.rerun = rerun.data;
    if (config && pv_find_tests(&c->paths, &c->only, &files, err) == 0) {
        names = file_names(&files);
        info = run_info(c, names, files.n, host, dir);
        o.info = &info;
        rc = pv_runner_run(&files, &o, err);
    }
    pv_test_list_free(&files);
    pv_config_free(config);
    return rc;
}

int pv_cmd_test(int argc, char **argv)
{
    struct test_cmd c = {
        .accel = PV_ACCEL_AUTO, .timeout_ns = 300 * PV_NSEC_PER_SEC, .argc = argc, .argv = argv};
    struct pv_err err = PV_ERR_INIT;
    int rc = parse(&c, argc, argv, &err);

    if (rc == 0 && c.help)
        pv_opt_help(
            stdout, "provium test [options] [PATH...]",
            "Runs test files: those given, and every *.lua below the directories given except below one\n"
            "called 'fixtures'. Without PATH: the directory 'tests'.\n"
            "Exit code 0: all passed, 1: something failed, 2: usage, configuration or internal error.",
            opts);
    else if (rc == 0)
        rc = run(&c, &err);
    pv_strv_free(&c.only);
    pv_strv_free(&c.paths);
    return rc < 0 ? pv_cli_error(&err) : rc;
}
