/* SPDX-License-Identifier: MIT */
/*
 * Loads the last bytes of each console log into a report, made printable, and maps the offsets of steps to
 * this text.  The bytes are a guest's: escape sequences are dropped, other control characters become text.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "childproto/result.h"
#include "report/report.h"
#include "util/text.h"

/* Length of the escape sequence at s, which begins with ESC. It ends before a newline at the latest. */
static size_t escape_len(const unsigned char *s, size_t n)
{
    size_t i = 2;

    if (n < 2 || s[1] == '\n')
        return 1;
    if (s[1] == '[') {
        while (i < n && s[i] >= 0x20 && s[i] < 0x40)
            i++;
        return i < n && s[i] >= 0x40 && s[i] < 0x7f ? i + 1 : i;
    }
    if (strchr("]PX^_", s[1])) {
        while (i < n && s[i] != '\n' && s[i] != '\a' && s[i] != 033)
            i++;
        return i < n && s[i] == '\a' ? i + 1 : i + 1 < n && s[i] == 033 && s[i + 1] == '\\' ? i + 2 : i;
    }
    if (strchr("()*+#%", s[1]))
        return n < 3 || s[2] == '\n' ? 2 : 3;
    return 2;
}

/* A step's offset in the log, which is replaced by an offset in the text. */
struct place {
    int64_t at;
    int64_t *where;
};

static int by_place(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    return x->at < y->at ? -1 : x->at > y->at;
}

/* `from` is the offset of s in the log. */
static void console_clean(struct pv_buf *out, const unsigned char *s, size_t n, int64_t from,
                          struct place *places, size_t n_places)
{
    size_t next = 0;

    for (size_t i = 0; i <= n;) {
        uint32_t cp = 0;
        size_t len = 1;

        while (next < n_places && places[next].at <= from + (int64_t)i)
            *places[next++].where = (int64_t)out->len;
        if (i == n)
            break;
        if (s[i] == 033) {
            len = escape_len(s + i, n - i);
        } else if (s[i] == '\n') {
            pv_buf_addc(out, '\n');
        } else if (s[i] == '\r') {
            /* kernels end lines with \r\n; a bare one would overwrite the line */
            if (i + 1 < n && s[i + 1] != '\n' && s[i + 1] != '\r' && out->len &&
                out->data[out->len - 1] != '\n')
                pv_buf_addc(out, '\n');
        } else {
            len = pv_text_utf8(s + i, n - i, &cp);
            len = len ? len : 1;
            pv_text_clean(out, (const char *)s + i, len, NULL);
        }
        i += len;
    }
    while (next < n_places) /* a step beyond the end of the log that was read */
        *places[next++].where = (int64_t)out->len;
}

static bool log_read_end(const char *path, size_t max, struct pv_buf *out, uint64_t *cut)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    size_t size;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    size = (size_t)st.st_size < max ? (size_t)st.st_size : max;
    *cut = (uint64_t)st.st_size - size;
    while (out->len < size) {
        ssize_t n =
            pread(fd, pv_buf_reserve(out, size - out->len), size - out->len, (off_t)(*cut + out->len));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        out->len += (size_t)n;
    }
    return true;
}

static void console_load(struct pv_file_report *f, const struct pv_console_log *log, size_t max)
{
    cleanup_free struct place *places = pv_xcalloc(2 * f->n_steps + 1, sizeof(*places));
    cleanup_buf struct pv_buf raw = {0}, text = {0};
    uint64_t cut = 0;
    size_t n = 0;

    if (!log_read_end(log->path, max, &raw, &cut))
        return;
    for (size_t i = 0; i < f->n_steps; i++) {
        struct pv_step_report *s = &f->steps[i];

        if (strcmp(s->vm, log->vm) != 0)
            continue;
        if (s->console_begin >= 0)
            places[n++] = (struct place){s->console_begin, &s->console_begin};
        if (s->console_end >= 0)
            places[n++] = (struct place){s->console_end, &s->console_end};
    }
    qsort(places, n, sizeof(*places), by_place);
    console_clean(&text, (const unsigned char *)raw.data, raw.len, (int64_t)cut, places, n);
    f->texts = pv_xrealloc(f->texts, (f->n_texts + 1) * sizeof(*f->texts));
    f->texts[f->n_texts++] = (struct pv_console_text){
        .vm = pv_xstrdup(log->vm), .text = pv_xstrdup(text.data ? text.data : ""), .cut = cut};
}

void pv_report_load_consoles(struct pv_file_report *f, size_t max)
{
    for (size_t i = 0; i < f->n_logs && f->n_texts < PV_CONSOLE_TEXTS_MAX; i++)
        if (!pv_is_network_log(f->logs[i].vm))
            console_load(f, &f->logs[i], max);
    for (size_t i = 0; i < f->n_steps; i++) {
        struct pv_step_report *s = &f->steps[i];
        bool there = false;

        for (size_t j = 0; j < f->n_texts && !there; j++)
            there = !strcmp(f->texts[j].vm, s->vm);
        if (!there)
            s->console_begin = s->console_end = -1;
    }
}
