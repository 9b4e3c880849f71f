/* SPDX-License-Identifier: MIT */
/* Commands, single files, and the small requests. */
#include "guest/call.h"

#include <inttypes.h>
#include <string.h>

#include "util/clock.h"

/* ---- exec ---- */

struct exec_call {
    struct pv_call_bytes in;
    struct pv_exec_result *r;
};

void pv_exec_result_fini(struct pv_exec_result *r)
{
    pv_buf_free(&r->out);
    pv_buf_free(&r->err);
}

static int on_exit_frame(struct pv_exec_result *r, struct pv_dec *d, struct pv_err *err)
{
    uint32_t code = pv_dec_u32(d), sig = pv_dec_u32(d), flags = pv_dec_u32(d);
    uint64_t duration = pv_dec_u64(d);

    if (!pv_dec_done(d) || code > 255 || sig > 64 || duration > INT64_MAX)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed EXIT");
    r->exit_code = (int)code;
    r->signal = (int)sig;
    r->timed_out = flags & PV_EXIT_TIMED_OUT;
    r->duration_ns = (int64_t)duration;
    return 1;
}

static int exec_frame(struct pv_call *c, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    struct exec_call *x = PV_CONTAINER_OF(c, struct exec_call, in.c);

    switch (type) {
    case PV_MSG_STDOUT:
        return pv_call_add_data(&x->r->out, d, err);
    case PV_MSG_STDERR:
        return pv_call_add_data(&x->r->err, d, err);
    case PV_MSG_EXIT:
        return on_exit_frame(x->r, d, err);
    default:
        return pv_call_unexpected(type, err);
    }
}

int pv_agent_exec(struct pv_agent *a, const struct pv_exec *x, struct pv_exec_result *r, struct pv_err *err)
{
    struct exec_call c = {
        .in = {.c = {.frame = exec_frame, .next = pv_call_next_bytes, .open = x->in != NULL},
               .type = PV_MSG_STDIN,
               .data = x->in,
               .left = x->in ? x->in_len : 0},
        .r = r,
    };
    struct pv_enc e;

    if (pv_call_check_command(x, "exec", err) < 0)
        return -1;
    if (pv_call_begin(a, &c.in.c, PV_MSG_EXEC, "exec", &e, err) < 0)
        return -1;
    pv_enc_u32(&e, (x->in ? PV_EXEC_STDIN : 0) | (x->unnumbered ? PV_EXEC_UNNUMBERED : 0));
    pv_enc_u64(&e, pv_wire_ms(x->timeout_ns));
    pv_enc_command(&e, a, x);
    return pv_call_finish(a, &c.in.c, &e, "exec", pv_call_limit(x->timeout_ns), err);
}

/* ---- what the guest sends as DATA ---- */

struct data_call {
    struct pv_call c;
    int (*sink)(void *arg, const void *data, size_t n);
    void *arg;
    uint64_t got;
    const char *what;
};

static int data_frame(struct pv_call *c, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    struct data_call *r = PV_CONTAINER_OF(c, struct data_call, c);
    const void *p;
    size_t n;

    if (type != PV_MSG_DATA)
        return pv_call_unexpected(type, err);
    p = pv_dec_bytes(d, &n);
    if (!pv_dec_done(d))
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed data frame");
    r->got += n;
    if (n && r->sink(r->arg, p, n) < 0)
        pv_err_set(&c->local, PV_E_HOST, "%s was given up by the host after %" PRIu64 " bytes", r->what,
                   r->got);
    return 0;
}

static int finish_data(struct pv_agent *a, struct data_call *r, struct pv_enc *e, int64_t timeout_ns,
                       struct pv_err *err)
{
    if (pv_call_finish(a, &r->c, e, r->what, timeout_ns, err) < 0)
        return -1;
    if (r->c.value != r->got)
        return pv_err_set(err, PV_E_PROTOCOL, "%s on %s: the agent says %" PRIu64 " bytes and sent %" PRIu64,
                          r->what, a->name, r->c.value, r->got);
    return 0;
}

int pv_agent_read_file_to(struct pv_agent *a, const char *path, int64_t timeout_ns,
                          int (*sink)(void *arg, const void *data, size_t n), void *arg, struct pv_err *err)
{
    cleanup_free char *what = pv_xasprintf("read_file '%s'", path);
    struct data_call r = {.c = {.ok = true, .frame = data_frame}, .sink = sink, .arg = arg, .what = what};
    struct pv_enc e;

    if (pv_call_check_path(path, err) < 0 || pv_call_begin(a, &r.c, PV_MSG_READ_FILE, what, &e, err) < 0)
        return -1;
    pv_enc_str(&e, path);
    return finish_data(a, &r, &e, timeout_ns, err);
}

