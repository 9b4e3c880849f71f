/* SPDX-License-Identifier: MIT */
/* Single files, and the kernel log, which the agent sends as a file. */
#include "guest/call.h"

#include <inttypes.h>

struct data_call {
    struct pv_call c;
    int (*sink)(void *arg, const void *data, size_t n);
    void *arg;
    uint64_t got, max;
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
    if (r->got > r->max)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent more bytes than it was asked for");
    if (n && r->sink(r->arg, p, n) < 0)
        pv_err_set(&c->local, PV_E_HOST, "%s was given up by the host after %" PRIu64 " bytes", r->what,
                   r->got);
    return 0;
}

static int data_finish(struct pv_agent *a, struct data_call *r, struct pv_enc *e, int64_t timeout_ns,
                       struct pv_err *err)
{
    if (pv_call_finish(a, &r->c, e, r->what, timeout_ns, err) < 0)
        return -1;
    if (r->c.value != r->got)
        return pv_err_set(err, PV_E_PROTOCOL, "%s on %s: the agent says %" PRIu64 " bytes and sent %" PRIu64,
                          r->what, a->name, r->c.value, r->got);
    return 0;
}

int pv_agent_read_part_to(struct pv_agent *a, const struct pv_file_part *part, int64_t timeout_ns,
                          int (*sink)(void *arg, const void *data, size_t n), void *arg, struct pv_err *err)
{
    cleanup_free char *what = pv_xasprintf("read_file '%s'", part->path);
    struct data_call r = {
        .c = {.ok = true, .frame = data_frame}, .sink = sink, .arg = arg, .max = part->length, .what = what};
    struct pv_enc e;

    if (pv_call_check_path(part->path, err) < 0 ||
        pv_call_begin(a, &r.c, PV_MSG_READ_FILE, what, &e, err) < 0)
        return -1;
    pv_enc_str(&e, part->path);
    pv_enc_u64(&e, part->offset);
    pv_enc_u64(&e, part->length);
    return data_finish(a, &r, &e, timeout_ns, err);
}

int pv_agent_read_file_to(struct pv_agent *a, const char *path, int64_t timeout_ns,
                          int (*sink)(void *arg, const void *data, size_t n), void *arg, struct pv_err *err)
{
    const struct pv_file_part whole = {.path = path, .length = PV_READ_ALL};

    return pv_agent_read_part_to(a, &whole, timeout_ns, sink, arg, err);
}

static int data_into_buf(void *arg, const void *data, size_t n)
{
    struct pv_buf *b = arg;

    if (n > PV_MAX_FILE - b->len)
        return -1;
    pv_buf_add(b, data, n);
    return 0;
}

int pv_agent_read_file(struct pv_agent *a, const char *path, int64_t timeout_ns, struct pv_buf *out,
                       struct pv_err *err)
{
    return pv_agent_read_file_to(a, path, timeout_ns, data_into_buf, out, err);
}

int pv_agent_dmesg(struct pv_agent *a, int64_t timeout_ns, struct pv_buf *out, struct pv_err *err)
{
    struct data_call r = {.c = {.ok = true, .frame = data_frame},
                          .sink = data_into_buf,
                          .arg = out,
                          .max = UINT64_MAX,
                          .what = "dmesg"};
    struct pv_enc e;

    if (pv_call_begin(a, &r.c, PV_MSG_DMESG, "dmesg", &e, err) < 0)
        return -1;
    return data_finish(a, &r, &e, timeout_ns, err);
}

int pv_agent_write_file(struct pv_agent *a, const char *path, const void *data, size_t n, uint32_t mode,
                        uint32_t flags, int64_t timeout_ns, struct pv_err *err)
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
    pv_enc_u32(&e, flags);
    pv_enc_str(&e, path);
    if (pv_call_finish(a, &b.c, &e, what, timeout_ns, err) < 0)
        return -1;
    if (b.c.value != n)
        return pv_err_set(err, PV_E_GUEST, "write_file '%s': only %" PRIu64 " of %zu bytes were written",
                          path, b.c.value, n);
    return 0;
}
