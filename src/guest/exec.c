/* SPDX-License-Identifier: MIT */
/* Commands: EXEC. */
#include "guest/call.h"
#include "guest/kcov.h"
#include "guest/output.h"

#include "util/clock.h"

struct exec_call {
    struct pv_call_bytes in;
    struct pv_exec_result *r;
    const struct pv_guest *g;
};

void pv_exec_result_fini(struct pv_exec_result *r)
{
    pv_buf_free(&r->out);
    pv_buf_free(&r->err);
}

int pv_exec_dec_exit(struct pv_exec_result *r, struct pv_dec *d, struct pv_err *err)
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

/* which: 0 stdout, 1 stderr. */
static int exec_on_output(struct exec_call *x, int which, struct pv_dec *d, struct pv_err *err)
{
    struct pv_buf *buf = which ? &x->r->err : &x->r->out;
    size_t before = buf->len;

    if (pv_call_add_output(&x->in.c, buf, d, err) < 0)
        return -1;
    pv_output_tell(x->g, buf, which ? PV_OUTPUT_STDERR : PV_OUTPUT_STDOUT, buf->data + before,
                   buf->len - before);
    return 0;
}

static int exec_frame(struct pv_call *c, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    struct exec_call *x = PV_CONTAINER_OF(c, struct exec_call, in.c);

    switch (type) {
    case PV_MSG_STDOUT:
    case PV_MSG_STDERR:
        return exec_on_output(x, type == PV_MSG_STDERR, d, err);
    case PV_MSG_COVERAGE:
        return pv_kcov_frame(x->g, d, err);
    case PV_MSG_EXIT:
        return pv_exec_dec_exit(x->r, d, err);
    default:
        return pv_call_unexpected(type, err);
    }
}

int pv_agent_exec(struct pv_agent *a, const struct pv_exec *x, struct pv_exec_result *r, struct pv_err *err)
{
    struct exec_call c = {
        .in = {.c = {.frame = exec_frame,
                     .next = pv_call_next_bytes,
                     .open = x->in != NULL,
                     .max_output = x->max_output,
                     .connect_ns = x->timeout_ns},
               .type = PV_MSG_STDIN,
               .data = x->in,
               .left = x->in ? x->in_len : 0},
        .r = r,
        .g = a->guest,
    };
    struct pv_enc e;
    int rc;

    if (pv_call_check_command(x, "exec", err) < 0)
        return -1;
    if (pv_call_begin(a, &c.in.c, PV_MSG_EXEC, "exec", &e, err) < 0)
        return -1;
    pv_output_tell_command(a->guest, x, "");
    pv_enc_exec(&e, a, x, x->in ? PV_EXEC_STDIN : 0);
    rc = pv_call_finish(a, &c.in.c, &e, "exec", pv_call_limit(x->timeout_ns), err);
    pv_output_end(a->guest, &r->out);
    pv_output_end(a->guest, &r->err);
    return rc;
}