enum { MAX_IN_MEMORY_GIB = 4 };

static int into_buf(void *arg, const void *data, size_t n)
{
    struct pv_buf *b = arg;

    /* More than this is taken for a guest that wants to fill the host's memory. */
    if (n > ((size_t)MAX_IN_MEMORY_GIB << 30) - b->len)
        return -1;
    pv_buf_add(b, data, n);
    return 0;
}

int pv_agent_read_file(struct pv_agent *a, const char *path, int64_t timeout_ns, struct pv_buf *out,
                       struct pv_err *err)
{
    return pv_agent_read_file_to(a, path, timeout_ns, into_buf, out, err);
}

int pv_agent_dmesg(struct pv_agent *a, int64_t timeout_ns, struct pv_buf *out, struct pv_err *err)
{
    struct data_call r = {
        .c = {.ok = true, .frame = data_frame}, .sink = into_buf, .arg = out, .what = "dmesg"};
    struct pv_enc e;

    if (pv_call_begin(a, &r.c, PV_MSG_DMESG, "dmesg", &e, err) < 0)
        return -1;
    return finish_data(a, &r, &e, timeout_ns, err);
}

/* ---- the others ---- */

int pv_agent_write_file(struct pv_agent *a, const char *path, const void *data, size_t n, uint32_t mode,
                        int64_t timeout_ns, struct pv_err *err)
{
    struct pv_call_bytes b = {.c = {.ok = true, .next = pv_call_next_bytes, .open = true},
                              .type = PV_MSG_WDATA,
                              .data = data,
                              .left = n};
    cleanup_free char *what = pv_xasprintf("write_file '%s'", path);
    struct pv_enc e;

    if (pv_call_check_path(path, err) < 0 || pv_call_begin(a, &b.c, PV_MSG_WRITE_FILE, what, &e, err) < 0)
        return -1;
    pv_enc_u32(&e, mode);
    pv_enc_str(&e, path);
    if (pv_call_finish(a, &b.c, &e, what, timeout_ns, err) < 0)
        return -1;
    if (b.c.value != n)
        return pv_err_set(err, PV_E_GUEST, "write_file '%s': only %" PRIu64 " of %zu bytes were written",
                          path, b.c.value, n);
    return 0;
}

int pv_agent_mount_vfs(struct pv_agent *a, int64_t timeout_ns, struct pv_err *err)
{
    struct pv_call c = {.ok = true};
    struct pv_enc e;

    if (pv_call_begin(a, &c, PV_MSG_MOUNT_VFS, "mount_vfs", &e, err) < 0)
        return -1;
    return pv_call_finish(a, &c, &e, "mount_vfs", timeout_ns, err);
}

int pv_agent_ask_shutdown(struct pv_agent *a, int64_t deadline, struct pv_err *err)
{
    struct pv_call c = {.ok = true};
    struct pv_enc e;
    int64_t left;

    if (pv_call_begin(a, &c, PV_MSG_SHUTDOWN, "shutdown", &e, err) < 0)
        return -1;
    pv_enc_u32(&e, PV_SHUTDOWN_POWEROFF);
    /* What is left for the machine itself once the agent has had its time. */
    left = deadline - pv_now() - 3 * PV_NSEC_PER_SEC;
    return pv_call_finish(a, &c, &e, "shutdown", left > 0 ? left : 1, err);
}

struct ping_call {
    struct pv_call c;
    const void *data;
    size_t n;
};

static int pong_frame(struct pv_call *c, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    const struct ping_call *ping = PV_CONTAINER_OF(c, struct ping_call, c);
    const void *p;
    size_t n;

    if (type != PV_MSG_PONG)
        return pv_call_unexpected(type, err);
    p = pv_dec_bytes(d, &n);
    if (!pv_dec_done(d) || n != ping->n || (n && memcmp(p, ping->data, n) != 0))
        return pv_err_set(err, PV_E_PROTOCOL, "the agent echoed other bytes than it was sent");
    return 1;
}

int pv_agent_ping(struct pv_agent *a, const void *data, size_t n, int64_t timeout_ns, struct pv_err *err)
{
    struct ping_call ping = {.c = {.frame = pong_frame}, .data = data, .n = n};
    struct pv_enc e;

    if (pv_call_begin(a, &ping.c, PV_MSG_PING, "ping", &e, err) < 0)
        return -1;
    pv_enc_bytes(&e, data, n);
    return pv_call_finish(a, &ping.c, &e, "ping", timeout_ns, err);
}
