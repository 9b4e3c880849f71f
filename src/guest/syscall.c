/* SPDX-License-Identifier: MIT */
/* Raw system calls: the request is checked here, the reply against the request. */
#include "guest/call.h"
#include "guest/kcov.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "util/clock.h"

enum {
    SLOTS = 6,
    POINTER = 8, /* bytes of a stored address */
    /* u32 id, u64 timeout, u64 nr, 6 x u64, u32 n, u32 m; and what each buffer and pointer adds. */
    REQUEST_FIXED = 4 + 8 + 4 + 8 + SLOTS * 8 + 4 + 4,
    REQUEST_BUF = 8,
    REQUEST_PTR = 20,
    REPLY_FIXED = 4 + 8 + 4,
    REPLY_BUF = 4,
};

struct syscall_call {
    struct pv_call c;
    const struct pv_syscall *call;
    const struct pv_guest *g;
    struct pv_sysret *r;
};

void pv_sysret_fini(struct pv_sysret *r)
{
    for (size_t i = 0; i < r->n_out; i++)
        pv_buf_free(&r->out[i]);
    free(r->out);
    *r = (struct pv_sysret){0};
}

static int syscall_check_ptr(const struct pv_syscall *c, size_t i, struct pv_err *err)
{
    const struct pv_sys_ptr *p = &c->ptrs[i];
    size_t room;

    if (p->buf >= c->n_bufs + i)
        return pv_err_set(
            err, PV_E_USAGE,
            "syscall: pointer %zu is for buffer %u, but there are %zu and %zu pointers in front", i + 1,
            p->buf, c->n_bufs, i);
    room = p->buf < c->n_bufs ? c->bufs[p->buf].n : c->ptrs[p->buf - c->n_bufs].len;
    if (room < POINTER || p->offset > room - POINTER)
        return pv_err_set(err, PV_E_USAGE,
                          "syscall: pointer %zu at offset %" PRIu32
                          " needs %d bytes there, but its buffer has "
                          "only %zu bytes",
                          i + 1, p->offset, POINTER, room);
    if (p->n > p->len)
        return pv_err_set(err, PV_E_USAGE,
                          "syscall: pointer %zu has %zu bytes of data for %" PRIu32 " bytes of memory", i + 1,
                          p->n, p->len);
    return 0;
}

/* Request and reply have to fit in a frame each. */
static int syscall_check_size(const struct pv_syscall *c, struct pv_err *err)
{
    uint64_t out = REQUEST_FIXED, back = REPLY_FIXED, largest = 0;

    for (size_t i = 0; i < c->n_bufs; i++) {
        out += REQUEST_BUF + (uint64_t)c->bufs[i].n;
        back += REPLY_BUF + (uint64_t)c->bufs[i].n;
        largest = c->bufs[i].n > largest ? c->bufs[i].n : largest;
    }
    for (size_t i = 0; i < c->n_ptrs; i++) {
        out += REQUEST_PTR + (uint64_t)c->ptrs[i].n;
        back += c->ptrs[i].output ? REPLY_BUF + (uint64_t)c->ptrs[i].len : 0;
        largest = c->ptrs[i].len > largest ? c->ptrs[i].len : largest;
    }
    if (out <= PV_FRAME_MAX && back <= PV_FRAME_MAX && largest <= PV_FRAME_MAX)
        return 0;
    return pv_err_set(err, PV_E_USAGE,
                      "syscall: its buffers take %" PRIu64 " bytes to the guest and %" PRIu64
                      " bytes back (the largest has %" PRIu64 "); at most %d are possible each way",
                      out, back, largest, PV_FRAME_MAX);
}

static int syscall_check(const struct pv_syscall *c, struct pv_err *err)
{
    unsigned used = 0;

    if (c->n_ptrs > PV_BUFS_MAX)
        return pv_err_set(err, PV_E_USAGE, "syscall: %zu pointers; at most %d are possible", c->n_ptrs,
                          PV_BUFS_MAX);
    for (size_t i = 0; i < c->n_bufs; i++) {
        unsigned slot = c->bufs[i].slot;

        if (slot >= SLOTS)
            return pv_err_set(err, PV_E_USAGE,
                              "syscall: buffer %zu is for argument %u; a system call has arguments 0 to 5",
                              i + 1, slot);
        if (used & 1U << slot)
            return pv_err_set(err, PV_E_USAGE, "syscall: argument %u has two buffers", slot);
        used |= 1U << slot;
    }
    for (size_t i = 0; i < c->n_ptrs; i++)
        if (syscall_check_ptr(c, i, err) < 0)
            return -1;
    if (c->timeout_ns < 0)
        return pv_err_set(err, PV_E_USAGE, "syscall: the timeout is negative");
    return syscall_check_size(c, err);
}

