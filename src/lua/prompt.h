/* SPDX-License-Identifier: MIT */
/*
 * Lines from a person or a pipe, while the loop runs: on a terminal with editing, history and completion (libedit).
 * While a prompt exists, SIGINT does not end the process: it is told by pv_prompt_interrupted.
 */
#ifndef PV_LUA_PROMPT_H
#define PV_LUA_PROMPT_H

#include <stdbool.h>

#include "util/mem.h"

struct pv_err;
struct pv_loop;
struct pv_prompt;

/*
 * The words that may complete the end of `text`: their common length behind its cursor is *n.  Strings are added to
 * *words.
 */
typedef void pv_prompt_complete_fn(const char *text, size_t *n, struct pv_strv *words, void *arg);

/* All borrowed. */
struct pv_prompt_opts {
    struct pv_loop *loop;
    int in, out;         /* editing: when both are terminals */
    const char *history; /* a file for the history of a terminal; NULL: none */
    pv_prompt_complete_fn *complete;
    void *arg;
};

/* One at a time in a process.  NULL with *err: class host. */
struct pv_prompt *pv_prompt_new(const struct pv_prompt_opts *o, struct pv_err *err);
void pv_prompt_free(struct pv_prompt *p); /* NULL is fine */

enum pv_prompt_read { PV_PROMPT_LINE, PV_PROMPT_END, PV_PROMPT_INTERRUPTED };

/* Blocks, and runs the loop, until a line is there: *line is without its newline, valid until the next call. */
enum pv_prompt_read pv_prompt_read(struct pv_prompt *p, const char *prompt, const char **line);
/* Whether SIGINT has come since the last call. */
bool pv_prompt_interrupted(struct pv_prompt *p);
/* Calls fn in the handler of SIGINT, which must be safe there; NULL: nothing. */
void pv_prompt_on_interrupt(void (*fn)(void));
bool pv_prompt_is_terminal(const struct pv_prompt *p);

#endif
