/* SPDX-License-Identifier: MIT */
/*
 * Allocation that never returns NULL, cleanup attributes for locals, a byte buffer and a string list.
 *
 * Running out of memory aborts the process: one test file's process, not the run.  Callers check a size
 * that a peer chose against a hard maximum first.
 *
 * cleanup_* attributes run when a scope is left by return, break, goto or its end.  They do NOT run on a
 * longjmp, so no cleanup_* variable may be live across a call that can raise a Lua error.
 *
 *     cleanup_free char *path = pv_xasprintf("%s/x", dir);
 *     cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
 *     ...
 *     return pv_steal_fd(&fd);                                     the caller owns it now
 */
#ifndef PV_UTIL_MEM_H
#define PV_UTIL_MEM_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

/* "provium: out of memory" on standard error, and SIGABRT: for a library that says that it has none. */
__attribute__((noreturn)) void pv_out_of_memory(void);

void *pv_xmalloc(size_t n);
void *pv_xcalloc(size_t n, size_t size);
void *pv_xrealloc(void *p, size_t n);
/*
 * Room for one more element of `size` bytes in an array that has n and was grown by nothing else. Its room doubles: only
 * every so often is it moved.
 */
void *pv_xgrow(void *p, size_t n, size_t size);
char *pv_xstrdup(const char *s);
char *pv_xstrndup(const char *s, size_t n);
char *pv_xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *pv_xvasprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

static inline void pv_cleanup_free(void *p)
{
    free(*(void **)p);
}

void pv_cleanup_close(int *fd);

static inline void pv_cleanup_file(FILE **f)
{
    if (*f)
        fclose(*f);
}

#define cleanup_free __attribute__((cleanup(pv_cleanup_free)))
#define cleanup_close __attribute__((cleanup(pv_cleanup_close)))
#define cleanup_file __attribute__((cleanup(pv_cleanup_file)))

/* Returns the value and leaves NULL (pv_steal_fd: -1), so that no cleanup touches it. */
static inline void *pv_steal_raw(void *pp)
{
    void *p = *(void **)pp;
    *(void **)pp = NULL;
    return p;
}
#define pv_steal(pp) ((__typeof__(*(pp)))pv_steal_raw(pp))

static inline int pv_steal_fd(int *fd)
{
    int v = *fd;
    *fd = -1;
    return v;
}

/* Closes *fd unless it is -1 and sets it to -1; keeps errno. */
void pv_close(int *fd);

#define PV_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define PV_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/*
 * A growable byte buffer.  Zero-initialised is empty and valid.  data is NULL before the first addition,
 * then NUL-terminated behind len (the NUL is not counted).
 */
struct pv_buf {
    char *data;
    size_t len, cap;
};

void pv_buf_free(struct pv_buf *b); /* frees the bytes, leaves an empty buffer */
/* Makes room for n more bytes and returns the end of the data; the caller fills them and adds to len. */
char *pv_buf_reserve(struct pv_buf *b, size_t n);
void pv_buf_add(struct pv_buf *b, const void *data, size_t n);
void pv_buf_adds(struct pv_buf *b, const char *s);
void pv_buf_addc(struct pv_buf *b, char c);
void pv_buf_addf(struct pv_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Drops the first n bytes. */
void pv_buf_consume(struct pv_buf *b, size_t n);
#define cleanup_buf __attribute__((cleanup(pv_buf_free)))

/* A NULL-terminated list that owns its strings.  Zero-initialised is empty. */
struct pv_strv {
    char **v; /* NULL while empty */
    size_t n;
};

void pv_strv_free(struct pv_strv *s);
void pv_strv_add(struct pv_strv *s, const char *str);
void pv_strv_addf(struct pv_strv *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Adds str itself, which the list frees. */
void pv_strv_take(struct pv_strv *s, char *str);
#define cleanup_strv __attribute__((cleanup(pv_strv_free)))

#endif
