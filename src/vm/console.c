/* SPDX-License-Identifier: MIT */
/*
 * Bytes go to the log and to the line assembler, which makes lines that are harmless for a terminal: it drops
 * escape sequences (a newline ends any of them, so that an unfinished one hides no more than its line), and
 * control bytes, broken UTF-8, C1 controls and bidirectional overrides become '?'.
 */
#include "vm/console.h"

#include <stdint.h>
#include <string.h>

#include "util/mem.h"
#include "vm/conlog.h"
#include "vm/findings.h"

enum { LINES = 64, LINE_MAX_BYTES = 512, TEXT_MAX = 400 };

enum escape {
    ESC_NONE,
    ESC_START,      /* after ESC */
    ESC_CSI,        /* ESC [ ... one byte of 0x40 to 0x7e ends it */
    ESC_STRING,     /* ESC ] P X ^ _ ... BEL or ESC \ ends it */
    ESC_STRING_END, /* ESC inside such a string */
    ESC_CHARSET     /* ESC ( ) * + # % and one more byte */
};

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
    bool cut;
};

struct pv_console {
    struct pv_conlog *log; /* borrowed; NULL: none */

    struct line lines[LINES];
    size_t n_lines; /* lines ever completed; the last LINES of them are kept */
    struct line now;
    bool cr_ended; /* a CR ended the last line, and only CRs followed */
    enum escape esc;
    unsigned char utf8[4];
    unsigned utf8_len, utf8_want;

    struct pv_findings *findings; /* owned; NULL: none */

    char *fatal_mark;
    char fatal[TEXT_MAX], panic[TEXT_MAX];
    bool panic_over;
};

struct pv_console *pv_console_new(struct pv_conlog *log, const char *fatal_mark)
{
    struct pv_console *c = pv_xcalloc(1, sizeof(*c));

    c->log = log;
    c->fatal_mark = fatal_mark ? pv_xstrdup(fatal_mark) : NULL;
    return c;
}

void pv_console_move_log(struct pv_console *c, struct pv_conlog *log)
{
    pv_conlog_move(c->log, log);
    c->log = log;
}

void pv_console_read_findings(struct pv_console *c, struct pv_findings *findings)
{
    pv_findings_free(c->findings);
    c->findings = findings;
}

void pv_console_settle_findings(struct pv_console *c)
{
    if (c->findings)
        pv_findings_flush(c->findings);
}

void pv_console_free(struct pv_console *c)
{
    if (!c)
        return;
    pv_conlog_end(c->log);
    pv_findings_free(c->findings);
    free(c->fatal_mark);
    free(c);
}

/* ---- panic and fatal lines ---- */

/*
 * The text behind `what` in the line if `what` begins a message: at the start, or right behind a kernel time
 * stamp ("] "), which may follow a prompt or a program's unfinished line.  NULL: it does not.
 */
static const char *message_find(const char *line, const char *what)
{
    const char *at = line;

    while ((at = strstr(at, what))) {
        if (at == line || (at - line >= 2 && at[-1] == ' ' && at[-2] == ']'))
            return at + strlen(what);
        at++;
    }
    return NULL;
}

static void text_set(char to[static TEXT_MAX], const char *text)
{
    size_t n = strlen(text);

    while (n && (text[n - 1] == ' ' || text[n - 1] == '\t'))
        n--;
    if (n >= TEXT_MAX) {
        n = TEXT_MAX - 1;
        while (n && ((unsigned char)text[n] & 0xc0) == 0x80) /* no half character */
            n--;
    }
    memcpy(to, text, n);
    to[n] = '\0';
}

static void line_read_hints(struct pv_console *c, const char *line)
{
    const char *text = message_find(line, "Kernel panic - not syncing: ");

    if (text && !c->panic[0])
        text_set(c->panic, *text ? text : "(no text)");
    if (c->panic[0] &&
        (message_find(line, "---[ end Kernel panic - not syncing") || message_find(line, "Rebooting in ")))
        c->panic_over = true;
    if (c->fatal_mark && !c->fatal[0] && (text = strstr(line, c->fatal_mark)))
        text_set(c->fatal, text + strlen(c->fatal_mark));
}

/* ---- lines ---- */

static void line_end(struct pv_console *c)
{
    c->now.text[c->now.len] = '\0';
    line_read_hints(c, c->now.text);
    if (c->findings)
        pv_findings_line(c->findings, c->now.text, c->now.len);
    c->lines[c->n_lines % LINES] = c->now;
    c->n_lines++;
    c->now.len = 0;
    c->now.cut = false;
}

/* Adds one character, or nothing where the line is full. */
static void line_add(struct pv_console *c, const void *ch, size_t n)
{
    if (c->now.len + n >= LINE_MAX_BYTES) {
        c->now.cut = true;
        return;
    }
    memcpy(c->now.text + c->now.len, ch, n);
    c->now.len += n;
}

static bool code_point_ok(const unsigned char *s, unsigned n)
{
    uint32_t v = s[0] & (0x7fU >> n);

    for (unsigned i = 1; i < n; i++)
        v = v << 6 | (s[i] & 0x3fU);
    if ((n == 2 && v < 0x80) || (n == 3 && v < 0x800) || (n == 4 && (v < 0x10000 || v > 0x10ffff)))
        return false; /* overlong, or beyond Unicode */
    if ((v >= 0xd800 && v <= 0xdfff) || (v >= 0x80 && v <= 0x9f))
        return false; /* surrogates; C1 controls, which terminals obey */
    return !((v >= 0x202a && v <= 0x202e) || (v >= 0x2066 && v <= 0x2069) || v == 0x200e || v == 0x200f);
}

