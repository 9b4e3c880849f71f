/* SPDX-License-Identifier: MIT */
/*
 * Two spools, because an offset must mean one byte: a reader of text searches and splits it without having to
 * translate.
 */
#include "guest/recording.h"

#include <stdbool.h>
#include <string.h>

#include "util/mem.h"
#include "util/spool.h"

struct pv_recording {
    struct pv_spool *text, *raw;
    size_t crs;                                         /* at the end: CRs that are not in `text` yet */
    bool inside;                                        /* the last byte was no LF */
    void (*tap)(const void *data, size_t n, void *arg); /* NULL: none */
    void *tap_arg;
};

struct pv_recording *pv_recording_new(const char *dir)
{
    struct pv_recording *r = pv_xcalloc(1, sizeof(*r));

    r->text = pv_spool_new(dir, 0, 0);
    r->raw = pv_spool_new(dir, 0, 0);
    return r;
}

void pv_recording_tap(struct pv_recording *r, void (*fn)(const void *data, size_t n, void *arg), void *arg)
{
    r->tap = fn;
    r->tap_arg = arg;
}

void pv_recording_free(struct pv_recording *r)
{
    if (!r)
        return;
    pv_spool_unref(r->text);
    pv_spool_unref(r->raw);
    free(r);
}

static void text_add(struct pv_recording *r, const void *data, size_t n)
{
    pv_spool_add(r->text, data, n);
    if (r->tap)
        r->tap(data, n, r->tap_arg);
}

/* Tells the tap of all that is in `text`, which another recording has recorded. */
static void text_tell(const struct pv_recording *r, struct pv_spool *text)
{
    struct pv_reader reader = {.spool = pv_spool_ref(text)};
    cleanup_buf struct pv_buf all = {0};

    if (r->tap)
        pv_reader_take(&reader, pv_spool_end(text), &all);
    if (all.len)
        r->tap(all.data, all.len, r->tap_arg);
    pv_reader_close(&reader);
}

void pv_recording_flush(struct pv_recording *r)
{
    for (; r->crs; r->crs--)
        text_add(r, "\r", 1);
}

void pv_recording_add(struct pv_recording *r, const void *data, size_t n)
{
    const char *p = data, *end = p + n;

    if (!n)
        return;
    pv_spool_add(r->raw, data, n);
    r->inside = end[-1] != '\n';
    while (p < end) {
        const char *cr;

        if (*p == '\n')
            r->crs = 0;
        else if (*p != '\r')
            pv_recording_flush(r);
        cr = memchr(p, '\r', (size_t)(end - p));
        text_add(r, p, (size_t)((cr ? cr : end) - p));
        r->crs += cr != NULL;
        p = cr ? cr + 1 : end;
    }
}

void pv_recording_mark(struct pv_recording *r, const char *what)
{
    cleanup_free char *line = pv_xasprintf("%s[provium: %s]\n", r->inside ? "\n" : "", what);

    pv_recording_add(r, line, strlen(line));
}

void pv_recording_append(struct pv_recording *r, struct pv_recording *from)
{
    pv_recording_flush(from);
    pv_recording_flush(r);
    pv_spool_append(r->raw, from->raw);
    pv_spool_append(r->text, from->text);
    text_tell(r, from->text);
    r->inside = from->inside;
}

struct pv_spool *pv_recording_text(const struct pv_recording *r)
{
    return r->text;
}

struct pv_spool *pv_recording_raw(const struct pv_recording *r)
{
    return r->raw;
}
