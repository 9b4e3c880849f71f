/* SPDX-License-Identifier: MIT */
#include "child/tail.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/mem.h"
#include "util/path.h"

enum { READ_MAX = 8192 };

enum escape { ESC_NONE, ESC_START, ESC_CSI, ESC_STRING, ESC_STRING_END, ESC_ONE_MORE };

/* The state of an escape sequence after c. */
static enum escape escape_next(enum escape e, unsigned char c)
{
    switch (e) {
    case ESC_NONE:
        return c == 0x1b ? ESC_START : ESC_NONE;
    case ESC_START:
    case ESC_STRING_END:
        if (c == '[')
            return ESC_CSI;
        if (c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_')
            return ESC_STRING;
        return c == '(' || c == ')' || c == '*' || c == '+' || c == '#' || c == '%' ? ESC_ONE_MORE
               : c == 0x1b                                                          ? ESC_START
                                                                                    : ESC_NONE;
    case ESC_CSI:
        return c >= 0x40 && c <= 0x7e ? ESC_NONE : c == 0x1b ? ESC_START : ESC_CSI;
    case ESC_STRING:
        return c == '\a' ? ESC_NONE : c == 0x1b ? ESC_STRING_END : ESC_STRING;
    case ESC_ONE_MORE:
        break;
    }
    return ESC_NONE;
}

void pv_tail_strip(struct pv_buf *out, const char *s, size_t n)
{
    enum escape e = ESC_NONE;

    for (size_t i = 0; i < n; i++) {
        enum escape was = e;

        if (s[i] == '\n') {
            e = ESC_NONE;
            pv_buf_addc(out, '\n');
            continue;
        }
        e = escape_next(e, (unsigned char)s[i]);
        if (was == ESC_NONE && e == ESC_NONE)
            pv_buf_addc(out, s[i]);
    }
}

static int64_t file_age(const struct stat *st)
{
    int64_t age = pv_wall_now() - pv_timespec_ns(&st->st_mtim);

    return age < 0 ? 0 : age;
}

int pv_tail_of_log(const char *path, unsigned lines, struct pv_buf *out, int64_t *age_ns)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char buf[READ_MAX];
    struct stat st;
    ssize_t n;
    size_t from;
    unsigned seen = 0;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return -1;
    if (age_ns)
        *age_ns = file_age(&st);
    n = pv_pread_all(fd, buf, sizeof(buf), st.st_size > READ_MAX ? st.st_size - READ_MAX : 0);
    while (n > 0 && (buf[n - 1] == '\n' || buf[n - 1] == '\r' || buf[n - 1] == '\0'))
        n--;
    if (n <= 0)
        return 0;
    for (from = (size_t)n; from > 0; from--)
        if (buf[from - 1] == '\n' && ++seen == lines)
            break;
    pv_tail_strip(out, buf + from, (size_t)n - from);
    return 0;
}

/* Returns the end of the character at raw, for which `shown` has a '?'. */
static const char *skip_character(const char *raw)
{
    if ((unsigned char)*raw++ < 0x80)
        return raw;
    while (((unsigned char)*raw & 0xc0) == 0x80)
        raw++;
    return raw;
}

bool pv_tail_same(const char *shown, const char *raw)
{
    while (*shown && *raw) {
        if (raw[0] == '\r' && raw[1] == '\n') {
            raw++;
        } else if (*shown == *raw) {
            shown++;
            raw++;
        } else if (*shown == '?') {
            shown++;
            raw = skip_character(raw);
        } else {
            return false;
        }
    }
    return strspn(shown, "\r\n") == strlen(shown) && strspn(raw, "\r\n") == strlen(raw);
}
