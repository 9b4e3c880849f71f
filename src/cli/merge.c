/* SPDX-License-Identifier: MIT */
/* provium merge: merges the reports of shards. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/version.h"
#include "config/config.h"
#include "config/guestdir.h"
#include "runner/history.h"
#include "runner/merge.h"
#include "util/err.h"

enum { OPT_JSON, OPT_JUNIT, OPT_HTML, OPT_TAP, OPT_HISTORY, OPT_VERBOSE, OPT_COUNT };

static const struct pv_opt opts[] = {
    [OPT_JSON] = {"json", 'o', "FILE", "the whole report as JSON lines; - is standard output"},
    [OPT_JUNIT] = {"junit", 0, "FILE", "the whole report in the JUnit format"},
    [OPT_HTML] = {"html", 0, "FILE", "the whole report as a page with a timeline"},
    [OPT_TAP] = {"tap", 0, NULL, "TAP on standard output, the rest on standard error"},
    [OPT_HISTORY] = {"history", 0, "FILE", "durations and failures, not in the user's cache"},
    [OPT_VERBOSE] = {"verbose", 'v', NULL, "show all files, not only those that failed"},
    [OPT_COUNT] = {NULL},
};

struct merge_cmd {
    struct pv_merge_opts o;
    struct pv_strv paths;
    const char *history;
    bool help;
};

static int merge_parse(struct merge_cmd *c, int argc, char **argv, struct pv_err *err)
{
    struct pv_opt_parser p = {.opts = opts, .argc = argc, .argv = argv};
    struct pv_merge_opts *o = &c->o;
    const char *value;
    int i;

    while ((i = pv_opt_next(&p, &value, err)) >= 0)
        switch (i) {
        case OPT_JSON:
            o->reports.json = value;
            break;
        case OPT_JUNIT:
            o->reports.junit = value;
            break;
        case OPT_HTML:
            o->reports.html = value;
            break;
        case OPT_TAP:
            o->reports.tap = true;
            break;
        case OPT_HISTORY:
            c->history = value;
            break;
        case OPT_VERBOSE:
            o->style.quiet = false;
            break;
        case PV_OPT_HELP:
            c->help = true;
            break;
        default:
            pv_strv_add(&c->paths, value);
        }
    if (i == PV_OPT_BAD)
        return -1;
    if (!c->help && c->paths.n == 0)
        return pv_err_set(
            err, PV_E_USAGE,
            "merge: nothing to merge; say where the reports of the shards are: provium merge DIR...");
    return 0;
}

/*
 * The history of the project in the working directory.  Where its configuration does not load (merging needs
 * no guest files), only the history named by --history.
 */
static struct pv_history *merge_load_history(const char *named)
{
    cleanup_free char *guest_dir = pv_guest_dir();
    struct pv_config *config = pv_config_load(NULL, guest_dir, NULL);
    struct pv_history *h = NULL;
    char notice[512] = "";

    if (config || named)
        h = pv_history_load(config ? config->dir : ".", named, notice);
    if (notice[0])
        fprintf(stderr, "provium: note: %s\n", notice);
    pv_config_free(config);
    return h;
}

static int merge_main(int argc, char **argv)
{
    struct merge_cmd c = {.o = {.version = PV_VERSION, .style.quiet = true}};
    const char *no_color = getenv("NO_COLOR");
    struct pv_err err = PV_ERR_INIT;
    int rc;

    c.o.style.color = isatty(STDOUT_FILENO) && !(no_color && *no_color);
    for (int i = 0; i < argc; i++)
        pv_strv_add(&c.o.args, argv[i]);
    rc = merge_parse(&c, argc, argv, &err);
    if (rc == 0 && c.help) {
        pv_command_usage(&pv_command_merge);
    } else if (rc == 0) {
        c.o.history = merge_load_history(c.history);
        rc = pv_merge(&c.paths, &c.o, &err);
        pv_history_free(c.o.history);
    }
    pv_strv_free(&c.paths);
    pv_strv_free(&c.o.args);
    return rc < 0 ? pv_cli_error(&err) : rc;
}

const struct pv_command pv_command_merge = {
    .name = "merge",
    .run = merge_main,
    .help = "make one report out of those of shards",
    .usage = "merge [options] DIR|FILE...",
    .about = "Makes one report out of those that the shards of a run have written with --json:\n"
             "the files given, and every *.json and *.jsonl below the directories given.\n"
             "Exit code: that of the whole run; at least 1 when a shard or a file's result is\n"
             "missing; 2 when the reports are not of one run, or something is there twice.",
    .opts = opts,
    .words = "FILE",
};
