/* SPDX-License-Identifier: MIT */
/* provium fixture: lists, checks and cleans the cache of fixtures. */
#include "cli/fixture.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/version.h"
#include "config/config.h"
#include "config/guestdir.h"
#include "fixture/store.h"
#include "testfile/inputs.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

struct args {
    struct pv_strv names;
    const char *config; /* --config */
    bool json, all, help;
};

enum { OPT_CONFIG, OPT_JSON, OPT_ALL };

static const struct pv_opt opts[] = {
    [OPT_CONFIG] = {"config", 'c', "FILE", "this provium.toml (default: the nearest one upward)"},
    [OPT_JSON] = {"json", 0, NULL, "list, stale: print JSON"},
    [OPT_ALL] = {"all", 'a', NULL, "clean: of all projects; build, rebuild: all of this"},
    {NULL},
};

/* ---- texts ---- */

static const char *size_text(uint64_t bytes, char buf[static 32])
{
    if (bytes >= UINT64_C(10) << 30)
        snprintf(buf, 32, "%" PRIu64 "G", bytes >> 30);
    else
        snprintf(buf, 32, "%" PRIu64 "M", (bytes + (1 << 19)) >> 20);
    return buf;
}

static const char *when_text(int64_t ns, char buf[static 32])
{
    time_t t = (time_t)(ns / PV_NSEC_PER_SEC);
    struct tm tm;

    if (!ns || !localtime_r(&t, &tm) || !strftime(buf, 32, "%Y-%m-%d %H:%M", &tm))
        snprintf(buf, 32, "-");
    return buf;
}

/* JSON needs UTF-8: other bytes of a path are shown as '?'. */
static json_t *text_json(const char *s)
{
    json_t *j = json_string(s);
    cleanup_free char *copy = NULL;

    if (j)
        return j;
    copy = pv_xstrdup(s);
    for (char *p = copy; *p; p++)
        if (*p & 0x80)
            *p = '?';
    return json_string(copy);
}

static json_t *info_json(const struct pv_fixture_info *f)
{
    json_t *j =
        json_pack("{s:o, s:o, s:o, s:s, s:s, s:I, s:f, s:f, s:f, s:b}", "name", text_json(f->name), "project",
                  text_json(f->project), "script", text_json(f->script), "key", f->key, "entry", f->entry,
                  "disk_bytes", (json_int_t)f->disk, "built", (double)f->created_ns / 1e9, "used",
                  (double)f->used_ns / 1e9, "build_seconds", (double)f->build_ns / 1e9, "in_use", f->in_use);

    if (f->damaged)
        json_object_set_new(j, "damaged", text_json(f->damaged));
    return j;
}

static void print_json(json_t *list)
{
    json_t *top = json_pack("{s:s, s:o}", "schema", "provium-fixtures/1", "fixtures", list);
    char *text = json_dumps(top, JSON_INDENT(1));

    printf("%s\n", text);
    free(text);
    json_decref(top);
}

/* ---- the verbs ---- */

struct verb_env {
    struct pv_store *store;
    struct pv_config *config;
    struct args *args;
    struct pv_fixture_list list;
};

/* True when the entry is selected by the names; no names: all, with `here` only those of this project. */
static bool entry_is_selected(const struct verb_env *e, const struct pv_fixture_info *f, bool here)
{
    if (here && strcmp(f->project, e->config->dir) != 0)
        return false;
    for (size_t i = 0; i < e->args->names.n; i++)
        if (!strcmp(e->args->names.v[i], f->name))
            return true;
    return e->args->names.n == 0;
}

static int do_list(struct verb_env *e, struct pv_err *err)
{
    json_t *json = json_array();
    uint64_t total = 0;
    size_t rows = 0;
    char size[32], built[32], used[32];

    (void)err;
    for (size_t i = 0; i < e->list.n; i++) {
        const struct pv_fixture_info *f = &e->list.v[i];

        if (!entry_is_selected(e, f, false))
            continue;
        total += f->disk;
        if (e->args->json) {
            json_array_append_new(json, info_json(f));
            continue;
        }
        if (rows++ == 0)
            printf("%-20s %-12s %6s  %-16s  %-16s  %s\n", "NAME", "KEY", "SIZE", "BUILT", "LAST USED",
                   "PROJECT");
        printf("%-20s %-12.12s %6s  %-16s  %-16s  %s\n", f->damaged ? "(damaged)" : f->name,
               f->damaged ? "-" : f->key, size_text(f->disk, size), when_text(f->created_ns, built),
               f->in_use ? "now" : when_text(f->used_ns, used),
               f->damaged    ? f->damaged
               : *f->project ? f->project
                             : "-");
    }
    if (e->args->json) {
        print_json(json);
        return PV_EXIT_OK;
    }
    json_decref(json);
    printf("%s in %s, at most %s (cache_size)\n", size_text(total, size), pv_store_dir(e->store),
           size_text(e->config->cache_size, used));
    return PV_EXIT_OK;
}

