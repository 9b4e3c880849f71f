/* SPDX-License-Identifier: MIT */
#include "cli/page.h"

#include <stdbool.h>
#include <string.h>

#include "util/mem.h"

enum { COLUMNS = 78, CODE_INDENT = 4 };

struct printer {
    FILE *out;
    struct pv_buf fill; /* the paragraph, list item or cell that is being filled */
    int indent, hang;   /* of its first line, of the others */
    bool code, comment, table;
    bool blank; /* an empty line goes in front of what is next */
};

static void printer_gap(struct printer *p)
{
    if (p->blank)
        fputc('\n', p->out);
    p->blank = false;
}

/* The columns of a word: bytes that begin a character. */
static int word_columns(const char *s, size_t n)
{
    int columns = 0;

    for (size_t i = 0; i < n; i++)
        columns += ((unsigned char)s[i] & 0xc0) != 0x80;
    return columns;
}

static void printer_flush(struct printer *p)
{
    const char *s = p->fill.data;
    int at = p->indent;

    if (!p->fill.len)
        return;
    printer_gap(p);
    fprintf(p->out, "%*s", p->indent, "");
    for (bool first = true; *s; first = false) {
        size_t n = strcspn(s, " ");
        int columns = word_columns(s, n);

        if (!first && at + 1 + columns > COLUMNS) {
            fprintf(p->out, "\n%*s", p->hang, "");
            at = p->hang;
        } else if (!first) {
            fputc(' ', p->out);
            at++;
        }
        fwrite(s, 1, n, p->out);
        at += columns;
        s += n + strspn(s + n, " ");
    }
    fputc('\n', p->out);
    p->fill.len = 0;
}

/* Adds text without the addresses of links and the stars of bold type. */
static void printer_add(struct printer *p, const char *s, size_t n)
{
    bool code = false;

    if (p->fill.len)
        pv_buf_adds(&p->fill, " ");
    for (size_t i = 0; i < n; i++) {
        code ^= s[i] == '`';
        if (!code && s[i] == ']' && i + 1 < n && s[i + 1] == '(') {
            const char *end = memchr(s + i, ')', n - i);

            i = end ? (size_t)(end - s) : i;
        } else if (!code && s[i] == '*' && i + 1 < n && s[i + 1] == '*') {
            i++;
        } else if (code || (s[i] != '[' && !(s[i] == '!' && i + 1 < n && s[i + 1] == '['))) {
            pv_buf_add(&p->fill, s + i, 1);
        }
    }
    pv_buf_add(&p->fill, "", 1);
    p->fill.len--;
}

/* A row: its first cell, and below it the others. */
static void printer_row(struct printer *p, const char *s, size_t n)
{
    size_t at = 1;
    int cell = 0;

    printer_flush(p);
    while (at < n) {
        size_t end = at;

        while (end < n && (s[end] != '|' || s[end - 1] == '\\'))
            end++;
        cleanup_free char *text = pv_xstrndup(s + at, end - at);
        char *from = text + strspn(text, " "), *to = from;

        for (const char *c = from; *c; c++) /* \| stands for | */
            if (c[0] != '\\' || c[1] != '|')
                *to++ = *c;
        while (to > from && to[-1] == ' ')
            to--;
        if (to > from) {
            p->indent = p->hang = cell ? 8 : 4;
            printer_add(p, from, (size_t)(to - from));
            printer_flush(p);
        }
        cell++;
        at = end + 1;
    }
}

static void printer_line(struct printer *p, const char *s, size_t n)
{
    size_t spaces = 0;

    if (p->comment || (n >= 4 && !strncmp(s, "<!--", 4))) {
        p->comment = !(n >= 3 && !strncmp(s + n - 3, "-->", 3));
        return;
    }
    if (n >= 3 && !strncmp(s, "```", 3)) {
        printer_flush(p);
        p->code = !p->code;
        p->blank |= p->code;
        return;
    }
    if (p->code) {
        printer_gap(p);
        fprintf(p->out, "%*s%.*s\n", n ? CODE_INDENT : 0, "", (int)n, s);
        return;
    }
    while (spaces < n && s[spaces] == ' ')
        spaces++;
    if (spaces == n) {
        printer_flush(p);
        p->blank = true;
        p->table = false;
    } else if (s[0] == '|') {
        bool rule = strspn(s, "|-: ") >= n;

        if (!p->table || rule) /* the header and the line below it */
            p->table = true;
        else
            printer_row(p, s, n);
    } else if (s[0] == '#') {
        printer_flush(p);
        p->blank = true;
        printer_gap(p);
        fprintf(p->out, "%.*s\n", (int)n, s);
    } else if (spaces >= 4 && !p->fill.len) {
        printer_gap(p);
        fprintf(p->out, "%.*s\n", (int)n, s);
    } else if (s[spaces] == '-' && n > spaces + 1 && s[spaces + 1] == ' ') {
        printer_flush(p);
        p->indent = (int)spaces;
        p->hang = (int)spaces + 2;
        printer_add(p, s + spaces, n - spaces);
    } else {
        if (!p->fill.len)
            p->indent = p->hang = 0;
        printer_add(p, s + spaces, n - spaces);
    }
}

void pv_page_print(FILE *out, const char *text, size_t len)
{
    struct printer p = {.out = out};
    const char *end = text + len;

    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t n = (size_t)((newline ? newline : end) - text);

        printer_line(&p, text, n);
        text += n + 1;
    }
    printer_flush(&p);
    pv_buf_free(&p.fill);
}

/* Where the next heading of at most that level is in s, as an offset; len: none. */
static size_t heading(const char *s, size_t len, size_t from, size_t level)
{
    for (size_t at = from; at < len; at++)
        if ((at == 0 || s[at - 1] == '\n') && s[at] == '#') {
            size_t n = strspn(s + at, "#");

            if (n <= level && s[at + n] == ' ')
                return at;
        }
    return len;
}

const char *pv_page_entry(const struct pv_page *page, size_t *at, size_t *len)
{
    const char *s = (const char *)page->text;

    while ((*at = heading(s, page->len, *at, 3)) < page->len) {
        const char *entry = s + *at;

        *at = heading(s, page->len, *at + 1, 3);
        if (!strncmp(entry, "### `", 5)) {
            *len = (size_t)(s + *at - entry);
            return entry;
        }
    }
    return NULL;
}

char *pv_page_entry_name(const char *entry)
{
    return pv_xstrndup(entry + 5, strcspn(entry + 5, "(`"));
}
