/* SPDX-License-Identifier: MIT */
/*
 * Findings in console bytes: each has a harmless headline of one line and a bounded excerpt, and they do not
 * depend on how the bytes are cut into pieces.  Input: u8 size of the pieces minus 1, then console bytes.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"
#include "vm/console.h"
#include "vm/findings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_harmless(const char *s, const char *also)
{
    for (; *s; s++)
        if (((unsigned char)*s < 0x20 && !strchr(also, *s)) || *s == 0x7f)
            abort();
}

static void on_finding(const struct pv_finding *f, void *arg)
{
    const size_t most = (PV_FINDING_HEAD_LINES + PV_FINDING_TAIL_LINES + 1) * (size_t)513;
    struct pv_buf *out = arg;

    if (f->kind >= PV_FINDING_KINDS || !*pv_finding_kind_name(f->kind) || !*f->headline ||
        strlen(f->headline) > PV_FINDING_HEADLINE || strlen(f->excerpt) > most)
        abort();
    if (f->follows && f->kind != PV_FINDING_PANIC)
        abort();
    check_harmless(f->headline, "");
    check_harmless(f->excerpt, "\n");
    pv_buf_addf(out, "%d %d %s\n%s\n", f->kind, f->follows, f->headline, f->excerpt);
}

static void feed_console(const uint8_t *data, size_t size, size_t piece, struct pv_buf *out)
{
    struct pv_console *c = pv_console_new(NULL, NULL);

    pv_console_read_findings(c, pv_findings_new(on_finding, out));
    for (size_t at = 0; at < size; at += piece)
        pv_console_feed(c, data + at, size - at < piece ? size - at : piece);
    pv_console_finish(c);
    pv_console_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_buf struct pv_buf whole = {0}, pieces = {0};

    if (size < 1)
        return 0;
    feed_console(data + 1, size - 1, SIZE_MAX / 2, &whole);
    feed_console(data + 1, size - 1, (size_t)*data + 1, &pieces);
    if (whole.len != pieces.len || (whole.len && memcmp(whole.data, pieces.data, whole.len) != 0))
        abort();
    return 0;
}
