/* SPDX-License-Identifier: MIT */
/*
 * Command lines, driven by one table per command that help is printed from as well.
 *
 *     static const struct pv_opt opts[] = {{"config", 'c', "FILE", "..."}, {NULL}};
 *     struct pv_opt_parser p = {.opts = opts, .argc = argc, .argv = argv};
 *     while ((i = pv_opt_next(&p, &value, &err)) >= 0)
 *         switch (i) { case OPT_CONFIG: ... case PV_OPT_WORD: ... }
 *     if (i == PV_OPT_BAD) return pv_cli_error(&err);
 */
#ifndef PV_CLI_OPTIONS_H
#define PV_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

struct pv_err;

struct pv_opt {
    const char *name; /* without the dashes; NULL ends the table */
    char letter;      /* 0: none */
    const char *arg;  /* its value in help, which decides its completion (completion.c); NULL: takes none */
    const char *help;
    bool optional;     /* the value may be left out, and is never the next word: --shuffle[=SEED] */
    const char *group; /* title of the options from this one on; NULL: those of the one before */
};

struct pv_opt_parser {
    const struct pv_opt *opts;
    int argc;
    char **argv;          /* argv[0] is the command */
    const char *optional; /* this option's value, too, may be left out in this command line; or NULL */
    int at;               /* private below */
    const char *rest;
    bool words_only;
};

enum { PV_OPT_END = -1, PV_OPT_BAD = -2, PV_OPT_WORD = 1000, PV_OPT_HELP = 1001 };

/*
 * The index in the table of the next option, *value its value, NULL when there is none; PV_OPT_WORD for an
 * argument that is no option; PV_OPT_HELP for -h and --help; PV_OPT_END; PV_OPT_BAD with *err, which names
 * the nearest known option.
 */
int pv_opt_next(struct pv_opt_parser *p, const char **value, struct pv_err *err);

/* "-k, --kernel WHAT" into buf, the letter's place kept free without one: the left side of a line of help. */
void pv_opt_left(const struct pv_opt *o, char *buf, size_t size);
/* usage: "provium test [options] PATH..."; about: a sentence or two. */
void pv_opt_help(FILE *out, const char *usage, const char *about, const struct pv_opt *opts);

#endif
