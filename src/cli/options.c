/* SPDX-License-Identifier: MIT */
#include "cli/options.h"

#include <string.h>

#include "cli/cli.h"
#include "util/err.h"
#include "util/parse.h"

enum { MAX_OPTS = 62 };

static int option_unknown_err(const struct pv_opt_parser *p, const char *name, struct pv_err *err)
{
    const char *names[MAX_OPTS + 2], *near;
    size_t n = 0;

    for (const struct pv_opt *o = p->opts; o->name && n < MAX_OPTS; o++)
        names[n++] = o->name;
    names[n++] = "help";
    names[n] = NULL;
    near = pv_nearest(name, names);
    if (near)
        pv_err_set(err, PV_E_USAGE, "%s: unknown option '--%s' (did you mean '--%s'?)", p->argv[0], name,
                   near);
    else
        pv_err_set(err, PV_E_USAGE, "%s: unknown option '--%s'; 'provium %s --help' lists the known ones",
                   p->argv[0], name, p->argv[0]);
    return PV_OPT_BAD;
}

static int option_no_value_err(const struct pv_opt_parser *p, const struct pv_opt *o, struct pv_err *err)
{
    pv_err_set(err, PV_E_USAGE, "%s: option '--%s' needs a value: --%s %s", p->argv[0], o->name, o->name,
               o->arg);
    return PV_OPT_BAD;
}

static bool value_is_optional(const struct pv_opt_parser *p, const struct pv_opt *o)
{
    return o->optional || (p->optional && !strcmp(p->optional, o->name));
}

static int take_value(struct pv_opt_parser *p, int index, const char *inl, const char **value,
                      struct pv_err *err)
{
    const struct pv_opt *o = &p->opts[index];

    if (!o->arg) {
        if (!inl)
            return index;
        pv_err_set(err, PV_E_USAGE, "%s: option '--%s' takes no value, got '%s'", p->argv[0], o->name, inl);
        return PV_OPT_BAD;
    }
    *value = inl;
    if (!inl && value_is_optional(p, o))
        return index;
    if (!inl) {
        if (p->at + 1 >= p->argc)
            return option_no_value_err(p, o, err);
        *value = p->argv[++p->at];
    }
    return **value ? index : option_no_value_err(p, o, err);
}

static int long_option(struct pv_opt_parser *p, const char *word, const char **value, struct pv_err *err)
{
    size_t n = strcspn(word, "=");
    const char *inl = word[n] ? word + n + 1 : NULL;
    char name[64];
    int r = PV_OPT_HELP;

    snprintf(name, sizeof(name), "%.*s", (int)n, word);
    if (strcmp(name, "help") != 0) {
        r = PV_OPT_BAD;
        for (int i = 0; p->opts[i].name && r == PV_OPT_BAD; i++)
            if (!strcmp(p->opts[i].name, name))
                r = i;
        if (r == PV_OPT_BAD)
            return option_unknown_err(p, name, err);
        r = take_value(p, r, inl, value, err);
    }
    p->at++;
    return r;
}

/* Parses the option letter at p->rest. */
static int short_option(struct pv_opt_parser *p, const char **value, struct pv_err *err)
{
    char letter = *p->rest++;
    int r = letter == 'h' ? PV_OPT_HELP : PV_OPT_BAD;

    for (int i = 0; p->opts[i].name; i++)
        if (p->opts[i].letter == letter) {
            const char *inl = p->opts[i].arg && *p->rest ? p->rest : NULL;

            r = take_value(p, i, inl, value, err);
            if (p->opts[i].arg)
                p->rest = "";
            break;
        }
    if (r == PV_OPT_BAD && !err->text[0])
        pv_err_set(err, PV_E_USAGE, "%s: unknown option '-%c'; 'provium %s --help' lists the known ones",
                   p->argv[0], letter, p->argv[0]);
    if (!*p->rest) {
        p->rest = NULL;
        p->at++;
    }
    return r;
}

int pv_opt_next(struct pv_opt_parser *p, const char **value, struct pv_err *err)
{
    const char *word;

    err->text[0] = '\0';
    *value = NULL;
    if (p->rest)
        return short_option(p, value, err);
    if (p->at == 0)
        p->at = 1;
    if (p->at >= p->argc)
        return PV_OPT_END;
    word = p->argv[p->at];
    if (p->words_only || word[0] != '-' || !word[1]) {
        p->at++;
        *value = word;
        return PV_OPT_WORD;
    }
    if (!strcmp(word, "--")) {
        p->at++;
        p->words_only = true;
        return pv_opt_next(p, value, err);
    }
    if (word[1] == '-')
        return long_option(p, word + 2, value, err);
    p->rest = word + 1;
    return short_option(p, value, err);
}

void pv_opt_left(const struct pv_opt *o, char *buf, size_t size)
{
    char letter[8] = "    ";

    if (o->letter)
        snprintf(letter, sizeof(letter), "-%c, ", o->letter);
    snprintf(buf, size, "%s--%s%s%s%s", letter, o->name,
             o->optional ? "[="
             : o->arg    ? " "
                         : "",
             o->arg ? o->arg : "", o->optional ? "]" : "");
}

/* A longer left side has a line of its own. */
enum { HELP_LEFT = 24 };

void pv_opt_help(FILE *out, const char *usage, const char *about, const struct pv_opt *opts)
{
    static const struct pv_opt help = {"help", 'h', NULL, "this text"};

    fprintf(out, "usage: %s\n\n%s\n", usage, about);
    if (!opts->group)
        fputs("\noptions:\n", out);
    for (const struct pv_opt *o = opts;; o++) {
        const struct pv_opt *show = o->name ? o : &help;
        char left[96];

        if (show->group)
            fprintf(out, "\n%s:\n", show->group);
        pv_opt_left(show, left, sizeof(left));
        if (strlen(left) > HELP_LEFT)
            fprintf(out, "  %s\n  %*s %s\n", left, HELP_LEFT, "", show->help);
        else
            fprintf(out, "  %-*s %s\n", HELP_LEFT, left, show->help);
        if (!o->name)
            return;
    }
}

void pv_command_usage(const struct pv_command *c)
{
    char usage[128];

    snprintf(usage, sizeof(usage), "provium %s", c->usage);
    pv_opt_help(stdout, usage, c->about, c->opts);
}
