/* SPDX-License-Identifier: MIT */
/* DMESG: the records of /dev/kmsg as the lines that dmesg(1) prints. */
#include "agent/verb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/util.h"

enum { RECORD_MAX = 16 * 1024, CHUNK = 32 * 1024, KLOG_READ_ALL = 3, KLOG_SIZE = 10, KLOG_MAX = 4 << 20 };

struct kmsg {
    int fd;
    uint64_t bytes;
};

AG_STATE(kmsg, kmsg_state)

static void send_text(struct ag_session *s, const char *p, size_t n)
{
    struct pv_enc e = ag_frame_begin(s, PV_MSG_DATA, PV_FRAME_HEADER + 8 + n);

    if (!n)
        return;
    pv_enc_u32(&e, s->id);
    pv_enc_bytes(&e, p, n);
    ag_frame_end(s, &e);
    kmsg_state(s)->bytes += n;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/*
 * Turns "6,339,5140900,-;text\n KEY=value\n" into "[    5.140900] text\n".  The kernel escapes unprintable
 * bytes as \xNN.  dst holds at least n + 64 bytes; returns how many were used.
 */
static size_t format_record(char *dst, const char *p, size_t n)
{
    const char *end = p + n, *text = memchr(p, ';', n);
    unsigned long long us = 0;
    size_t len = 0;

    if (!text)
        return 0;
    char head[64];
    size_t k = (size_t)(text - p) < sizeof(head) - 1 ? (size_t)(text - p) : sizeof(head) - 1;

    memcpy(head, p, k);
    head[k] = '\0';
    sscanf(head, "%*u,%*u,%llu", &us);
    len = (size_t)snprintf(dst, 64, "[%5llu.%06llu] ", us / 1000000, us % 1000000);
    for (p = text + 1; p < end && *p != '\n'; p++) {
        if (*p == '\\' && end - p >= 4 && p[1] == 'x' && hex(p[2]) >= 0 && hex(p[3]) >= 0) {
            dst[len++] = (char)(hex(p[2]) * 16 + hex(p[3]));
            p += 3;
        } else {
            dst[len++] = *p;
        }
    }
    dst[len++] = '\n';
    return len;
}

/* Removes "<6>" from the start of each line, in place; returns the new length. */
static size_t strip_levels(char *p, size_t n)
{
    size_t len = 0;

    for (size_t i = 0; i < n; i++) {
        bool begins = i == 0 || p[i - 1] == '\n';
        char *end = begins && p[i] == '<' ? memchr(p + i, '>', n - i < 6 ? n - i : 6) : NULL;

        if (end)
            i = (size_t)(end - p);
        else
            p[len++] = p[i];
    }
    return len;
}

/* For a guest without /dev/kmsg. */
static void reply_from_syslog(struct ag_session *s)
{
    int size = klogctl(KLOG_SIZE, NULL, 0);
    int n = size <= 0 ? 1 << 20 : size > KLOG_MAX ? KLOG_MAX : size;
    char *p = mmap(NULL, (size_t)n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int got = p == MAP_FAILED ? -1 : klogctl(KLOG_READ_ALL, p, n);
    int e = errno;

    if (got < 0) {
        ag_request_fail(s, e, "read the kernel log: no /dev/kmsg, and syslog(2)");
    } else {
        size_t len = strip_levels(p, (size_t)got);

        /* The log may be larger than the output buffer's room for data. */
        for (size_t at = 0; at < len && !s->dead; at += len - at < CHUNK ? len - at : CHUNK) {
            send_text(s, p + at, len - at < CHUNK ? len - at : CHUNK);
            while (!ag_data_room(s) && !s->dead)
                ag_reply_flush(s, 1000);
        }
        ag_reply_ok(s, s->id, kmsg_state(s)->bytes);
        ag_request_end(s);
    }
    if (p != MAP_FAILED)
        munmap(p, (size_t)n);
}

static void kmsg_more(struct ag_session *s, const struct pollfd *p)
{
    char record[RECORD_MAX], text[CHUNK + RECORD_MAX + 64];
    size_t len = 0;
    int e = 0;

    (void)p;
    while (ag_data_room(s)) {
        ssize_t n = read(kmsg_state(s)->fd, record, sizeof(record));

        if (n > 0)
            len += format_record(text + len, record, (size_t)n);
        else if (n < 0 && errno != EINTR && errno != EPIPE) /* EPIPE: records were overwritten, read on */
            e = errno;
        if (len >= CHUNK || e || n == 0) {
            send_text(s, text, len);
            len = 0;
        }
        if (e && e != EAGAIN)
            ag_reply_error(s, s->id, e, "read '/dev/kmsg'");
        else if (e || n == 0)
            ag_reply_ok(s, s->id, kmsg_state(s)->bytes);
        if (e || n == 0) {
            ag_request_end(s);
            return;
        }
    }
}

static bool kmsg_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    struct kmsg *k = kmsg_state(s);

    (void)id;
    if (!pv_dec_done(d))
        return false;
    *k = (struct kmsg){.fd = -1};
    if (s->w.dev_fd >= 0)
        k->fd = openat(s->w.dev_fd, "kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (k->fd < 0)
        k->fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (k->fd < 0)
        reply_from_syslog(s);
    else
        kmsg_more(s, NULL);
    return true;
}

static void kmsg_cancel(struct ag_session *s)
{
    ag_request_fail(s, ECANCELED, "read '/dev/kmsg'");
}

static void kmsg_close(struct ag_session *s)
{
    ag_close(&kmsg_state(s)->fd);
}

const struct ag_verb ag_verb_kmsg = {
    .message = PV_MSG_DMESG,
    .start = kmsg_start,
    .due = ag_due_with_room,
    .more = kmsg_more,
    .cancel = kmsg_cancel,
    .close = kmsg_close,
};
