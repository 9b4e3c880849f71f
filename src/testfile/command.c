/* SPDX-License-Identifier: MIT */
#include "testfile/command.h"

#include <stdio.h>
#include <string.h>

#include "util/mem.h"
#include "util/spawn.h"

enum { STDERR_LINES = 3 };

/* The last lines of stderr; NUL bytes become '?'. */
static void command_keep_stderr(struct tf_command *c, const char *s, size_t n)
{
    unsigned lines = 0;
    size_t from;

    while (n && strchr(" \t\r\n", s[n - 1]))
        n--;
    for (from = n; from > 0 && n - from < sizeof(c->err) - 1; from--)
        if (s[from - 1] == '\n' && ++lines == STDERR_LINES)
            break;
    memcpy(c->err, s + from, n - from);
    c->err[n - from] = '\0';
    for (size_t i = 0; i < n - from; i++)
        if (c->err[i] == '\0')
            c->err[i] = '?';
}

void pv_tf_command_note(struct tf_command *c, const char *vm, const char *title, int code, bool timed_out,
                        const struct pv_buf *err)
{
    c->words[0] = '\0';
    if (code == 0 && !timed_out)
        return;
    snprintf(c->vm, sizeof(c->vm), "%s", vm);
    snprintf(c->title, sizeof(c->title), "%.*s%s", (int)sizeof(c->title) - 4, title,
             strlen(title) > sizeof(c->title) - 4 ? "..." : "");
    for (char *t = c->title; *t; t++) /* a shell script of several lines */
        if (*t == '\n')
            *t = ' ';
    pv_exit_words(code, timed_out, c->words);
    command_keep_stderr(c, err && err->data ? err->data : "", err && err->data ? err->len : 0);
}
