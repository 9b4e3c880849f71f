/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "guest/agent.h"
#include "guest/guest-state.h"
#include "guest/guest.h"
#include "util/clock.h"
#include "util/err.h"

enum { KEY_MAX = 128, STAMP_MAX = 64 };

int pv_guest_kernel_log(struct pv_guest *g, struct pv_buf *out, struct pv_err *err)
{
    if (pv_guest_check_machine(g, "read the kernel's log", err) < 0)
        return -1;
    return pv_agent_dmesg(&g->agent, 10 * PV_NSEC_PER_SEC, out, err);
}

/* The console shows tabs as spaces, control bytes and broken characters as '?', and drops escape sequences. */
static bool byte_is_plain(char c)
{
    return c >= 0x20 && c < 0x7f;
}

static bool message_begins_as(const char *text, const char *end, const char *key)
{
    for (size_t i = 0; i < KEY_MAX && byte_is_plain(key[i]) && key[i] != '?'; i++) {
        if (text + i == end)
            return false;
        if (text[i] == key[i] || (text[i] == '\t' && key[i] == ' '))
            continue;
        return i && !byte_is_plain(text[i]);
    }
    return true;
}

/* The stamp of the log's first line in microseconds; false: it has none. */
static bool log_begin(const char *log, size_t n, uint64_t *us)
{
    char head[STAMP_MAX];
    unsigned long long s, frac;

    snprintf(head, sizeof(head), "%.*s", (int)(n < sizeof(head) ? n : sizeof(head) - 1), log);
    if (sscanf(head, "[%12llu.%6llu]", &s, &frac) != 2)
        return false;
    *us = s * 1000000 + frac;
    return true;
}

int pv_kernel_log_has(const char *log, size_t n, const char *first, uint64_t after_us, struct pv_err *err)
{
    const char *end = log + n, *next;
    uint64_t begin;

    for (const char *line = log; line < end; line = next) {
        const char *nl = memchr(line, '\n', (size_t)(end - line)), *stop = nl ? nl : end;
        const char *text = *line == '[' ? memchr(line, ']', (size_t)(stop - line)) : NULL;

        next = stop < end ? stop + 1 : end;
        if (message_begins_as(line, stop, first) ||
            (text && stop - text >= 2 && message_begins_as(text + 2, stop, first)))
            return 1;
    }
    if (!n || !log_begin(log, n, &begin))
        return pv_err_set(err, PV_E_GUEST, "the kernel's log has no time stamps");
    if (begin > after_us)
        return pv_err_set(err, PV_E_GUEST, "the kernel's log has lost its beginning (it starts at %.6f s)",
                          (double)begin / 1e6);
    return 0;
}