static int sysret_malformed(struct pv_err *err)
{
    return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a SYSRET that does not fit the request");
}

/* The next buffer of the reply, which must have exactly `want` bytes. */
static bool sysret_read_buf(struct pv_sysret *r, struct pv_dec *d, size_t want)
{
    size_t n;
    const void *p = pv_dec_bytes(d, &n);

    if (d->bad || n != want)
        return false;
    pv_buf_add(&r->out[r->n_out++], p, n);
    return true;
}

static int sysret_frame(struct pv_call *c, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    struct syscall_call *s = PV_CONTAINER_OF(c, struct syscall_call, c);
    const struct pv_syscall *call = s->call;
    size_t want = call->n_bufs;

    if (type == PV_MSG_COVERAGE)
        return pv_kcov_frame(s->g, d, err);
    if (type != PV_MSG_SYSRET)
        return pv_call_unexpected(type, err);
    for (size_t i = 0; i < call->n_ptrs; i++)
        want += call->ptrs[i].output;
    s->r->value = (int64_t)pv_dec_u64(d);
    if (pv_dec_u32(d) != want || d->bad)
        return sysret_malformed(err);
    s->r->out = pv_xcalloc(want + 1, sizeof(*s->r->out));
    for (size_t i = 0; i < call->n_bufs; i++)
        if (!sysret_read_buf(s->r, d, call->bufs[i].n))
            return sysret_malformed(err);
    for (size_t i = 0; i < call->n_ptrs; i++)
        if (call->ptrs[i].output && !sysret_read_buf(s->r, d, call->ptrs[i].len))
            return sysret_malformed(err);
    return pv_dec_done(d) ? 1 : sysret_malformed(err);
}

static void syscall_encode(struct pv_enc *e, const struct pv_guest *g, const struct pv_syscall *c)
{
    pv_enc_u64(e, pv_wire_ms(c->timeout_ns));
    pv_enc_u32(e, pv_kcov_wanted(g) ? PV_SYSCALL_COVERAGE : 0);
    pv_enc_u64(e, c->nr);
    for (size_t i = 0; i < SLOTS; i++)
        pv_enc_u64(e, c->args[i]);
    pv_enc_u32(e, (uint32_t)c->n_bufs);
    for (size_t i = 0; i < c->n_bufs; i++) {
        pv_enc_u32(e, c->bufs[i].slot);
        pv_enc_bytes(e, c->bufs[i].data, c->bufs[i].n);
    }
    pv_enc_u32(e, (uint32_t)c->n_ptrs);
    for (size_t i = 0; i < c->n_ptrs; i++) {
        pv_enc_u32(e, c->ptrs[i].buf);
        pv_enc_u32(e, c->ptrs[i].offset);
        pv_enc_u32(e, c->ptrs[i].len);
        pv_enc_u32(e, c->ptrs[i].output ? PV_PTR_OUTPUT : 0);
        pv_enc_bytes(e, c->ptrs[i].data, c->ptrs[i].n);
    }
}

int pv_agent_syscall(struct pv_agent *a, const struct pv_syscall *c, struct pv_sysret *r, struct pv_err *err)
{
    struct syscall_call s = {
        .c = {.frame = sysret_frame, .connect_ns = c->timeout_ns, .turn_ns = c->timeout_ns},
        .call = c,
        .g = a->guest,
        .r = r};
    struct pv_err e = PV_ERR_INIT;
    struct pv_enc enc;
    char what[80];

    *r = (struct pv_sysret){0};
    if (c->name)
        snprintf(what, sizeof(what), "syscall %" PRIu64 " (%.40s)", c->nr, c->name);
    else
        snprintf(what, sizeof(what), "syscall %" PRIu64, c->nr);
    if (syscall_check(c, err) < 0 || pv_call_begin(a, &s.c, PV_MSG_SYSCALL, what, &enc, err) < 0)
        return -1;
    syscall_encode(&enc, a->guest, c);
    if (pv_call_finish(a, &s.c, &enc, what, pv_call_limit(c->timeout_ns), &e) == 0)
        return 0;
    pv_sysret_fini(r);
    if (e.cls == PV_E_GUEST && e.errnum == ETIMEDOUT)
        return pv_err_set(err, PV_E_TIMEOUT,
                          "%s on %s timed out: it did not return within %.3g s and was interrupted", what,
                          a->name, (double)c->timeout_ns / 1e9);
    if (err)
        *err = e;
    return -1;
}