static int do_clean(struct verb_env *e, struct pv_err *err)
{
    size_t removed = 0, busy = 0;
    uint64_t freed = 0;
    char size[32];

    if (e->args->all && e->args->names.n) {
        pv_err_set(err, PV_E_USAGE, "fixture clean: takes --all or names, not both");
        return PV_EXIT_ERROR;
    }
    for (size_t i = 0; i < e->list.n; i++) {
        const struct pv_fixture_info *f = &e->list.v[i];
        int r;

        /* A damaged entry does not tell its project: remove it in any case. */
        if (!f->damaged && !entry_is_selected(e, f, !e->args->all))
            continue;
        r = pv_store_remove(e->store, f->entry, err);
        if (r < 0)
            return PV_EXIT_ERROR;
        removed += r == 1;
        busy += r == 0;
        freed += r == 1 ? f->disk : 0;
    }
    printf("%zu fixture%s removed, %s freed", removed, removed == 1 ? "" : "s", size_text(freed, size));
    if (busy)
        printf("; %zu in use, left alone", busy);
    printf("\n");
    return PV_EXIT_OK;
}

/*
 * 1: the fixture has a valid entry; 0: *miss is the reason of its newest entry, list.v[first]; -1 with *err.
 */
static int check_newest(struct verb_env *e, size_t first, const struct pv_inputs *now, struct pv_miss *miss,
                        struct pv_err *err)
{
    const struct pv_fixture_info *a = &e->list.v[first];
    struct pv_miss one;

    for (size_t i = first; i < e->list.n; i++) {
        const struct pv_fixture_info *b = &e->list.v[i];
        int r;

        if (b->damaged || strcmp(a->name, b->name) != 0 || strcmp(a->project, b->project) != 0 ||
            strcmp(a->script, b->script) != 0 || strcmp(a->variant, b->variant) != 0)
            continue;
        r = pv_store_check(e->store, b, now, &one, err);
        if (r != 0)
            return r;
        if (i == first)
            *miss = one;
    }
    return 0;
}

static bool entry_was_listed(const struct verb_env *e, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (!e->list.v[k].damaged && !strcmp(e->list.v[k].name, e->list.v[i].name) &&
            !strcmp(e->list.v[k].project, e->list.v[i].project) &&
            !strcmp(e->list.v[k].script, e->list.v[i].script) &&
            !strcmp(e->list.v[k].variant, e->list.v[i].variant))
            return true;
    return false;
}

static int do_stale(struct verb_env *e, struct pv_err *err)
{
    struct tf_inputs inputs = {.config = e->config, .version = PV_VERSION};
    struct pv_inputs now;
    json_t *json = json_array();
    size_t stale = 0;
    int rc = PV_EXIT_OK;

    pv_tf_inputs_now(&inputs, &now);
    for (size_t i = 0; i < e->list.n; i++) {
        const struct pv_fixture_info *f = &e->list.v[i];
        struct pv_miss miss = {0};
        json_t *j;
        int r;

        if (!f->damaged && (!entry_is_selected(e, f, true) || entry_was_listed(e, i) || !*f->script))
            continue; /* without a script: a cached boot */
        r = f->damaged ? 0 : check_newest(e, i, &now, &miss, err);
        if (r < 0) {
            rc = PV_EXIT_ERROR;
            break;
        }
        if (r == 1)
            continue;
        stale++;
        j = info_json(f);
        json_object_set_new(j, "why", text_json(f->damaged ? f->damaged : miss.why));
        json_array_append_new(json, j);
        if (!e->args->json)
            printf("%s: %s\n", f->damaged ? f->entry : f->name, f->damaged ? f->damaged : miss.why);
    }
    pv_tf_inputs_fini(&inputs);
    if (e->args->json && rc == PV_EXIT_OK)
        print_json(json);
    else
        json_decref(json);
    if (!e->args->json && !stale && rc == PV_EXIT_OK)
        printf("nothing would be rebuilt\n");
    return rc;
}

static int fixture_build(struct verb_env *e, bool again, struct pv_err *err)
{
    int r;

    if (!e->args->names.n && !e->args->all) {
        pv_err_set(err, PV_E_USAGE, "fixture %s: needs names, or --all", again ? "rebuild" : "build");
        return PV_EXIT_ERROR;
    }
    r = pv_cli_fixture_build(e->config, (const char *const *)e->args->names.v, e->args->names.n, again, err);
    return r < 0 ? PV_EXIT_ERROR : r;
}

static int do_build(struct verb_env *e, struct pv_err *err)
{
    return fixture_build(e, false, err);
}

