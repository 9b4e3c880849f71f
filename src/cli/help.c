/* SPDX-License-Identifier: MIT */
/* provium help: the list of commands, the help of one, and the pages of docs, which are part of the program. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/page.h"
#include "pages.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"
#include "util/parse.h"

enum { TOPICS_MAX = 512 };

/* Topics are commands, pages and functions of the reference. */
struct topics {
    const char *names[TOPICS_MAX + 1]; /* for pv_nearest */
    size_t n;
    struct pv_strv functions; /* "vm:exec" and "exec" */
};

static const struct pv_page *page_find(const char *name)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(pv_pages); i++)
        if (!strcmp(pv_pages[i].name, name))
            return &pv_pages[i];
    return NULL;
}

/* "exec" of "vm:exec". */
static const char *last_name(const char *name)
{
    const char *at = name + strcspn(name, ":.");

    while (*at) {
        name = at + 1;
        at = name + strcspn(name, ":.");
    }
    return name;
}

static void topics_list(struct topics *t)
{
    const struct pv_page *api = page_find("lua-api");
    size_t at = 0, len;
    const char *entry;

    for (const struct pv_command *const *c = pv_commands; *c; c++)
        t->names[t->n++] = (*c)->name;
    for (size_t i = 0; i < PV_ARRAY_LEN(pv_pages) && t->n < TOPICS_MAX; i++)
        t->names[t->n++] = pv_pages[i].name;
    while ((entry = pv_page_entry(api, &at, &len)) != NULL) {
        cleanup_free char *name = pv_page_entry_name(entry);

        pv_strv_add(&t->functions, name);
        if (strcmp(last_name(name), name) != 0)
            pv_strv_add(&t->functions, last_name(name));
    }
    for (size_t i = 0; i < t->functions.n && t->n < TOPICS_MAX; i++)
        t->names[t->n++] = t->functions.v[i];
}

static void print_topics(FILE *out)
{
    fprintf(out, "Commands: provium help test, and so on.\n\nPages:\n");
    for (size_t i = 0; i < PV_ARRAY_LEN(pv_pages); i++)
        fprintf(out, "  %-32s %s\n", pv_pages[i].name, pv_pages[i].title);
    fprintf(out, "\nFunctions of the Lua API: provium help vm:exec, or exec for all with that name.\n");
}

/* Prints the entries of the reference with that whole name, else with that last name; how many there were. */
static size_t print_functions(FILE *out, const char *topic)
{
    const struct pv_page *api = page_find("lua-api");
    size_t printed = 0, len;

    for (int whole = 1; whole >= 0 && !printed; whole--) {
        size_t at = 0;
        const char *entry;

        while ((entry = pv_page_entry(api, &at, &len)) != NULL) {
            cleanup_free char *name = pv_page_entry_name(entry);

            if (strcmp(whole ? name : last_name(name), topic) != 0)
                continue;
            if (printed++)
                fputc('\n', out);
            pv_page_print(out, entry, len);
        }
    }
    return printed;
}

static int unknown_topic(const char *topic)
{
    struct topics t = {.n = 0};
    const char *near;
    struct pv_err err;

    topics_list(&t);
    near = pv_nearest(topic, t.names);
    if (near)
        pv_err_set(&err, PV_E_USAGE, "help: no topic '%s' (did you mean '%s'?)", topic, near);
    else
        pv_err_set(&err, PV_E_USAGE, "help: no topic '%s'; 'provium help topics' lists the known ones",
                   topic);
    pv_strv_free(&t.functions);
    return pv_cli_error(&err);
}

/* On a terminal the text goes to a pager, in place of this process; it is in a file, so that nobody has to feed it. */
static int page_through(int fd)
{
    const char *pager = getenv("PAGER");
    char buf[4096];
    off_t at = 0;
    ssize_t n;

    lseek(fd, 0, SEEK_SET);
    if (isatty(STDOUT_FILENO) && dup2(fd, STDIN_FILENO) == STDIN_FILENO) {
        if (pager && *pager)
            execl("/bin/sh", "sh", "-c", pager, (char *)NULL);
        else
            execlp("less", "less", "-FRX", (char *)NULL);
    }
    for (; (n = pv_pread_all(fd, buf, sizeof(buf), at)) > 0; at += n)
        fwrite(buf, 1, (size_t)n, stdout);
    return PV_EXIT_OK;
}

static int help_topic(const char *topic)
{
    const struct pv_command *c = pv_command_find(topic);
    const struct pv_page *page = page_find(topic);
    cleanup_close int fd = -1;
    bool known = true;
    FILE *out;

    if (c) {
        pv_command_usage(c);
        return PV_EXIT_OK;
    }
    fd = memfd_create("provium-help", MFD_CLOEXEC);
    out = fd < 0 ? NULL : fdopen(dup(fd), "w");
    if (!out) {
        print_topics(stdout);
        return PV_EXIT_ERROR;
    }
    if (!strcmp(topic, "topics"))
        print_topics(out);
    else if (page)
        pv_page_print(out, (const char *)page->text, page->len);
    else
        known = print_functions(out, topic) > 0;
    fclose(out);
    return known ? page_through(fd) : unknown_topic(topic);
}

static const struct pv_opt opts[] = {{NULL}};

static int help_main(int argc, char **argv)
{
    struct pv_opt_parser p = {.opts = opts, .argc = argc, .argv = argv};
    const char *value, *topic = NULL;
    struct pv_err err;
    int i;

    while ((i = pv_opt_next(&p, &value, &err)) == PV_OPT_WORD) {
        if (topic) {
            pv_err_set(&err, PV_E_USAGE, "help: expected one topic, got '%s' too", value);
            return pv_cli_error(&err);
        }
        topic = value;
    }
    if (i == PV_OPT_BAD)
        return pv_cli_error(&err);
    if (i == PV_OPT_HELP)
        topic = "help";
    if (topic)
        return help_topic(topic);
    pv_command_list(false);
    return PV_EXIT_OK;
}

size_t pv_help_pages(struct pv_strv *names)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(pv_pages); i++)
        pv_strv_add(names, pv_pages[i].name);
    return names->n;
}

const struct pv_command pv_command_help = {
    .name = "help",
    .run = help_main,
    .help = "show a command's options or a page of the docs",
    .usage = "help [TOPIC]",
    .about = "Shows the help of a command, a page of the documentation, or functions of the\n"
             "Lua API; on a terminal through $PAGER, else less. 'provium help topics' lists\n"
             "what there is.",
    .opts = opts,
    .words = "TOPIC",
};
