/* SPDX-License-Identifier: MIT */
#include "util/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "util/mem.h"

size_t pv_text_utf8(const unsigned char *s, size_t n, uint32_t *cp)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

    if (len == 0 || len > n)
        return 0;
    *cp = len == 1 ? s[0] : s[0] & (0x7fU >> len);
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        *cp = *cp << 6 | (s[i] & 0x3f);
    }
    if (len > 1 && (*cp < least[len] || *cp > 0x10ffff || (*cp >= 0xd800 && *cp <= 0xdfff)))
        return 0;
    return len;
}

/* True for code points that print as themselves and do not reorder other text. */
static bool is_harmless(uint32_t cp)
{
    if (cp < 0x20)
        return cp == '\t';
    if (cp >= 0x7f && cp < 0xa0)
        return false;
    /* marks and embeddings that reorder text, line and paragraph separators, the BOM, tags */
    return !((cp >= 0x200b && cp <= 0x200f) || (cp >= 0x2028 && cp <= 0x202e) ||
             (cp >= 0x2060 && cp <= 0x206f) || cp == 0x61c || cp == 0xfeff ||
             (cp >= 0xe0000 && cp <= 0xe007f));
}

void pv_text_clean(struct pv_buf *out, const char *s, size_t n, const char *indent)
{
    const unsigned char *p = (const unsigned char *)s;

    while (indent && n && (s[n - 1] == '\n' || s[n - 1] == '\r'))
        n--;
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        size_t len = pv_text_utf8(p + i, n - i, &cp);

        if (len == 0) {
            pv_buf_addf(out, "\\x%02x", p[i]);
            len = 1;
        } else if (cp == '\n' && indent) {
            pv_buf_addc(out, '\n');
            pv_buf_adds(out, indent);
        } else if (cp == '\n') {
            pv_buf_adds(out, "\\n");
        } else if (cp == '\r' && indent && i + 1 < n && p[i + 1] == '\n') {
            /* a serial console ends its lines with \r\n */
        } else if (is_harmless(cp)) {
            pv_buf_add(out, p + i, len);
        } else if (cp < 0x80) {
            pv_buf_addf(out, "\\x%02x", cp);
        } else {
            pv_buf_addf(out, "\\u{%x}", cp);
        }
        i += len;
    }
}

size_t pv_text_clip(const char *s, size_t n, size_t max)
{
    size_t cut = max;

    if (n <= max)
        return n;
    while (cut > 0 && max - cut < 4 && ((unsigned char)s[cut] & 0xc0) == 0x80)
        cut--;
    return ((unsigned char)s[cut] & 0xc0) == 0x80 ? max : cut;
}

/*
 * The most columns that a code point takes.  Terminals and fonts differ in the width of many, so every code
 * point that may be wide counts as two, and a combining one at least as one: a line may be too short, never
 * too long.
 */
static unsigned max_width(uint32_t cp)
{
    if (cp == '\t')
        return 8;
    return cp < 0x1100 || (cp >= 0x2010 && cp < 0x2300) || (cp >= 0x2500 && cp < 0x25a0) ? 1 : 2;
}

unsigned pv_text_fit(struct pv_buf *out, const char *s, size_t n, unsigned cols)
{
    cleanup_buf struct pv_buf clean = {0};
    size_t fits = 0;
    unsigned used = 0, at_fit = 0;

    pv_text_clean(&clean, s, n, NULL);
    for (size_t i = 0; i < clean.len;) {
        uint32_t cp = 0;
        size_t len = pv_text_utf8((const unsigned char *)clean.data + i, clean.len - i, &cp);

        used += max_width(cp);
        if (used > cols)
            break;
        i += len;
        if (used < cols) { /* leaves a column for the ellipsis */
            fits = i;
            at_fit = used;
        }
    }
    if (used <= cols) {
        pv_buf_add(out, clean.data, clean.len);
        return used;
    }
    if (cols == 0)
        return 0;
    pv_buf_add(out, clean.data, fits);
    pv_buf_adds(out, "\xe2\x80\xa6");
    return at_fit + 1;
}

static bool is_plain_word(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=+,@%", *s))
            return false;
    return true;
}

void pv_text_shell(struct pv_buf *out, const char *s)
{
    if (is_plain_word(s)) {
        pv_buf_adds(out, s);
        return;
    }
    pv_buf_addc(out, '\'');
    for (; *s; s++)
        if (*s == '\'')
            pv_buf_adds(out, "'\\''");
        else
            pv_buf_addc(out, *s);
    pv_buf_addc(out, '\'');
}
