/* SPDX-License-Identifier: MIT */
#include "testfile/live.h"

#include <string.h>

#include "testfile/builder-link.h"
#include "testfile/testfile.h"
#include "util/clock.h"
#include "util/mem.h"

enum { LINE_MAX_LEN = 4096, PIECE_MAX = 16 * 1024 };

#define QUIET (200 * PV_NSEC_PER_MSEC)

/* The begin of a line. */
struct tf_live_line {
    const void *source;
    enum pv_output kind;
    char vm[TF_NAME_MAX];
    struct pv_buf text;
    struct tf_live_line *next;
};

static void live_send(struct pv_testfile *tf, const char *vm, enum pv_output kind, const char *text)
{
    static const enum pv_live_kind kinds[] = {[PV_OUTPUT_CONSOLE] = PV_LIVE_CONSOLE,
                                              [PV_OUTPUT_COMMAND] = PV_LIVE_COMMAND,
                                              [PV_OUTPUT_STDOUT] = PV_LIVE_STDOUT,
                                              [PV_OUTPUT_STDERR] = PV_LIVE_STDERR};
    cleanup_free char *name = tf->builder ? pv_xasprintf("%s/%s", tf->builder->name, vm) : pv_xstrdup(vm);

    pv_result_live(tf->env->result, name, kinds[kind], text);
}

/* Sends the begins of lines of that source; NULL: all. */
static void live_flush(struct pv_testfile *tf, const void *source)
{
    for (struct tf_live_line **at = &tf->live.lines; *at;) {
        struct tf_live_line *l = *at;

        if (source && l->source != source) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        live_send(tf, l->vm, l->kind, l->text.data);
        pv_buf_free(&l->text);
        free(l);
    }
}

void pv_tf_live_flush(struct pv_testfile *tf)
{
    if (!tf->live.lines)
        return;
    pv_timer_cancel(tf->loop, &tf->live.quiet);
    live_flush(tf, NULL);
}

static void on_live_quiet(struct pv_timer *t)
{
    pv_tf_live_flush(PV_CONTAINER_OF(t, struct tf_live, quiet)->tf);
}

/* Moves the begin of the line of that source to the end of `text`, if there is one. */
static void live_take_begin(struct tf_live *live, const void *source, enum pv_output kind,
                            struct pv_buf *text)
{
    for (struct tf_live_line **at = &live->lines; *at; at = &(*at)->next) {
        struct tf_live_line *l = *at;

        if (l->source != source || l->kind != kind)
            continue;
        *at = l->next;
        pv_buf_add(text, l->text.data, l->text.len);
        pv_buf_free(&l->text);
        free(l);
        return;
    }
}

/* An event's text has no NUL. */
static void live_add(struct pv_buf *to, const char *data, size_t n)
{
    while (n) {
        const char *nul = memchr(data, '\0', n);
        size_t k = nul ? (size_t)(nul - data) : n;

        pv_buf_add(to, data, k);
        if (nul)
            pv_buf_adds(to, "\\x00");
        data += nul ? k + 1 : k;
        n -= nul ? k + 1 : k;
    }
}

/* The length of what is sent at once of text[n]: whole lines, or a piece of one that is too long; 0: nothing yet. */
static size_t live_piece(const char *text, size_t n)
{
    size_t most = n < PIECE_MAX ? n : PIECE_MAX;
    const char *end = memrchr(text, '\n', most);

    if (end)
        return (size_t)(end - text) + 1;
    return n >= LINE_MAX_LEN ? LINE_MAX_LEN : 0;
}

void pv_tf_live_output(const struct pv_guest *g, const void *source, enum pv_output kind, const void *data,
                       size_t n, void *arg)
{
    struct pv_testfile *tf = arg;
    cleanup_buf struct pv_buf text = {0};
    struct tf_live_line *l;
    char vm[TF_NAME_MAX];
    size_t at = 0, k;

    if (n == 0) {
        live_flush(tf, source);
        return;
    }
    pv_tf_short_name(g, vm);
    live_take_begin(&tf->live, source, kind, &text);
    live_add(&text, data, n);
    for (; (k = live_piece(text.data + at, text.len - at)); at += k) {
        cleanup_free char *piece = pv_xstrndup(text.data + at, k);

        live_send(tf, vm, kind, piece);
    }
    if (at == text.len)
        return;
    l = pv_xcalloc(1, sizeof(*l));
    *l = (struct tf_live_line){.source = source, .kind = kind, .next = tf->live.lines};
    memcpy(l->vm, vm, sizeof(vm));
    pv_buf_add(&l->text, text.data + at, text.len - at);
    tf->live.lines = l;
    tf->live.tf = tf;
    tf->live.quiet.fn = on_live_quiet;
    pv_timer_arm(tf->loop, &tf->live.quiet, pv_deadline(QUIET));
}
