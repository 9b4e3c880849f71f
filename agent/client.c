/* SPDX-License-Identifier: MIT */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { IN_CAP = 2 * (PV_FRAME_MAX + PV_FRAME_HEADER), SEND_MS = 30000 };

static uint8_t frame[PV_FRAME_MAX + PV_FRAME_HEADER];

int64_t cl_now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void cl_adopt(struct client *c, int fd)
{
    *c = (struct client){.fd = fd, .in = malloc(IN_CAP)};
    fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
}

bool cl_start(struct client *c, const char *agent)
{
    char number[16];
    uint32_t magic, version, pid;
    char release[128];
    int sv[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        return false;
    snprintf(number, sizeof(number), "%d", sv[1]);
    pid_t child = fork();
    if (child == 0) {
        for (int i = 3; i < 256; i++) /* whatever the test runner left open */
            if (i != sv[1])
                close(i);
        fcntl(sv[1], F_SETFD, 0);
        execl(agent, "provium-agent", "--fd", number, (char *)NULL);
        _exit(127);
    }
    close(sv[1]);
    cl_adopt(c, sv[0]);
    c->pid = child;
    if (cl_recv(c, 5000) != 1 || c->type != PV_MSG_READY)
        return false;
    magic = c->id; /* READY begins with no id */
    version = pv_dec_u32(&c->d);
    pid = pv_dec_u32(&c->d);
    pv_dec_str(&c->d, release, sizeof(release));
    return magic == PV_WIRE_MAGIC && version == PV_WIRE_VERSION && pid == (uint32_t)child && *release &&
           pv_dec_done(&c->d);
}

int cl_stop(struct client *c)
{
    int status = -1;

    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    free(c->in);
    c->in = NULL;
    for (int64_t due = cl_now_ms() + 30000; c->pid > 0;) {
        pid_t r = waitpid(c->pid, &status, WNOHANG);

        if (r != 0 || cl_now_ms() > due) {
            if (r == 0) {
                kill(c->pid, SIGKILL);
                waitpid(c->pid, NULL, 0);
                status = -1;
            }
            break;
        }
        usleep(1000);
    }
    c->pid = 0;
    return status;
}

void cl_send_raw(struct client *c, const void *data, size_t n)
{
    const uint8_t *p = data;

    for (int64_t due = cl_now_ms() + SEND_MS; n && cl_now_ms() < due;) {
        ssize_t r = send(c->fd, p, n, MSG_NOSIGNAL);

        if (r > 0) {
            p += r;
            n -= (size_t)r;
        } else if (errno == EAGAIN) {
            struct pollfd pf = {.fd = c->fd, .events = POLLOUT};
            poll(&pf, 1, 100);
        } else {
            return;
        }
    }
}

void cl_send(struct client *c, struct pv_enc *e)
{
    size_t n = pv_enc_end(e);

    cl_send_raw(c, e->p, n);
}

static bool take_frame(struct client *c)
{
    uint32_t n;

    if (c->tail - c->head < PV_FRAME_HEADER)
        return false;
    if (!pv_frame_header(c->in + c->head, &c->type, &n)) {
        c->type = 0;
        return true;
    }
    if (c->tail - c->head < PV_FRAME_HEADER + (size_t)n)
        return false;
    c->d = (struct pv_dec){.p = c->in + c->head + PV_FRAME_HEADER, .n = n};
    c->id = pv_dec_u32(&c->d);
    c->head += PV_FRAME_HEADER + n;
    return true;
}

int cl_recv(struct client *c, int ms)
{
    int64_t due = cl_now_ms() + ms;

    while (!take_frame(c)) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        int64_t left = due - cl_now_ms();

        if (left < 0)
            left = 0;
        if (poll(&p, 1, (int)left) <= 0)
            return -1;
        memmove(c->in, c->in + c->head, c->tail - c->head);
        c->tail -= c->head;
        c->head = 0;
        ssize_t n = recv(c->fd, c->in + c->tail, IN_CAP - c->tail, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return 0;
        if (n > 0)
            c->tail += (size_t)n;
    }
    return 1;
}

static struct pv_enc begin_request(unsigned type, uint32_t id)
{
    struct pv_enc e = {.p = frame, .cap = sizeof(frame)};

    pv_enc_begin(&e, type);
    pv_enc_u32(&e, id);
    return e;
}

static void put_str(struct pv_enc *e, const char *s)
{
    pv_enc_bytes(e, s, strlen(s));
}

static void put_list(struct pv_enc *e, const char *const *v)
{
    uint32_t n = 0;

    while (v[n])
        n++;
    pv_enc_u32(e, n);
    for (uint32_t i = 0; i < n; i++)
        put_str(e, v[i]);
}

bool cl_await_unread(struct client *c, int n)
{
    int64_t due = cl_now_ms() + CL_SOON;
    int have = 0;

    while (ioctl(c->fd, FIONREAD, &have) == 0 && have < n && cl_now_ms() < due)
        usleep(10000);
    return have >= n;
}

void cl_exec(struct client *c, uint32_t id, uint32_t flags, uint64_t timeout_ms, const char *cwd,
             const char *const *argv, const char *const *env)
{
    static const char *const path[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    struct pv_enc e = begin_request(PV_MSG_EXEC, id);

    pv_enc_u32(&e, flags);
    pv_enc_u64(&e, timeout_ms);
    put_str(&e, cwd);
    put_list(&e, argv);
    put_list(&e, env ? env : path);
    cl_send(c, &e);
}

void cl_sh(struct client *c, uint32_t id, uint32_t flags, uint64_t timeout_ms, const char *cmd)
{
    cl_exec(c, id, flags, timeout_ms, "", (const char *const[]){"/bin/sh", "-c", cmd, NULL}, NULL);
}

void cl_path(struct client *c, unsigned type, uint32_t id, const char *path)
{
    struct pv_enc e = begin_request(type, id);

    put_str(&e, path);
    if (type == PV_MSG_READ_FILE) {
        pv_enc_u64(&e, 0);
        pv_enc_u64(&e, PV_READ_ALL);
    }
    cl_send(c, &e);
}

void cl_read_part(struct client *c, uint32_t id, const char *path, uint64_t offset, uint64_t length)
{
    struct pv_enc e = begin_request(PV_MSG_READ_FILE, id);

    put_str(&e, path);
    pv_enc_u64(&e, offset);
    pv_enc_u64(&e, length);
    cl_send(c, &e);
}

void cl_write_begin(struct client *c, uint32_t id, uint32_t mode, const char *path)
{
    cl_write_flags(c, id, mode, 0, path);
}

void cl_write_flags(struct client *c, uint32_t id, uint32_t mode, uint32_t flags, const char *path)
{
    struct pv_enc e = begin_request(PV_MSG_WRITE_FILE, id);

    pv_enc_u32(&e, mode);
    pv_enc_u32(&e, flags);
    put_str(&e, path);
    cl_send(c, &e);
}

void cl_u64s(struct client *c, unsigned type, uint32_t id, const uint64_t *v, size_t n)
{
    struct pv_enc e = begin_request(type, id);

    for (size_t i = 0; i < n; i++)
        pv_enc_u64(&e, v[i]);
    cl_send(c, &e);
}

void cl_mem_alloc(struct client *c, uint32_t id, uint64_t size, uint32_t flags)
{
    struct pv_enc e = begin_request(PV_MSG_MEM_ALLOC, id);

    pv_enc_u64(&e, size);
    pv_enc_u32(&e, flags);
    cl_send(c, &e);
}

void cl_stat(struct client *c, uint32_t id, uint32_t follow, const char *path)
{
    struct pv_enc e = begin_request(PV_MSG_STAT, id);

    pv_enc_u32(&e, follow);
    put_str(&e, path);
    cl_send(c, &e);
}

void cl_file_op(struct client *c, uint32_t id, uint32_t op, uint32_t a, uint32_t b, const char *path,
                const char *other)
{
    struct pv_enc e = begin_request(PV_MSG_FILE_OP, id);

    pv_enc_u32(&e, op);
    pv_enc_u32(&e, a);
    pv_enc_u32(&e, b);
    put_str(&e, path);
    put_str(&e, other);
    cl_send(c, &e);
}

void cl_data(struct client *c, unsigned type, uint32_t id, const void *data, size_t n)
{
    struct pv_enc e = begin_request(type, id);

    pv_enc_bytes(&e, data, n);
    cl_send(c, &e);
}

void cl_id(struct client *c, unsigned type, uint32_t id)
{
    struct pv_enc e = begin_request(type, id);

    cl_send(c, &e);
}

void cl_u32(struct client *c, unsigned type, uint32_t id, uint32_t v)
{
    struct pv_enc e = begin_request(type, id);

    pv_enc_u32(&e, v);
    cl_send(c, &e);
}

void cl_syscall(struct client *c, uint32_t id, uint64_t timeout_ms, uint64_t nr, const uint64_t arg[6],
                const struct cl_buf *bufs, uint32_t n_bufs, const struct cl_ptr *ptrs, uint32_t n_ptrs)
{
    struct pv_enc e = begin_request(PV_MSG_SYSCALL, id);

    pv_enc_u64(&e, timeout_ms);
    pv_enc_u32(&e, 0);
    pv_enc_u64(&e, nr);
    for (int i = 0; i < 6; i++)
        pv_enc_u64(&e, arg ? arg[i] : 0);
    pv_enc_u32(&e, n_bufs);
    for (uint32_t i = 0; i < n_bufs; i++) {
        pv_enc_u32(&e, bufs[i].slot);
        pv_enc_bytes(&e, bufs[i].data, bufs[i].n);
    }
    pv_enc_u32(&e, n_ptrs);
    for (uint32_t i = 0; i < n_ptrs; i++) {
        pv_enc_u32(&e, ptrs[i].buf);
        pv_enc_u32(&e, ptrs[i].offset);
        pv_enc_u32(&e, ptrs[i].len);
        pv_enc_u32(&e, ptrs[i].flags);
        pv_enc_bytes(&e, ptrs[i].data, ptrs[i].n);
    }
    cl_send(c, &e);
}

void cl_job_start(struct client *c, uint32_t id, const char *cmd)
{
    struct pv_enc e = begin_request(PV_MSG_JOB_START, id);

    put_str(&e, "");
    put_list(&e, (const char *const[]){"/bin/sh", "-c", cmd, NULL});
    put_list(&e, (const char *const[]){"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL});
    cl_send(c, &e);
}

void cl_job_wait(struct client *c, uint32_t id, uint32_t job, uint64_t ms)
{
    struct pv_enc e = begin_request(PV_MSG_JOB_WAIT, id);

    pv_enc_u32(&e, job);
    pv_enc_u64(&e, ms);
    cl_send(c, &e);
}

void cl_entry(struct client *c, uint32_t id, uint32_t kind, uint32_t mode, const char *name,
              const char *target)
{
    struct pv_enc e = begin_request(PV_MSG_WENTRY, id);

    pv_enc_u32(&e, kind);
    pv_enc_u32(&e, mode);
    pv_enc_u64(&e, 0);
    put_str(&e, name);
    put_str(&e, target);
    cl_send(c, &e);
}

void cl_hole(struct client *c, uint32_t id, uint64_t n)
{
    struct pv_enc e = begin_request(PV_MSG_WHOLE, id);

    pv_enc_u64(&e, n);
    cl_send(c, &e);
}

/* ---- replies ---- */

static void append_bytes(struct cl_bytes *b, const void *p, size_t n)
{
    while (b->n + n > b->cap)
        b->p = realloc(b->p, b->cap = b->cap ? 2 * b->cap : 65536);
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
}

/* A frame that does not end the reply; false when it is another one. */
static bool take_part(struct client *c, struct cl_reply *a)
{
    size_t n;
    const void *p;

    switch (c->type) {
    case PV_MSG_DATA:
    case PV_MSG_STDOUT:
    case PV_MSG_STDERR:
        p = pv_dec_bytes(&c->d, &n);
        append_bytes(&a->data[c->type - PV_MSG_DATA], p, n);
        return true;
    case PV_MSG_ENTRY:
        append_bytes(&a->entries, c->d.p, c->d.n);
        return true;
    case PV_MSG_HOLE:
        a->holes += pv_dec_u64(&c->d);
        return true;
    default:
        return false;
    }
}

static void take_sysret(struct client *c, struct cl_reply *a)
{
    a->value = pv_dec_u64(&c->d);
    a->n_bufs = pv_dec_u32(&c->d);
    for (uint32_t i = 0; i < a->n_bufs && i < 4; i++) {
        size_t n;
        const void *p = pv_dec_bytes(&c->d, &n);

        append_bytes(&a->bufs[i], p, n);
    }
}

/* True when the frame ends the reply. */
static bool take_reply(struct client *c, struct cl_reply *a)
{
    if (take_part(c, a))
        return false;
    switch (c->type) {
    case PV_MSG_OK:
        a->value = pv_dec_u64(&c->d);
        break;
    case PV_MSG_ERROR:
        a->errnum = pv_dec_u32(&c->d);
        pv_dec_str(&c->d, a->text, sizeof(a->text));
        break;
    case PV_MSG_EXIT:
        a->code = pv_dec_u32(&c->d);
        a->signal = pv_dec_u32(&c->d);
        a->flags = pv_dec_u32(&c->d);
        a->duration = pv_dec_u64(&c->d);
        break;
    case PV_MSG_SYSRET:
        take_sysret(c, a);
        break;
    case PV_MSG_JOB:
        a->job = pv_dec_u32(&c->d);
        a->pid = pv_dec_u32(&c->d);
        break;
    case PV_MSG_JOB_STATE:
        a->running = pv_dec_u32(&c->d);
        a->code = pv_dec_u32(&c->d);
        a->signal = pv_dec_u32(&c->d);
        break;
    case PV_MSG_WORKER:
        a->port = pv_dec_u32(&c->d);
        a->pid = pv_dec_u32(&c->d);
        break;
    case PV_MSG_FILE_STAT:
        append_bytes(&a->entries, c->d.p, c->d.n);
        c->d.n = 0;
        break;
    default:
        return false;
    }
    a->type = pv_dec_done(&c->d) ? c->type : 0;
    return true;
}

/* STDIN that is being sent. */
struct feed {
    const uint8_t *p;
    size_t left;
    bool end_sent;
    uint8_t buf[PV_FRAME_HEADER + 8 + 65536];
    size_t head, tail;
};

static void feed_more(struct client *c, uint32_t id, struct feed *f)
{
    for (;;) {
        if (f->head == f->tail) {
            if (!f->p || f->end_sent)
                return;
            size_t n = f->left < 65536 ? f->left : 65536;
            struct pv_enc e = {.p = f->buf, .cap = sizeof(f->buf)};

            pv_enc_begin(&e, PV_MSG_STDIN);
            pv_enc_u32(&e, id);
            pv_enc_bytes(&e, f->p, n);
            f->head = 0;
            f->tail = pv_enc_end(&e);
            f->end_sent = n == 0;
            f->p += n;
            f->left -= n;
        }
        ssize_t r = send(c->fd, f->buf + f->head, f->tail - f->head, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (r <= 0)
            return;
        f->head += (size_t)r;
    }
}

void cl_reply(struct client *c, uint32_t id, const void *in, size_t n, int ms, struct cl_reply *a)
{
    struct feed *f = calloc(1, sizeof(*f));
    int64_t due = cl_now_ms() + ms;

    memset(a, 0, sizeof(*a));
    f->p = in;
    f->left = n;
    for (;;) {
        bool feeding = f->p && !(f->end_sent && f->head == f->tail);

        if (feeding)
            feed_more(c, id, f);
        int r = cl_recv(c, feeding ? 1 : (int)(due > cl_now_ms() ? due - cl_now_ms() : 0));

        if (r == 0)
            a->type = 1;
        if (r == 0 || (r < 0 && cl_now_ms() >= due) || (r == 1 && c->id == id && take_reply(c, a)))
            break;
    }
    free(f);
}

void cl_reply_free(struct cl_reply *a)
{
    for (int i = 0; i < 3; i++)
        free(a->data[i].p);
    for (int i = 0; i < 4; i++)
        free(a->bufs[i].p);
    free(a->entries.p);
    memset(a, 0, sizeof(*a));
}

const char *cl_agent;

int cl_setup(void **state)
{
    struct client *c = calloc(1, sizeof(*c));

    *state = c;
    return cl_start(c, cl_agent) ? 0 : -1;
}

int cl_teardown(void **state)
{
    struct client *c = *state;
    int status = cl_stop(c);

    free(c);
    return status;
}
