/* SPDX-License-Identifier: MIT */
#include "util/mem.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

void pv_out_of_memory(void)
{
    static const char msg[] = "provium: out of memory\n";

    if (write(2, msg, sizeof(msg) - 1) < 0)
        _exit(3);
    abort();
}

static void *or_die(void *p, size_t n)
{
    if (!p && n)
        pv_out_of_memory();
    return p;
}

void *pv_xmalloc(size_t n)
{
    return or_die(malloc(n ? n : 1), 1);
}

void *pv_xcalloc(size_t n, size_t size)
{
    return or_die(calloc(n ? n : 1, size ? size : 1), 1);
}

void *pv_xrealloc(void *p, size_t n)
{
    return or_die(realloc(p, n ? n : 1), 1);
}

void *pv_xgrow(void *p, size_t n, size_t size)
{
    if ((n & (n - 1)) != 0)
        return p;
    return or_die(reallocarray(p, n ? 2 * n : 1, size), 1); /* 0 and powers of two: the room is used up */
}

char *pv_xstrdup(const char *s)
{
    return or_die(strdup(s), 1);
}

char *pv_xstrndup(const char *s, size_t n)
{
    return or_die(n ? strndup(s, n) : strdup(""), 1); /* with n == 0, s may be NULL */
}

char *pv_xvasprintf(const char *fmt, va_list ap)
{
    char *s = NULL;

    if (vasprintf(&s, fmt, ap) < 0)
        s = NULL;
    return or_die(s, 1);
}

char *pv_xasprintf(const char *fmt, ...)
{
    va_list ap;
    char *s;

    va_start(ap, fmt);
    s = pv_xvasprintf(fmt, ap);
    va_end(ap);
    return s;
}

void pv_close(int *fd)
{
    int saved = errno;

    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
}

void pv_cleanup_close(int *fd)
{
    pv_close(fd);
}

void pv_buf_free(struct pv_buf *b)
{
    free(b->data);
    *b = (struct pv_buf){0};
}

char *pv_buf_reserve(struct pv_buf *b, size_t n)
{
    size_t need = b->len + n + 1;

    if (need < n) /* overflow */
        or_die(NULL, 1);
    if (need > b->cap) {
        size_t cap = b->cap < 128 ? 128 : b->cap;

        while (cap < need)
            cap = cap > need / 2 ? cap * 2 : need;
        b->data = pv_xrealloc(b->data, cap);
        b->cap = cap;
    }
    return b->data + b->len;
}

void pv_buf_add(struct pv_buf *b, const void *data, size_t n)
{
    char *to = pv_buf_reserve(b, n);

    if (n)
        memcpy(to, data, n);
    b->len += n;
    b->data[b->len] = '\0';
}

void pv_buf_adds(struct pv_buf *b, const char *s)
{
    pv_buf_add(b, s, strlen(s));
}

void pv_buf_addc(struct pv_buf *b, char c)
{
    pv_buf_add(b, &c, 1);
}

void pv_buf_addf(struct pv_buf *b, const char *fmt, ...)
{
    cleanup_free char *s = NULL;
    va_list ap;

    va_start(ap, fmt);
    s = pv_xvasprintf(fmt, ap);
    va_end(ap);
    pv_buf_adds(b, s);
}

void pv_buf_consume(struct pv_buf *b, size_t n)
{
    if (n >= b->len) {
        b->len = 0;
    } else {
        memmove(b->data, b->data + n, b->len - n);
        b->len -= n;
    }
    if (b->data)
        b->data[b->len] = '\0';
}

void pv_strv_free(struct pv_strv *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->v[i]);
    free(s->v);
    *s = (struct pv_strv){0};
}

void pv_strv_take(struct pv_strv *s, char *str)
{
    s->v = pv_xrealloc(s->v, (s->n + 2) * sizeof(*s->v));
    s->v[s->n++] = str;
    s->v[s->n] = NULL;
}

void pv_strv_add(struct pv_strv *s, const char *str)
{
    pv_strv_take(s, pv_xstrdup(str));
}

void pv_strv_addf(struct pv_strv *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    pv_strv_take(s, pv_xvasprintf(fmt, ap));
    va_end(ap);
}
