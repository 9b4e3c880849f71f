/* SPDX-License-Identifier: MIT */
/* DMESG: the records of /dev/kmsg as the lines that dmesg(1) prints. */
#include "agent/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/util.h"

enum { RECORD_MAX = 16 * 1024, CHUNK = 32 * 1024, KLOG_READ_ALL = 3, KLOG_SIZE = 10, KLOG_MAX = 4 << 20 };

static void put_data(struct ag_session *s, const char *p, size_t n)
{
    struct pv_enc e = ag_begin(s, PV_MSG_DATA, PV_FRAME_HEADER + 8 + n);

    if (!n)
        return;
    pv_enc_u32(&e, s->id);
    pv_enc_bytes(&e, p, n);
    ag_end(s, &e);
    s->file.bytes += n;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/*
 * "6,339,5140900,-;text\n KEY=value\n" to "[    5.140900] text\n"; \xNN are bytes that could not be shown.
 * dst holds at least n + 64 bytes; returns how many were used.
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

/* Without the device: what syslog(2) gives at once, its "<6>" taken off. */
static void from_syslog(struct ag_session *s)
{
    int size = klogctl(KLOG_SIZE, NULL, 0);
    int n = size <= 0 ? 1 << 20 : size > KLOG_MAX ? KLOG_MAX : size;
    char *p = mmap(NULL, (size_t)n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int got = p == MAP_FAILED ? -1 : klogctl(KLOG_READ_ALL, p, n);
    int e = errno;

    if (got < 0) {
        ag_reply_error(s, s->id, e, "read the kernel log: no /dev/kmsg, and syslog(2)");
    } else {
        size_t len = 0, at = 0;

        for (size_t i = 0; i < (size_t)got; i++) { /* in place: it only gets shorter */
            bool line = i == 0 || p[i - 1] == '\n';
            char *close =
                line && p[i] == '<' ? memchr(p + i, '>', (size_t)got - i < 6 ? (size_t)got - i : 6) : NULL;

            if (close)
                i = (size_t)(close - p);
            else
                p[len++] = p[i];
        }
        /* Larger than what is otherwise queued, so it is sent as it goes. */
        for (; at < len && !s->dead; at += len - at < CHUNK ? len - at : CHUNK) {
            put_data(s, p + at, len - at < CHUNK ? len - at : CHUNK);
            while (!ag_data_room(s) && !s->dead)
                ag_flush(s, 1000);
        }
        ag_reply_ok(s, s->id, s->file.bytes);
    }
    if (p != MAP_FAILED)
        munmap(p, (size_t)n);
    ag_request_end(s);
}

void ag_kmsg_start(struct ag_session *s, uint32_t id)
{
    struct ag_file *f = &s->file;

    f->bytes = 0;
    f->fd = -1;
    s->req = AG_KMSG;
    s->id = id;
    ag_format(f->path, sizeof(f->path), "/dev/kmsg");
    if (s->w.dev_fd >= 0)
        f->fd = openat(s->w.dev_fd, "kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (f->fd < 0)
        f->fd = open(f->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (f->fd < 0)
        from_syslog(s);
    else
        ag_kmsg_more(s);
}

void ag_kmsg_more(struct ag_session *s)
{
    char record[RECORD_MAX], text[CHUNK + RECORD_MAX + 64];
    size_t len = 0;
    int e = 0;

    while (ag_data_room(s)) {
        ssize_t n = read(s->file.fd, record, sizeof(record));

        if (n > 0)
            len += format_record(text + len, record, (size_t)n);
        else if (n < 0 && errno != EINTR &&
                 errno != EPIPE) /* EPIPE: overwritten meanwhile, the next is there */
            e = errno;
        if (len >= CHUNK || e || n == 0) {
            put_data(s, text, len);
            len = 0;
        }
        if (e && e != EAGAIN)
            ag_reply_error(s, s->id, e, "read '%s'", s->file.path);
        else if (e || n == 0)
            ag_reply_ok(s, s->id, s->file.bytes);
        if (e || n == 0) {
            ag_request_end(s);
            return;
        }
    }
}
