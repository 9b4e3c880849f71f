/* SPDX-License-Identifier: MIT */
/*
 * provium completion: scripts for bash, zsh and fish, made of the tables of options.  The name of a value decides what
 * completes it (`kinds`); what a project has, its profiles for example, the scripts ask `provium completion KIND` for.
 */
#include "cli/completion.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "completion-bash.h"
#include "completion-fish.h"
#include "completion-zsh.h"
#include "util/err.h"

static const struct value_kind {
    const char *value, *kind; /* kind: "file", "dir", "tests", "words", or one of pv_completion_words */
    const char *words;        /* of kind "words" */
} kinds[] = {
    {"FILE", "file", NULL},
    {"IMAGE|DIR|host", "file", NULL},
    {"WHAT", "file", NULL},
    {"SPEC", "file", NULL},
    {"A=B", "file", NULL},
    {"DIR", "dir", NULL},
    {"PATH", "tests", NULL},
    {"PROFILE", "profiles", NULL},
    {"FIXTURE", "fixtures", NULL},
    {"TAG", "tags", NULL},
    {"TOPIC", "topics", NULL},
    {"VERB", "words", "list stale clean build rebuild"},
    {"SHELL", "words", "bash zsh fish"},
};

/* The option's value name decides how its value completes; buf gets the words of a choice such as "a|b". */
static struct value_kind value_kind(const char *value, char *buf, size_t size)
{
    struct value_kind k = {value, "none", NULL};

    for (size_t i = 0; value && i < PV_ARRAY_LEN(kinds); i++)
        if (!strcmp(kinds[i].value, value))
            return kinds[i];
    if (value && strchr(value, '|')) {
        snprintf(buf, size, "%s", value);
        for (char *c = buf; *c; c++)
            if (*c == '|')
                *c = ' ';
        k.kind = "words";
        k.words = buf;
    }
    return k;
}

/* Text within single quotes of a shell, without the characters in `but`. */
static void print_quoted(const char *s, const char *but)
{
    for (; *s; s++)
        if (*s == '\'')
            fputs("'\\''", stdout);
        else if (!strchr(but, *s))
            putchar(*s);
}

/* ---- bash ---- */

static void bash_words(const struct pv_command *c)
{
    printf("    %s) echo '", c->name);
    for (const struct pv_opt *o = c->opts; o->name; o++) {
        printf("--%s ", o->name);
        if (o->letter)
            printf("-%c ", o->letter);
    }
    printf("--help' ;;\n");
}

static void bash_values(const struct pv_command *c)
{
    char buf[128];

    for (const struct pv_opt *o = c->opts; o->name; o++) {
        struct value_kind k = value_kind(o->arg, buf, sizeof(buf));

        if (!o->arg || o->optional)
            continue;
        printf("    %s:--%s", c->name, o->name);
        if (o->letter)
            printf(" | %s:-%c", c->name, o->letter);
        printf(") echo '%s%s%s' ;;\n", k.kind, k.words ? " " : "", k.words ? k.words : "");
    }
}

static void print_bash(void)
{
    char buf[128];

    printf("# Completion of provium for bash; `provium completion bash` has printed it.\n"
           "_provium_commands='");
    for (const struct pv_command *const *c = pv_commands; *c; c++)
        printf("%s%s", c == pv_commands ? "" : " ", (*c)->name);
    printf("'\n_provium_options() {\n    case $1 in\n");
    for (const struct pv_command *const *c = pv_commands; *c; c++)
        bash_words(*c);
    printf("    esac\n}\n_provium_value() {\n    case $1:$2 in\n");
    for (const struct pv_command *const *c = pv_commands; *c; c++)
        bash_values(*c);
    printf("    esac\n}\n_provium_argument() {\n    case $1 in\n");
    for (const struct pv_command *const *c = pv_commands; *c; c++) {
        struct value_kind k = value_kind((*c)->words, buf, sizeof(buf));

        printf("    %s) echo '%s%s%s' ;;\n", (*c)->name, k.kind, k.words ? " " : "", k.words ? k.words : "");
    }
    printf("    esac\n}\n%.*s", (int)sizeof(pv_completion_bash), (const char *)pv_completion_bash);
}

/* ---- zsh ---- */

/* The part of a specification of _arguments behind the option or '*'. */
static void zsh_value(const char *value)
{
    static const char *const actions[][2] = {
        {"file", "_files"}, {"dir", "_files -/"}, {"tests", "_files -g \"*.lua\""}, {"none", " "}};
    char buf[128];
    struct value_kind k = value_kind(value, buf, sizeof(buf));

    putchar(':');
    print_quoted(value, ":[]");
    putchar(':');
    for (size_t i = 0; i < PV_ARRAY_LEN(actions); i++)
        if (!strcmp(k.kind, actions[i][0])) {
            fputs(actions[i][1], stdout);
            return;
        }
    if (k.words)
        printf("(%s)", k.words);
    else
        printf(" _provium_words %s", k.kind); /* the space: no arguments are put in front of ours */
}

static void zsh_option(const struct pv_opt *o)
{
    printf(" \\\n        '*");
    if (o->letter)
        printf("'{-%c,--%s%s}'", o->letter, o->name, o->arg ? o->optional ? "=-" : "=" : "");
    else
        printf("--%s%s", o->name, o->arg ? o->optional ? "=-" : "=" : "");
    putchar('[');
    print_quoted(o->help, "[]:");
    putchar(']');
    if (o->arg)
        zsh_value(o->arg);
    putchar('\'');
}

