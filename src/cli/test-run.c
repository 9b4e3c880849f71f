/* SPDX-License-Identifier: MIT */
#include "cli/test-run.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cache.h"
#include "cli/list.h"
#include "cli/test-opts.h"
#include "cli/version.h"
#include "config/config.h"
#include "config/guestdir.h"
#include "lua/run.h"
#include "childproto/lease.h"
#include "runner/history.h"
#include "runner/runner.h"
#include "util/text.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "vm/accel.h"

#define NO_LIMIT (INT64_MAX / 4) /* of a file that a person looks at */

struct run_arg {
    const struct pv_config *config;
    const struct pv_test_cmd *cmd;
    const struct pv_test_round *round; /* NULL: no round of --watch */
};

static void test_run_file(const struct pv_run_file *file, struct pv_result *result, void *arg)
{
    const struct run_arg *a = arg;
    struct pv_lease *lease = pv_lease_new(file->lease);
    struct pv_debug_io io = {
        .in = file->in, .out = file->out, .stop = a->cmd->schedule.debug, .keep = a->cmd->schedule.keep};
    struct pv_testfile_env env = {.config = a->config,
                                  .accel = a->cmd->accel,
                                  .tags = &a->cmd->subtests.tags,
                                  .no_tags = &a->cmd->subtests.no_tags,
                                  .meta = &a->cmd->subtests.meta,
                                  .no_meta = &a->cmd->subtests.no_meta,
                                  .slow_tests = a->cmd->subtests.slow,
                                  .live = a->cmd->live,
                                  .watch = a->round,
                                  .save_dir = a->cmd->dirs.save_failed,
                                  .vmcore_dir = a->cmd->dirs.vmcore,
                                  .coverage_dir = a->cmd->dirs.coverage,
                                  .result = result,
                                  .lease = lease,
                                  .log_dir = file->log_dir,
                                  .root = file->root,
                                  .version = PV_VERSION,
                                  .debug = file->in >= 0 ? &io : NULL,
                                  .warnings = a->cmd->policy.warnings,
                                  .oopses = a->cmd->policy.oopses};

    if (a->cmd->live)
        setvbuf(stdout, NULL, _IOLBF, 0);
    pv_lua_run_file(&env, file->path);
    pv_lease_free(lease);
}

static void test_file_ended(const struct pv_file_report *f, void *arg)
{
    const struct run_arg *a = arg;

    if (a->round)
        a->round->ended(f, a->round->arg);
}

bool pv_test_is_terminal(int fd)
{
    const char *term = getenv("TERM");

    return isatty(fd) && term && *term && strcmp(term, "dumb") != 0;
}

/* --color, then NO_COLOR (https://no-color.org), then CLICOLOR_FORCE, then whether fd is a terminal. */
static bool test_wants_color(enum test_color asked, int fd)
{
    const char *no = getenv("NO_COLOR"), *force = getenv("CLICOLOR_FORCE");

    if (asked != COLOR_AUTO)
        return asked == COLOR_ALWAYS;
    if (no && *no)
        return false;
    if (force && *force && strcmp(force, "0") != 0)
        return true;
    return pv_test_is_terminal(fd);
}

static void rerun_add_words(struct pv_buf *out, const char *option, const struct pv_strv *values)
{
    for (size_t i = 0; i < values->n; i++) {
        pv_buf_addf(out, " %s ", option);
        pv_text_shell(out, values->v[i]);
    }
}

/* The command that runs a file again under the same conditions, without its path. */
static void rerun_command(struct pv_buf *out, const struct pv_test_cmd *c)
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
    rerun_add_words(out, "--meta", &c->subtests.meta);
    rerun_add_words(out, "--no-meta", &c->subtests.no_meta);
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
static struct pv_run_info test_run_info(const struct pv_test_cmd *c, const struct pv_selection *s,
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

int pv_test_plan_run(const struct pv_test_plan *p, const struct pv_test_cmd *c,
                     const struct pv_test_round *round, struct pv_err *err)
{
    int fd = pv_outputs_take_stdout(&c->reports) ? STDERR_FILENO : STDOUT_FILENO;
    bool attended = c->schedule.debug || c->schedule.keep;
    const struct pv_selection *s = &p->selected;
    struct run_arg arg = {.config = p->config, .cmd = c, .round = round};
    cleanup_buf struct pv_buf rerun = {0};
    cleanup_free const char **names = NULL;
    char host[256] = "", dir[PATH_MAX] = "";
    struct pv_run_info info;
    struct pv_accel_probe probe;
    struct pv_run_opts o = {.run = test_run_file,
                            .arg = &arg,
                            .timeout_ns = attended ? NO_LIMIT : c->timeout_ns,
                            .slow_ns = c->schedule.slow_ns,
                            .jobs = attended ? 1 : c->schedule.jobs,
                            .live = c->live,
                            .debug_out = attended ? fd : 0,
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
                            .terminal = pv_test_is_terminal(fd) && !attended,
                            .reports = c->reports,
                            .info = &info,
                            .history = p->history,
                            .title = round ? round->title : NULL,
                            .ended = test_file_ended,
                            .keep_order = c->select.shuffle,
                            .notes = &s->notes,
                            .own_cache = !s->cache_ok};

    if (c->list)
        return pv_list(&c->select, s, p->history, c->reports.json, err);
    names = list_names(&s->files);
    info = test_run_info(c, s, names, host, dir);
    /* The probe is cached here, before the fork of files, which would each measure another number. */
    pv_accel_probe(&probe);
    rerun_command(&rerun, c);
    o.style.rerun = rerun.data;
    return pv_runner_run(&s->files, &o, err);
}

int pv_test_plan_open(struct pv_test_plan *p, const struct pv_test_cmd *c, struct pv_err *err)
{
    cleanup_free char *guest_dir = pv_guest_dir();
    struct pv_select_opts select = c->select;
    char notice[512];

    p->config = pv_config_load(c->config, guest_dir, err);
    if (!p->config)
        return -1;
    p->history = pv_history_load(p->config->dir, c->history, notice);
    p->selected.cache_ok = pv_cache_notes(notice, &p->selected.notes);
    select.rule = (struct pv_find_rule){.patterns = &p->config->tests, .base = p->config->dir};
    if (c->subtests.tags.n || c->subtests.no_tags.n || c->subtests.meta.n || c->subtests.no_meta.n) {
        pv_history_partial(p->history);
        if (c->list)
            pv_strv_add(&p->selected.notes,
                        "--tag, --no-tag, --meta and --no-meta select sub-tests, which a file names while it "
                        "runs: --list shows the files, whatever is in them");
    }
    if (c->select.shard.count)
        pv_history_read_only(p->history);
    return pv_select(&select, p->history, &p->selected, err);
}

void pv_test_plan_close(struct pv_test_plan *p)
{
    pv_selection_free(&p->selected);
    pv_history_free(p->history);
    pv_config_free(p->config);
    *p = (struct pv_test_plan){0};
}
