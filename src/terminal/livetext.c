/* SPDX-License-Identifier: MIT */
#include "terminal/livetext.h"

#include <string.h>

#include "util/mem.h"
#include "util/text.h"

enum { ESC = 0x1b, BEL = 7 };

/* The length of the escape sequence at s[n], which begins with ESC. */
static size_t escape_length(const char *s, size_t n)
{
    size_t i = 2;

    if (n < 2)
        return n;
    if (s[1] == '[') {
        while (i < n && !(s[i] >= 0x40 && s[i] <= 0x7e))
            i++;
        return i < n ? i + 1 : n;
    }
    if (s[1] == ']' || s[1] == 'P' || s[1] == '_' || s[1] == '^') { /* up to BEL or ESC \\ */
        while (i < n && s[i] != BEL && s[i] != ESC)
            i++;
        return i + 1 < n && s[i] == ESC ? i + 2 : i < n ? i + 1 : n;
    }
    while (i - 1 < n && s[i - 1] >= 0x20 && s[i - 1] <= 0x2f) /* ESC ( B */
        i++;
    return i < n ? i : n;
}

static void line_clean(struct pv_buf *out, const char *s, size_t n)
{
    cleanup_buf struct pv_buf plain = {0};

    while (n) {
        const char *esc = memchr(s, ESC, n);
        size_t k = esc ? (size_t)(esc - s) : n;

        pv_buf_add(&plain, s, k);
        s += k;
        n -= k;
        k = n ? escape_length(s, n) : 0;
        s += k;
        n -= k;
    }
    if (plain.len)
        pv_text_clean(out, plain.data, plain.len, NULL);
}

static void line_add_prefix(struct pv_buf *out, const struct pv_livetext *t)
{
    static const char signs[] = {
        [PV_LIVE_CONSOLE] = '|', [PV_LIVE_COMMAND] = '$', [PV_LIVE_STDOUT] = '>', [PV_LIVE_STDERR] = '!'};

    if (t->color)
        pv_buf_adds(out, "\033[2m");
    if (t->file) {
        pv_text_clean(out, t->file, strlen(t->file), NULL);
        pv_buf_addc(out, ' ');
    }
    if (t->vm) {
        pv_text_clean(out, t->vm, strlen(t->vm), NULL);
        pv_buf_addc(out, ' ');
    }
    pv_buf_addc(out, t->vm ? signs[t->kind] : ':');
    pv_buf_adds(out, t->color ? "\033[0m " : " ");
}

void pv_livetext_add(struct pv_buf *out, const struct pv_livetext *t, const char *text, size_t n)
{
    size_t at = 0;

    while (at < n) {
        size_t k = 0, next;

        while (at + k < n && text[at + k] != '\n' && text[at + k] != '\r')
            k++;
        next = at + k;
        while (next < n && text[next] == '\r')
            next++;
        if (next < n && text[next] == '\n')
            next++;
        line_add_prefix(out, t);
        line_clean(out, text + at, k);
        pv_buf_addc(out, '\n');
        at = next;
    }
}