/* Handles bytes of 0x80 and above.  True if b was consumed. */
static bool utf8_byte(struct pv_console *c, unsigned char b)
{
    if (c->utf8_want) {
        if ((b & 0xc0) != 0x80) { /* b starts a new sequence */
            line_add(c, "?", 1);
            c->utf8_want = 0;
            return b >= 0x80 ? utf8_byte(c, b) : false;
        }
        c->utf8[c->utf8_len++] = b;
        if (c->utf8_len < c->utf8_want)
            return true;
        if (code_point_ok(c->utf8, c->utf8_want))
            line_add(c, c->utf8, c->utf8_want);
        else
            line_add(c, "?", 1);
        c->utf8_want = 0;
        return true;
    }
    if (b < 0x80)
        return false;
    c->utf8_want = b >= 0xc2 && b <= 0xdf ? 2 : b >= 0xe0 && b <= 0xef ? 3 : b >= 0xf0 && b <= 0xf4 ? 4 : 0;
    c->utf8[0] = b;
    c->utf8_len = 1;
    if (!c->utf8_want)
        line_add(c, "?", 1);
    return true;
}

/* True while b belongs to an escape sequence. */
static bool escape_byte(struct pv_console *c, unsigned char b)
{
    switch (c->esc) {
    case ESC_NONE:
        if (b != 0x1b)
            return false;
        c->esc = ESC_START;
        return true;
    case ESC_START:
        if (b == '[')
            c->esc = ESC_CSI;
        else if (b && strchr("]PX^_", b))
            c->esc = ESC_STRING;
        else if (b && strchr("()*+#%", b))
            c->esc = ESC_CHARSET;
        else if (b != 0x1b)
            c->esc = ESC_NONE;
        return true;
    case ESC_CSI:
        if (b == 0x1b)
            c->esc = ESC_START;
        else if (b >= 0x40 && b <= 0x7e)
            c->esc = ESC_NONE;
        return true;
    case ESC_STRING:
        if (b == 0x07)
            c->esc = ESC_NONE;
        else if (b == 0x1b)
            c->esc = ESC_STRING_END;
        return true;
    case ESC_STRING_END:
        if (b != 0x1b)
            c->esc = b == '\\' ? ESC_NONE : ESC_STRING;
        return true;
    case ESC_CHARSET:
        c->esc = ESC_NONE;
        return true;
    }
    return false;
}

static void line_byte(struct pv_console *c, unsigned char b)
{
    if (b == '\n' || b == '\r') {
        if (c->utf8_want)
            line_add(c, "?", 1);
        c->utf8_want = 0;
        c->esc = ESC_NONE;
        /* A CR ends a line that has text, so that the text is not overwritten; the LF of a CR LF ends none. */
        if (b == '\n' ? !c->cr_ended : c->now.len > 0) {
            line_end(c);
            c->cr_ended = b == '\r';
        } else if (b == '\n') {
            c->cr_ended = false;
        }
        return;
    }
    c->cr_ended = false;
    if (escape_byte(c, b) || utf8_byte(c, b))
        return;
    if (b >= 0x20 && b != 0x7f)
        line_add(c, &b, 1);
    else if (b == '\t')
        line_add(c, " ", 1);
    else if (b)
        line_add(c, "?", 1);
}

void pv_console_feed(struct pv_console *c, const void *data, size_t n)
{
    const unsigned char *p = data;

    pv_conlog_feed(c->log, data, n);
    for (size_t i = 0; i < n; i++)
        line_byte(c, p[i]);
}

void pv_console_note(struct pv_console *c, const char *text, size_t n)
{
    pv_conlog_feed(c->log, text, n);
}

void pv_console_lost(struct pv_console *c, int n)
{
    if (c->findings)
        pv_findings_lost(c->findings, n);
}

void pv_console_finish(struct pv_console *c)
{
    if (c->now.len)
        line_end(c);
    if (c->findings)
        pv_findings_flush(c->findings);
    pv_conlog_end(c->log);
}

/* ---- accessors ---- */

void pv_console_tail(const struct pv_console *c, unsigned lines, struct pv_buf *out)
{
    unsigned partial = c->now.len ? 1 : 0;
    size_t kept = c->n_lines < LINES ? c->n_lines : LINES, from;

    if (!lines)
        return;
    if (kept > lines - partial)
        kept = lines - partial;
    from = c->n_lines - kept;
    for (size_t i = from; i < c->n_lines; i++) {
        const struct line *l = &c->lines[i % LINES];

        pv_buf_add(out, l->text, l->len);
        pv_buf_adds(out, l->cut ? "...\n" : "\n");
    }
    if (partial) {
        pv_buf_add(out, c->now.text, c->now.len);
        pv_buf_adds(out, c->now.cut ? "...\n" : "\n");
    }
}

const char *pv_console_fatal(const struct pv_console *c)
{
    return c->fatal[0] ? c->fatal : NULL;
}

const char *pv_console_panic(const struct pv_console *c)
{
    return c->panic[0] ? c->panic : NULL;
}

bool pv_console_panic_over(const struct pv_console *c)
{
    return c->panic_over;
}

void pv_console_forget(struct pv_console *c)
{
    c->fatal[0] = c->panic[0] = '\0';
    c->panic_over = false;
}
