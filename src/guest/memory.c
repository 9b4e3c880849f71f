/* SPDX-License-Identifier: MIT */
#include "guest/memory.h"

#include <inttypes.h>

#include "guest/call.h"

int pv_agent_mem_alloc(struct pv_agent *a, uint64_t size, bool shared, int64_t timeout_ns, uint64_t *address,
                       struct pv_err *err)
{
    struct pv_call c = {.ok = true};
    struct pv_enc e;

    if (pv_call_begin(a, &c, PV_MSG_MEM_ALLOC, "alloc", &e, err) < 0)
        return -1;
    pv_enc_u64(&e, size);
    pv_enc_u32(&e, shared ? PV_MEM_SHARED : 0);
    if (pv_call_finish(a, &c, &e, "alloc", timeout_ns, err) < 0)
        return -1;
    *address = c.value;
    return 0;
}

int pv_agent_mem_free(struct pv_agent *a, uint64_t address, int64_t timeout_ns, struct pv_err *err)
{
    struct pv_call c = {.ok = true};
    struct pv_enc e;

    if (pv_call_begin(a, &c, PV_MSG_MEM_FREE, "free", &e, err) < 0)
        return -1;
    pv_enc_u64(&e, address);
    return pv_call_finish(a, &c, &e, "free", timeout_ns, err);
}

struct read_call {
    struct pv_call c;
    struct pv_buf *out;
    size_t left;
};

static int read_frame(struct pv_call *c, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    struct read_call *r = PV_CONTAINER_OF(c, struct read_call, c);
    const void *p;
    size_t n;

    if (type != PV_MSG_DATA)
        return pv_call_unexpected(type, err);
    p = pv_dec_bytes(d, &n);
    if (!pv_dec_done(d) || n > r->left)
        return pv_err_set(err, PV_E_PROTOCOL,
                          "the agent sent a malformed data frame, or more than it was asked for");
    pv_buf_add(r->out, p, n);
    r->left -= n;
    return 0;
}

int pv_agent_mem_read(struct pv_agent *a, uint64_t address, size_t n, int64_t timeout_ns, struct pv_buf *out,
                      struct pv_err *err)
{
    struct read_call r = {.c = {.ok = true, .frame = read_frame}, .out = out, .left = n};
    struct pv_enc e;

    if (pv_call_begin(a, &r.c, PV_MSG_MEM_READ, "read_mem", &e, err) < 0)
        return -1;
    pv_enc_u64(&e, address);
    pv_enc_u64(&e, n);
    if (pv_call_finish(a, &r.c, &e, "read_mem", timeout_ns, err) < 0)
        return -1;
    if (r.left || r.c.value != n)
        return pv_err_set(err, PV_E_PROTOCOL, "read_mem: the agent sent %zu of %zu bytes", n - r.left, n);
    return 0;
}

int pv_agent_mem_write(struct pv_agent *a, uint64_t address, const void *data, size_t n, int64_t timeout_ns,
                       struct pv_err *err)
{
    struct pv_call_bytes b = {.c = {.ok = true, .next = pv_call_next_bytes, .open = true},
                              .type = PV_MSG_WDATA,
                              .data = data,
                              .left = n};
    struct pv_enc e;

    if (pv_call_begin(a, &b.c, PV_MSG_MEM_WRITE, "write_mem", &e, err) < 0)
        return -1;
    pv_enc_u64(&e, address);
    if (pv_call_finish(a, &b.c, &e, "write_mem", timeout_ns, err) < 0)
        return -1;
    if (b.c.value != n)
        return pv_err_set(err, PV_E_PROTOCOL, "write_mem: the agent says %" PRIu64 " of %zu bytes", b.c.value,
                          n);
    return 0;
}