static int do_rebuild(struct verb_env *e, struct pv_err *err)
{
    return fixture_build(e, true, err);
}

static const struct verb {
    const char *name;
    int (*run)(struct verb_env *e, struct pv_err *err); /* the exit code; PV_EXIT_ERROR with *err */
    bool json, all;                                     /* the options that it takes */
} verbs[] = {
    {"list", do_list, true, false},   {"stale", do_stale, true, false},     {"clean", do_clean, false, true},
    {"build", do_build, false, true}, {"rebuild", do_rebuild, false, true},
};

/* ---- the command ---- */

static int fixture_parse(int argc, char **argv, struct args *a, struct pv_err *err)
{
    struct pv_opt_parser p = {.opts = opts, .argc = argc, .argv = argv};
    const char *value;
    int i;

    while ((i = pv_opt_next(&p, &value, err)) >= 0)
        switch (i) {
        case OPT_CONFIG:
            a->config = value;
            break;
        case OPT_JSON:
            a->json = true;
            break;
        case OPT_ALL:
            a->all = true;
            break;
        case PV_OPT_HELP:
            a->help = true;
            break;
        default:
            pv_strv_add(&a->names, value);
        }
    return i == PV_OPT_BAD ? -1 : 0;
}

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(verbs); i++)
        if (!strcmp(verbs[i].name, name))
            return &verbs[i];
    return NULL;
}

/* Refuses a name without an entry or a script: it is most likely misspelt. */
static int check_names(const struct verb_env *e, struct pv_err *err)
{
    for (size_t i = 0; i < e->args->names.n; i++) {
        bool known = false;

        for (size_t k = 0; k < e->list.n && !known; k++)
            known = !strcmp(e->list.v[k].name, e->args->names.v[i]);
        if (!known)
            return pv_err_set(err, PV_E_USAGE,
                              "no fixture '%s' is in the cache; `provium fixture list` shows those that are",
                              e->args->names.v[i]);
    }
    return 0;
}

static int fixture_run(const struct verb *verb, struct args *args, struct pv_err *err)
{
    cleanup_free char *guest_dir = pv_guest_dir();
    struct verb_env e = {.args = args};
    int code = PV_EXIT_ERROR;

    e.config = pv_config_load(args->config, guest_dir, err);
    e.store = e.config ? pv_store_open(e.config->cache_size, err) : NULL;
    if (e.store && pv_store_list(e.store, &e.list, err) == 0 &&
        (verb->run == do_build || verb->run == do_rebuild || check_names(&e, err) == 0))
        code = verb->run(&e, err);
    pv_fixture_list_free(&e.list);
    pv_store_free(e.store);
    pv_config_free(e.config);
    return code;
}

static int fixture_main(int argc, char **argv)
{
    struct pv_err err = PV_ERR_INIT;
    struct args args = {0};
    const struct verb *verb;
    int code;

    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        if (argc > 1) {
            pv_command_usage(&pv_command_fixture);
            return PV_EXIT_OK;
        }
        pv_err_set(
            &err, PV_E_USAGE,
            "fixture: expected a verb: list, stale, clean, build or rebuild; see provium fixture --help");
        return pv_cli_error(&err);
    }
    verb = find_verb(argv[1]);
    if (!verb) {
        pv_err_set(&err, PV_E_USAGE,
                   "fixture: unknown verb '%s'; expected list, stale, clean, build or rebuild", argv[1]);
        return pv_cli_error(&err);
    }
    if (fixture_parse(argc - 1, argv + 1, &args, &err) < 0) {
        code = pv_cli_error(&err);
    } else if (args.help) {
        pv_command_usage(&pv_command_fixture);
        code = PV_EXIT_OK;
    } else if ((args.json && !verb->json) || (args.all && !verb->all)) {
        pv_err_set(&err, PV_E_USAGE, "fixture %s: takes no --%s", verb->name,
                   args.json && !verb->json ? "json" : "all");
        code = pv_cli_error(&err);
    } else {
        code = fixture_run(verb, &args, &err);
        if (code == PV_EXIT_ERROR)
            pv_cli_error(&err);
    }
    pv_strv_free(&args.names);
    return code;
}

const struct pv_command pv_command_fixture = {
    .name = "fixture",
    .run = fixture_main,
    .help = "list, clean and build prepared VMs",
    .usage = "fixture VERB [options] [FIXTURE...]",
    .about = "The cache of fixtures: booted, prepared VMs that tests resume from. VERB is one\n"
             "of:\n"
             "\n"
             "  list      what is in the cache: name, key, size, times, project\n"
             "  stale     which of this project's would be rebuilt, and why\n"
             "  clean     remove this project's, or those named, or --all; none that is in use\n"
             "  build     build those named where they are missing or stale\n"
             "  rebuild   build those named anew, and forget what was made from them",
    .opts = opts,
    .words = "VERB",
};