static void print_zsh(void)
{
    printf("#compdef provium\n# Completion of provium for zsh; `provium completion zsh` has printed it.\n"
           "_provium_commands=(\n");
    for (const struct pv_command *const *c = pv_commands; *c; c++) {
        printf("    '%s:", (*c)->name);
        print_quoted((*c)->help, ":");
        printf("'\n");
    }
    printf(")\n_provium_command() {\n    case $1 in\n");
    for (const struct pv_command *const *c = pv_commands; *c; c++) {
        printf("    %s) _arguments -s", (*c)->name);
        for (const struct pv_opt *o = (*c)->opts; o->name; o++)
            zsh_option(o);
        printf(" \\\n        '(- *)'{-h,--help}'[this text]'");
        if ((*c)->words) {
            printf(" \\\n        '*");
            zsh_value((*c)->words);
            putchar('\'');
        }
        printf(" ;;\n");
    }
    printf("    esac\n}\n%.*s", (int)sizeof(pv_completion_zsh), (const char *)pv_completion_zsh);
}

/* ---- fish ---- */

/* The options of fish's complete for what may stand there. */
static void fish_value(const char *value)
{
    static const char *const actions[][2] = {{"file", "-r -F"},
                                             {"dir", "-x -a '(__fish_complete_directories)'"},
                                             {"tests", "-r -F"},
                                             {"none", "-x"}};
    char buf[128];
    struct value_kind k = value_kind(value, buf, sizeof(buf));

    for (size_t i = 0; i < PV_ARRAY_LEN(actions); i++)
        if (!strcmp(k.kind, actions[i][0])) {
            printf(" %s", actions[i][1]);
            return;
        }
    if (k.words)
        printf(" -x -a '%s'", k.words);
    else
        printf(" -x -a '(provium completion %s 2>/dev/null)'", k.kind);
}

static void fish_command(const struct pv_command *c)
{
    printf("complete -c provium -n __provium_no_command -a %s -d '", c->name);
    print_quoted(c->help, "");
    printf("'\n");
    for (const struct pv_opt *o = c->opts; o->name; o++) {
        printf("complete -c provium -n '__provium_command %s' -l %s", c->name, o->name);
        if (o->letter)
            printf(" -s %c", o->letter);
        if (o->arg && !o->optional)
            fish_value(o->arg);
        printf(" -d '");
        print_quoted(o->help, "");
        printf("'\n");
    }
    if (c->words && strcmp(value_kind(c->words, (char[128]){0}, 128).kind, "none") != 0) {
        printf("complete -c provium -n '__provium_command %s'", c->name);
        fish_value(c->words);
        putchar('\n');
    }
}

static void print_fish(void)
{
    printf("# Completion of provium for fish; `provium completion fish` has printed it.\n%.*s",
           (int)sizeof(pv_completion_fish), (const char *)pv_completion_fish);
    for (const struct pv_command *const *c = pv_commands; *c; c++)
        fish_command(*c);
}

/* ---- the command ---- */

static int completion_print(const char *what, struct pv_err *err)
{
    static const struct {
        const char *shell;
        void (*print)(void);
    } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
    cleanup_strv struct pv_strv words = {0};

    for (size_t i = 0; i < PV_ARRAY_LEN(shells); i++)
        if (!strcmp(what, shells[i].shell)) {
            shells[i].print();
            return 0;
        }
    if (!pv_completion_words(what, &words))
        return pv_err_set(err, PV_E_USAGE, "completion: '%s' is not known; expected bash, zsh or fish", what);
    for (size_t i = 0; i < words.n; i++)
        if (i == 0 || strcmp(words.v[i], words.v[i - 1]) != 0)
            puts(words.v[i]);
    return 0;
}

static const struct pv_opt opts[] = {{NULL}};

static int completion_main(int argc, char **argv)
{
    struct pv_opt_parser p = {.opts = opts, .argc = argc, .argv = argv};
    const char *value, *what = NULL;
    struct pv_err err;
    int i;

    while ((i = pv_opt_next(&p, &value, &err)) == PV_OPT_WORD) {
        if (what) {
            pv_err_set(&err, PV_E_USAGE, "completion: expected one shell, got '%s' and '%s'", what, value);
            return pv_cli_error(&err);
        }
        what = value;
    }
    if (i == PV_OPT_HELP) {
        pv_command_usage(&pv_command_completion);
        return PV_EXIT_OK;
    }
    if (i == PV_OPT_END && !what) {
        pv_err_set(&err, PV_E_USAGE, "completion: expected a shell: bash, zsh or fish");
        i = PV_OPT_BAD;
    }
    if (i == PV_OPT_BAD || completion_print(what, &err) < 0)
        return pv_cli_error(&err);
    return PV_EXIT_OK;
}

const struct pv_command pv_command_completion = {
    .name = "completion",
    .run = completion_main,
    .help = "print a completion script for a shell",
    .usage = "completion bash|zsh|fish",
    .about = "Prints a script that completes commands, options, profiles, fixtures, test files\n"
             "and tags. An installed Provium has them where shells look; else:\n"
             "\n"
             "    source <(provium completion bash)            # bash, in ~/.bashrc\n"
             "    provium completion zsh >~/.zfunc/_provium    # zsh, a directory of $fpath\n"
             "    provium completion fish | source             # fish, in config.fish\n"
             "\n"
             "profiles, fixtures, tags, topics: prints those words, one a line, as the scripts\n"
             "need them.",
    .opts = opts,
    .words = "SHELL",
};
